package lockfree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// Config is the configuration of a pool.
type Config[C any] struct {
	// Connect opens a connection. Required. Its context also ends with Close.
	Connect func(ctx context.Context) (C, error)
	// Disconnect closes a connection. Default: conn.Close if C is an io.Closer.
	Disconnect func(ctx context.Context, conn C) error
	// Capacity is the largest number of connections. With 0, Gets wait.
	Capacity int
	// IdleStamps makes Put read the clock, as a pool with an idle timeout must.
	IdleStamps bool
}

// Pool is a lock-free connection pool.
type Pool[C any] struct {
	state atomic.Uint64 // written by every Get and Put, so on a cache line of its own
	_     [56]byte

	size atomic.Uint64 // read by every Put, written when connections open and close
	gate atomic.Pointer[gate]

	stamps     bool
	start      time.Time
	connect    func(ctx context.Context) (C, error)
	disconnect func(ctx context.Context, conn C) error
	life       context.Context // Close cancels it
	endLife    context.CancelFunc

	slots   arena[slot[C]]
	waiters arena[waiter[C]]
	queue   queue[C]

	closedMark slot[C] // what waiters get instead of a slot when the pool is closed

	connecting    atomic.Int64
	connects      atomic.Uint64
	connectErrors atomic.Uint64
	disconnects   atomic.Uint64
}

var background = context.Background()

// New makes a pool. It opens no connection.
func New[C any](cfg Config[C]) (*Pool[C], error) {
	if cfg.Connect == nil {
		return nil, errors.New("lockfree: Config.Connect is required")
	}
	if cfg.Capacity < 0 || cfg.Capacity > maxCapacity {
		return nil, fmt.Errorf("lockfree: capacity %d is not in 0..%d", cfg.Capacity, maxCapacity)
	}
	p := &Pool[C]{stamps: cfg.IdleStamps, start: time.Now(), connect: cfg.Connect, disconnect: cfg.Disconnect}
	if p.disconnect == nil {
		p.disconnect = closeConn[C]
	}
	p.life, p.endLife = context.WithCancel(background)
	p.size.Store(uint64(size(0).withCapacity(cfg.Capacity)))
	p.slots.init(min(cfg.Capacity, 1<<10), func(index uint32, s *slot[C]) {
		s.index, s.pool, s.parcel.slot = index, p, s
	})
	p.waiters.init(0, func(index uint32, w *waiter[C]) {
		w.index, w.grant = index, make(chan *slot[C], 1)
	})
	p.queue.init()
	p.closedMark.parcel.slot = &p.closedMark
	return p, nil
}

// closeConn is the default Disconnect.
func closeConn[C any](_ context.Context, conn C) error {
	if c, ok := any(conn).(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// now is the time since the pool was made, in nanoseconds.
func (p *Pool[C]) now() int64 { return int64(time.Since(p.start)) }

// Get leases the connection that became idle last; or a new one, if the capacity allows; or
// waits for one, in order of arrival.
func (p *Pool[C]) Get(ctx context.Context) (Lease[C], error) {
	if err := ctx.Err(); err != nil {
		return Lease[C]{}, err
	}
	if l, ok := p.TryGet(); ok {
		return l, nil
	}
	return p.getSlow(ctx)
}

// TryGet leases the connection that became idle last, if there is one. It never connects and
// never waits.
func (p *Pool[C]) TryGet() (Lease[C], bool) {
	for {
		state := p.state.Load()
		n := count(state)
		if n <= 0 {
			return Lease[C]{}, false
		}
		s := p.slots.at(n)
		// This word is stale if another Get was faster. Then the tag has changed, and the
		// CAS fails.
		word := s.link.Load()
		if p.state.CompareAndSwap(state, step(state, count(word))) {
			return Lease[C]{s: s, word: word, conn: s.conn}, true
		}
	}
}

// pop takes the slot that became idle last.
func (p *Pool[C]) pop() (*slot[C], bool) {
	l, ok := p.TryGet()
	return l.s, ok
}

// getSlow is the rest of Get, if TryGet has found nothing.
func (p *Pool[C]) getSlow(ctx context.Context) (Lease[C], error) {
	for {
		state := p.state.Load()
		n := count(state)
		if n > 0 {
			if l, ok := p.TryGet(); ok {
				return l, nil
			}
			continue
		}
		z := size(p.size.Load()) // after the state, as in Put
		switch {
		case z.closed():
			return Lease[C]{}, ErrClosed
		case n == 0 && z.room(): // if others wait, the place is theirs
			if p.reserve() {
				return p.dial(ctx, p.slots.get())
			}
		case n == -maxWaits:
			return Lease[C]{}, ErrExhausted
		case p.addWaiter(state):
			s, err := p.wait(ctx)
			switch {
			case err != nil:
				return Lease[C]{}, err
			case s == &p.closedMark:
				return Lease[C]{}, ErrClosed
			case s.live:
				return s.lease(), nil
			}
			return p.dial(ctx, s)
		}
	}
}

// dial connects in a reserved slot, on the caller's goroutine, without blocking other calls.
// If it fails, the place goes to the next waiter.
func (p *Pool[C]) dial(ctx context.Context, s *slot[C]) (Lease[C], error) {
	done := false
	defer func() {
		if !done { // failed or panicked
			p.release(s)
		}
	}()
	if err := ctx.Err(); err != nil {
		return Lease[C]{}, err
	}
	if p.life.Err() != nil {
		return Lease[C]{}, ErrClosed
	}
	conn, err := p.connectUntilClose(ctx)
	closed := size(p.size.Load()).closed()
	if err != nil {
		p.connectErrors.Add(1)
		if closed {
			return Lease[C]{}, ErrClosed
		}
		return Lease[C]{}, fmt.Errorf("lockfree: connect: %w", err)
	}
	done = true
	p.connects.Add(1)
	s.conn, s.live = conn, true
	if closed {
		p.doom()
		p.discard(background, s)
		return Lease[C]{}, ErrClosed
	}
	return s.lease(), nil
}

// connectUntilClose calls Connect with a context that also ends when Close begins.
func (p *Pool[C]) connectUntilClose(ctx context.Context) (C, error) {
	p.connecting.Add(1)
	defer p.connecting.Add(-1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	return p.connect(ctx)
}
