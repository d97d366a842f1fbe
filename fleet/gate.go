package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/fleet/internal/identity"
	"github.com/actorpool/actorpool/messages"
)

// ErrNoQuota is the error of a connect that the fleet does not allow now. The pool does not
// back off because of it. Connect may return it, too, wrapped or not, when the server has
// refused a connection because there are too many.
var ErrNoQuota = errors.New("fleet: no quota: the fleet does not allow this member another connection now")

// gate stands around Connect and Disconnect. It counts what may be open at the server, and
// refuses what is too much, whatever the pool believes: it also counts the functions that
// the pool has given up, and connections that a holder has kept.
//
// The member's actor lowers the limit first and reads the count then; a connect counts
// itself first and reads the limit then. So either the connect sees the lower limit, or the
// actor sees the connect.
type gate struct {
	started time.Time
	limit   atomic.Int64
	held    atomic.Int64
	// until is when connects are refused, in nanoseconds since started: a process that was
	// frozen finds it passed, though its actor has not said so yet.
	until    atomic.Int64
	identity atomic.Pointer[identity.Identity]
	changed  atomic.Pointer[chan struct{}] // closed when the actor has looked
}

func newGate() *gate {
	g := &gate{started: time.Now()}
	g.changed.Store(new(make(chan struct{})))
	return g
}

// now is the time of the member. It stands still while the machine is suspended.
func (g *gate) now() time.Duration { return time.Since(g.started) }

// set lets connects begin for an incarnation, up to the limit, until a time. It gives what
// is held. nil: for none.
func (g *gate) set(id *identity.Identity, limit int, until time.Duration) (held int) {
	g.identity.Store(id)
	g.limit.Store(int64(limit))
	g.until.Store(int64(until))
	held = int(g.held.Load())
	close(*g.changed.Swap(new(make(chan struct{}))))
	return held
}

// enter counts a connect; false: it may not begin now.
func (g *gate) enter() (id *identity.Identity, ok bool) {
	id = g.identity.Load()
	if id == nil || g.held.Load() >= g.limit.Load() {
		return nil, false
	}
	// The identity is read again: the limit may be that of another one.
	if g.held.Add(1) > g.limit.Load() || g.identity.Load() != id || g.now() >= time.Duration(g.until.Load()) {
		g.held.Add(-1)
		return nil, false
	}
	return id, true
}

// wait is enter as soon as that is possible. The pool cancels a connect that is too many.
// So a refused connect waits for that, and its Get stays in the queue.
func (g *gate) wait(ctx context.Context) (id *identity.Identity, ok bool) {
	for {
		changed := *g.changed.Load()
		if id, ok = g.enter(); ok {
			return id, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// Incarnation gives, inside of Connect, the name of the member's present life: a session
// that is named so can be found when the member has died. "" elsewhere.
func Incarnation(ctx context.Context) string {
	return identity.Of(ctx).Incarnation
}

// Slot gives, inside of Connect, the slot of the member's present life: a small number that
// it has alone, for choosing one of the roles or accounts that an operator has prepared.
// No other member of the fleet has the same, and no dead one whose connections may still
// be open: the slot is free when those are reclaimed, or after Leave. The next life of a
// member may have another slot. With a [SlotFence] there are as many slots as that has, and
// each is free again for as long as possible before it is used; otherwise a member is given
// the smallest free number from 0. -1 elsewhere than inside of Connect.
func Slot(ctx context.Context) int {
	return identity.Of(ctx).Slot
}

// guard puts the gate around Connect and Disconnect.
func guard[C any](pool *client.Config[C], g *gate) {
	connect, disconnect, classify := pool.Connect, pool.Disconnect, pool.Classify
	if disconnect == nil {
		disconnect = closerOf[C]()
	}
	if connect == nil || disconnect == nil {
		return // Spawn says what is missing
	}
	pool.Connect = func(ctx context.Context) (C, error) {
		var none C
		id, ok := g.wait(ctx)
		if !ok {
			return none, ErrNoQuota
		}
		opened := false
		defer func() {
			if !opened { // it failed, panicked or ended its goroutine
				g.held.Add(-1)
			}
		}()
		conn, err := connect(identity.With(ctx, id))
		if err != nil {
			return none, err
		}
		opened = !isNil(conn)
		return conn, nil
	}
	pool.Disconnect = func(ctx context.Context, conn C) error {
		err := disconnect(ctx, conn)
		g.held.Add(-1) // not after a panic: then nobody knows whether it is closed
		return err
	}
	if classify == nil {
		classify = actors.Classify
	}
	pool.Classify = func(phase messages.Phase, err error) messages.Class {
		if errors.Is(err, ErrNoQuota) {
			return messages.ClassIgnore
		}
		return classify(phase, err)
	}
}

// isNil says that a connect has given no connection, which the pool takes for an error.
func isNil(conn any) bool {
	switch v := reflect.ValueOf(conn); v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Chan, reflect.Func, reflect.Slice, reflect.UnsafePointer:
		return v.IsNil()
	}
	return false
}

// closerOf is the pool's default Disconnect: the method Close in one of its forms.
func closerOf[C any]() func(context.Context, C) error {
	switch t := reflect.TypeFor[C](); {
	case t.Implements(reflect.TypeFor[io.Closer]()):
		return func(_ context.Context, conn C) error { return any(conn).(io.Closer).Close() }
	case t.Implements(reflect.TypeFor[interface{ Close() }]()):
		return func(_ context.Context, conn C) error { any(conn).(interface{ Close() }).Close(); return nil }
	case t.Implements(reflect.TypeFor[interface{ Close(context.Context) error }]()):
		return func(ctx context.Context, conn C) error {
			return any(conn).(interface{ Close(context.Context) error }).Close(ctx)
		}
	}
	return nil
}

// heldError is the error of a Leave that leaves connections behind.
type heldError int

func (n heldError) Error() string {
	return fmt.Sprintf("fleet: %d connections may still be open: a function ignores its context, or a holder has kept its connection. "+
		"Their quota is not given back", int(n))
}
