package simulation_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// FuzzOperations reads its input as a configuration of a pool and a sequence of
// operations, of two bytes each: see opsConfig and operationKinds. They run in
// virtual time. After each operation, and after the pool is closed, the pool must
// agree with what its callers, its server and its event handler have seen.
func FuzzOperations(f *testing.F) {
	for _, seed := range operationSeeds() {
		f.Add(seed)
	}
	// One actor system for all runs: to make one takes longer than a run.
	system := testkit.QuietSystem()
	f.Fuzz(func(t *testing.T, input []byte) {
		o := &operations{t: t, system: system, input: input}
		defer func() {
			// Whoever has not ended in virtual time makes synctest panic.
			if reason := recover(); reason != nil {
				t.Errorf("panic: %v", reason)
			}
			if t.Failed() {
				t.Log(o.history())
			}
		}()
		synctest.Test(t, o.run)
	})
}

// operation is what one step does.
type operation uint8

const (
	opGet operation = iota
	opNestedGet
	opTryGet
	opDo
	opPut
	opTaint
	opEndAgain
	opCancel
	opPass
	opMood
	opRecover
	opSetCapacity
	opClear
	opSuspend
	opResume
	opReady
	opExplain
	opClose
	opHijack
	opTryGetAll
	opEach
	opWarm
	opSetMinIdle
)

// operationKinds maps the low six bits of a step's first byte to an operation, the
// frequent ones more than once. hurry, its highest bit, says that the next step does
// not wait until all is quiet.
var operationKinds = [64]operation{
	opGet, opNestedGet, opTryGet, opDo, opPut, opTaint, opEndAgain, opCancel, opPass, opMood, opRecover,
	opSetCapacity, opClear, opSuspend, opResume, opReady, opExplain, opClose,
	opGet, opGet, opGet, opGet, opPut, opPut, opPut, opPass, opPass, opPass, opMood, opMood, opCancel, opDo,
	opHijack, opTryGetAll, opEach, opWarm, opSetMinIdle,
	opHijack, opTryGetAll, opEach, opWarm, opSetMinIdle,
	opGet, opGet, opGet, opGet, opGet, opGet, opPut, opPut, opPut, opPut, opPut, opTaint,
	opPass, opPass, opPass, opPass, opNestedGet, opDo, opDo, opEach, opMood, opRecover,
}

var operationNames = [...]string{
	"get", "nested get", "try get", "do", "put", "taint", "end again", "cancel", "pass", "mood", "recover",
	"set capacity", "clear", "suspend", "resume", "ready", "explain", "close",
	"hijack", "try get all", "each", "warm", "set min idle",
}

const (
	hurry       = 0x80
	mostSteps   = 64
	opsCapacity = 6 // the largest that is set
	opsGet      = 2 * time.Second
	opsReserve  = 5 * time.Millisecond
	opsMaxLease = 3 * time.Second
	opsLifetime = 8 * time.Second
)

// operations is one run.
type operations struct {
	t      *testing.T
	system *actor.ActorSystem
	input  []byte
	steps  []step

	*opsServer
	cfg         client.Config[*opsConn]
	library     bool
	interrupts  bool // Clear may interrupt
	abrupt      bool // Close comes while everything goes on
	pool        *client.Pool[*opsConn]
	events      *opsEvents
	stale       atomic.Uint64 // the server's order of the last Clear that has returned
	suspensions atomic.Uint64 // odd: the pool is suspended
	closing     atomic.Bool   // a Close has begun

	mu      sync.Mutex
	calls   uint64 // Gets begun, those of Do included, before a Close
	granted uint64
	waiting int         // Gets that have not returned
	running int         // other calls that have not returned
	resizes int         // SetCapacity, of those
	readies int         // Ready, of those
	visits  bool        // there was an Each: it may be given connections that it does not use
	cancels []*opCaller // of the Gets that have not returned
	held    []*opLease
	ended   []*opLease
	last    client.Stats
}

// opCaller is a Get that waits.
type opCaller struct {
	cancel context.CancelFunc
	gone   bool
}

type opLease struct {
	lease client.Lease[*opsConn]
	conn  *opsConn // nil: it was revoked at once
}

func (o *operations) fail(format string, args ...any) { o.opsServer.fail(format, args...) }

// next reads one byte of the input. Behind its end there are zeros.
func (o *operations) next() byte {
	if len(o.input) == 0 {
		return 0
	}
	b := o.input[0]
	o.input = o.input[1:]
	return b
}

// The bytes of a configuration. A zero byte means the default of each of its fields.
const (
	cfgCapacity  = iota // capacity, MaxConnecting, library mailbox
	cfgIdle             // MinIdle, MaxIdle, MaxWaiters
	cfgFunctions        // which functions there are
	cfgPeriods          // which periods there are
	cfgPolicies         // backoff, shedding, PauseOnClear
	cfgCallers          // what callers and the test do
	opsConfigBytes
)

func bit(b byte, n int) bool { return b>>n&1 == 1 }

func (o *operations) configure() {
	var b [opsConfigBytes]byte
	for i := range b {
		b[i] = o.next()
	}
	cfg := client.Config[*opsConn]{
		Capacity:       []int{2, 1, 3, 4}[b[cfgCapacity]&3],
		MaxConnecting:  int(b[cfgCapacity] >> 2 & 3),
		MaxWaiters:     []int{0, 0, 1, 3}[b[cfgIdle]>>4&3],
		ConnectTimeout: opsTimeout,
		Backoff:        client.Backoff{Base: 100 * time.Millisecond, Cap: opsTimeout, Mode: client.BackoffMode(b[cfgPolicies] & 3 % 3)},
	}
	o.library = b[cfgCapacity]>>4&3 == 3
	cfg.MaxUses = []int{0, 3}[b[cfgCapacity]>>6&1]
	cfg.MinOpen = []int{0, 1}[b[cfgCapacity]>>7]
	cfg.MaxIdle = []int{0, 1, 2, 3}[b[cfgIdle]>>2&3]
	cfg.MinIdle = min(int(b[cfgIdle]&3), cfg.Capacity)
	if cfg.MaxIdle > 0 {
		cfg.MinIdle = min(cfg.MinIdle, cfg.MaxIdle)
	}

	c, p := b[cfgCallers], b[cfgPeriods]
	o.interrupts, o.abrupt = bit(c, 0), bit(c, 1)
	for _, d := range []struct {
		on    bool
		field *time.Duration
		value time.Duration
	}{
		{bit(c, 2), &cfg.GetTimeout, opsGet},
		{bit(c, 3), &cfg.Reserve, opsReserve},
		{bit(p, 0), &cfg.KeepAlive, 2 * time.Second},
		{bit(p, 1), &cfg.IdleTimeout, 3 * time.Second},
		{bit(p, 2), &cfg.MaxLifetime, opsLifetime},
		{bit(p, 3), &cfg.MaxLifetimeJitter, time.Second},
		{bit(p, 4), &cfg.LeakAfter, 2 * time.Second},
		{bit(p, 5), &cfg.MaxLease, opsMaxLease},
		{bit(p, 6), &cfg.CheckAfterIdle, time.Millisecond},
		{bit(p, 7), &cfg.CheckAfterIdle, -1},
	} {
		if d.on {
			*d.field = d.value
		}
	}
	if cfg.MaxLifetime == 0 {
		cfg.MaxLifetimeJitter = 0
	}
	o.opsServer = &opsServer{t: o.t, start: time.Now(), revocable: o.interrupts || cfg.MaxLease > 0}

	f := b[cfgFunctions]
	cfg.Connect, cfg.Disconnect = o.connect, o.disconnect
	if bit(f, 0) || cfg.KeepAlive > 0 {
		cfg.Check = o.function("check", onCheck)
	}
	if bit(f, 1) {
		cfg.ResetWipesSetting = bit(f, 2)
		cfg.Reset = o.reset(cfg.ResetWipesSetting)
	}
	if bit(f, 3) {
		cfg.Apply = o.apply
		if bit(f, 4) {
			cfg.Unapply = o.unapply
		}
	}
	o.events = &opsEvents{eventCounts: newEventCounts(o.fail)}
	if bit(f, 5) {
		cfg.OnEvent = o.events.observe
	}

	cfg.ShedHopeless = bit(b[cfgPolicies], 2)
	if bit(b[cfgPolicies], 3) {
		cfg.Shed = client.CoDel{Target: 20 * time.Millisecond, Interval: 100 * time.Millisecond}
	}
	cfg.PauseOnClear = bit(b[cfgPolicies], 4)
	o.events.pauses = cfg.PauseOnClear
	if bit(b[cfgPolicies], 5) {
		cfg.Backoff.Jitter = client.NoJitter
	}
	if cfg.Check == nil { // these are refused without it
		cfg.CheckAfterIdle, cfg.KeepAlive, cfg.CheckTimeout = 0, 0, 0
	}
	o.cfg = cfg
}

func (o *operations) spawn() {
	var err error
	if o.library {
		var props *actor.Props
		if props, err = client.Props(o.cfg, testkit.LibraryMailbox()...); err == nil {
			o.pool = client.Attach[*opsConn](o.system, o.system.Root.Spawn(props))
			o.pool.Stats() // a call that finds no pool any more takes a while to notice
		}
	} else {
		o.pool, err = client.Spawn(o.system.Root, o.cfg)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	synctest.Wait()
}

func (o *operations) run(t *testing.T) {
	o.t = t
	o.configure()
	o.spawn()
	for len(o.input) > 0 && len(o.steps) < mostSteps && !t.Failed() {
		code, arg := o.next(), o.next()
		op, wait := operationKinds[code&63], code&hurry == 0
		o.steps = append(o.steps, step{time.Since(o.start), op, arg, wait})
		o.do(op, arg)
		if wait {
			synctest.Wait()
		}
		o.sample(wait)
	}
	if !o.abrupt && !o.closing.Load() {
		o.comeToRest()
	}
	o.finish()
}

func (o *operations) do(op operation, arg byte) {
	switch op {
	case opGet:
		o.get(arg, nil)
	case opNestedGet:
		o.mu.Lock()
		var holder *opLease
		if n := len(o.held); n > 0 {
			holder = o.held[int(arg>>5)%n]
		}
		o.mu.Unlock()
		o.get(arg, holder)
	case opTryGet:
		if lease, ok := o.pool.TryGet(); ok {
			o.mu.Lock()
			if !o.closing.Load() {
				o.calls++
			}
			o.mu.Unlock()
			o.keep(lease, o.expect(nil))
		}
	case opDo:
		o.doWith(arg)
	case opPut, opTaint:
		if l := o.pick(&o.held, arg); l != nil {
			o.end(l, op == opTaint)
		}
	case opEndAgain:
		o.mu.Lock()
		defer o.mu.Unlock()
		if n := len(o.ended); n > 0 {
			o.endAgain(o.ended[int(arg>>1)%n], bit(arg, 0))
		}
	case opCancel:
		o.mu.Lock()
		defer o.mu.Unlock()
		if n := len(o.cancels); n > 0 {
			o.cancels[int(arg)%n].cancel()
		}
	case opPass:
		time.Sleep(passes[arg%byte(len(passes))])
	case opMood:
		o.setMood(int(arg>>3)%opsFunctions, mood(arg&7)%moods)
	case opRecover:
		o.recoverAll()
	case opSetCapacity:
		n := int(arg&7) % (opsCapacity + 1)
		o.callCounted(&o.resizes, func() error {
			bounded, cancel := o.context(arg >> 3)
			defer cancel()
			return o.pool.SetCapacity(bounded, n)
		})
	case opClear:
		at := o.order.Add(1)
		o.expected(o.pool.Clear(ctx, client.ClearOptions{Interrupt: o.interrupts && bit(arg, 0)}))
		o.stale.Store(at)
	case opSuspend:
		o.suspend()
	case opResume:
		o.resume()
	case opReady:
		o.callCounted(&o.readies, func() error {
			bounded, cancel := o.context(arg)
			defer cancel()
			return o.pool.Ready(bounded)
		})
	case opHijack:
		if l := o.pick(&o.held, arg); l != nil {
			o.hijack(l)
		}
	case opTryGetAll:
		for _, lease := range o.pool.TryGetAll() {
			o.mu.Lock()
			if !o.closing.Load() {
				o.calls++
			}
			o.mu.Unlock()
			v := o.expect(nil)
			if c := lease.Conn(); c != nil {
				v.setting = c.setting // it is lent as it is
			}
			o.keep(lease, v)
		}
	case opEach:
		o.each(arg)
	case opWarm:
		n := int(arg>>3) % (opsCapacity + 1)
		o.call(func() error {
			bounded, cancel := o.context(arg)
			defer cancel()
			return ignoreConfigError(o.pool.Warm(bounded, n))
		})
	case opSetMinIdle:
		n := int(arg) % (opsCapacity + 1)
		err := o.pool.SetMinIdle(ctx, n)
		if err == nil {
			o.cfg.MinIdle = n
		}
		o.expected(ignoreConfigError(err))
	case opExplain:
		_, err := o.pool.Explain(ctx)
		o.expected(err)
	case opClose:
		o.closing.Store(true)
		o.call(func() error {
			bounded, cancel := o.context(arg)
			defer cancel()
			return o.pool.Close(bounded)
		})
	}
}

// passes are the times that opPass lets pass.
var passes = [...]time.Duration{
	time.Millisecond, 1, 10 * time.Millisecond, opsSlow, 100 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 1250 * time.Millisecond, 3 * time.Second, 10 * time.Second,
}

// patience are the times until a caller's deadline. 0: it has none.
var patience = [...]time.Duration{0, 0, 0, time.Millisecond, opsReserve, 20 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second}

// context makes the context of a call, with a deadline that three bits choose.
func (o *operations) context(arg byte) (context.Context, context.CancelFunc) {
	if d := patience[arg&7]; d > 0 {
		return context.WithTimeout(ctx, d)
	}
	return context.WithCancel(ctx)
}

// options makes those of a Get, which two bits choose: a setting if the pool has
// some, and a label.
func (o *operations) options(arg byte) client.GetOptions {
	var g client.GetOptions
	if o.cfg.Apply != nil {
		g.Setting = []any{nil, nil, "red", "blue"}[arg&3]
	}
	if bit(arg, 1) {
		g.Label = "caller"
	}
	return g
}

// call runs what may wait on a goroutine of its own.
func (o *operations) call(f func() error) { o.callCounted(new(int), f) }

// callCounted is call, and counts those that have not returned.
func (o *operations) callCounted(count *int, f func() error) {
	o.mu.Lock()
	o.running++
	*count++
	o.mu.Unlock()
	go func() {
		err := f()
		o.expected(err)
		o.mu.Lock()
		o.running--
		*count--
		o.mu.Unlock()
	}()
}

// expectation is what a caller of a Get knows when it asks.
func (o *operations) expect(setting any) expectation {
	return expectation{at: time.Now(), setting: setting, stale: o.stale.Load(), suspensions: o.suspensions.Load()}
}

// begin notes a Get that begins, and gives its context and what notes its end.
func (o *operations) begin(arg byte, holder *opLease) (bounded context.Context, g client.GetOptions, end func(error)) {
	bounded, cancel := o.context(arg)
	g = o.options(arg >> 3)
	bound := patience[arg&7]
	if bound == 0 {
		bound = o.cfg.GetTimeout
	} else if o.cfg.Reserve > 0 {
		bound = max(0, bound-o.cfg.Reserve)
	}
	if holder != nil {
		bounded = holder.lease.Context(bounded)
	}
	me := &opCaller{cancel: cancel}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closing.Load() {
		o.calls++
	}
	o.waiting++
	o.cancels = append(o.cancels, me)
	began, timed := time.Now(), patience[arg&7] > 0 || o.cfg.GetTimeout > 0
	return bounded, g, func(err error) {
		if waited := time.Since(began); timed && waited > bound {
			o.fail("a Get took %v, bound %v: %v", waited, bound, err)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if me.gone {
			o.fail("a Get has ended twice")
		}
		me.gone = true
		o.waiting--
		for i, c := range o.cancels {
			if c == me {
				o.cancels = append(o.cancels[:i], o.cancels[i+1:]...)
				break
			}
		}
		if err == nil {
			o.granted++
		}
	}
}

func (o *operations) get(arg byte, holder *opLease) {
	bounded, g, end := o.begin(arg, holder)
	v := o.expect(g.Setting)
	go func() {
		lease, err := o.pool.GetWith(bounded, g)
		end(err)
		if err != nil {
			o.getFailed(err)
			return
		}
		o.keep(lease, v)
	}()
}

// errOfDo is what the function of a Do panics with.
var errOfDo = errors.New("do")

func (o *operations) doWith(arg byte) {
	bounded, g, end := o.begin(arg&^0x18, nil) // without a setting and a label
	v := o.expect(g.Setting)
	o.mu.Lock()
	o.running++
	o.mu.Unlock()
	go func() {
		var got *opsConn
		defer func() {
			if reason := recover(); reason != nil && reason != errOfDo {
				panic(reason)
			}
			o.mu.Lock()
			o.running--
			o.mu.Unlock()
		}()
		err := o.pool.DoWith(bounded, g, func(_ context.Context, c *opsConn) error {
			got = c
			end(nil)
			c.take()
			defer c.release()
			o.inspect(c, v)
			time.Sleep(passes[arg>>5])
			switch arg >> 3 & 3 {
			case 0:
				return nil
			case 1:
				return testkit.ErrApp
			case 2:
				return io.EOF
			}
			if bit(arg, 5) {
				runtime.Goexit()
			}
			panic(errOfDo)
		})
		switch {
		case got == nil && errors.Is(err, messages.ErrLeaseEnded): // revoked before the function began
			end(nil)
		case got == nil:
			end(err)
			o.getFailed(err)
		case errors.Is(err, testkit.ErrApp), errors.Is(err, io.EOF), err == nil:
		default:
			o.leaseEnded(err)
		}
	}()
}

func (o *operations) getFailed(err error) {
	var get *messages.GetError
	if errors.As(err, &get) {
		testkit.Consistent(o.t, get.Stats)
	}
	o.expected(err)
}

// leaseEnded checks that the pool may have ended a lease.
func (o *operations) leaseEnded(err error) {
	if !errors.Is(err, messages.ErrLeaseEnded) || !o.revocable {
		o.fail("the end of a lease that nobody has ended: %v", err)
	}
}

// inspect checks a connection that has been lent.
func (o *operations) inspect(c *opsConn, v expectation) {
	switch age := time.Since(c.born); {
	case o.cfg.MaxLifetime > 0 && age >= o.cfg.MaxLifetime && time.Since(v.at) == 0:
		o.fail("connection %d is lent at the age of %v", c.n, age)
	case c.began < v.stale:
		o.fail("connection %d is of a generation that was cleared", c.n)
	case v.suspensions%2 == 1 && o.suspensions.Load() == v.suspensions:
		o.fail("connection %d is lent by a suspended pool", c.n)
	case c.setting != v.setting:
		o.fail("connection %d has setting %v, want %v", c.n, c.setting, v.setting)
	}
}

// keep notes a lease that has been granted.
func (o *operations) keep(lease client.Lease[*opsConn], v expectation) {
	l := &opLease{lease, lease.Conn()}
	if l.conn == nil {
		o.endAgain(l, false)
		return
	}
	l.conn.take()
	o.inspect(l.conn, v)
	o.mu.Lock()
	o.held = append(o.held, l)
	o.mu.Unlock()
}

// pick takes one lease out of a list; nil: the list is empty.
func (o *operations) pick(from *[]*opLease, arg byte) *opLease {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(*from)
	if n == 0 {
		return nil
	}
	i := int(arg) % n
	l := (*from)[i]
	*from = append((*from)[:i], (*from)[i+1:]...)
	return l
}

// end ends a lease for the first time.
func (o *operations) end(l *opLease, taint bool) {
	closed := l.conn.isClosed()
	l.conn.release()
	var err error
	if taint {
		err = l.lease.Taint(io.EOF)
	} else {
		err = l.lease.Put()
	}
	switch {
	case err != nil:
		o.leaseEnded(err)
	case closed:
		o.fail("connection %d was closed under its holder", l.conn.n)
	}
	o.mu.Lock()
	o.ended = append(o.ended, l)
	o.mu.Unlock()
}

// hijack takes a connection out of the pool, and closes it.
func (o *operations) hijack(l *opLease) {
	closed := l.conn.isClosed()
	l.conn.release()
	conn, err := l.lease.Hijack()
	switch {
	case err != nil:
		o.leaseEnded(err)
	case conn != l.conn || closed || conn.isClosed():
		o.fail("connection %d is hijacked, by the holder of connection %d", conn.n, l.conn.n)
	default:
		conn.close()
		o.add(&o.closed, 1)
	}
	o.mu.Lock()
	o.ended = append(o.ended, l)
	o.mu.Unlock()
}

// each visits the connections.
func (o *operations) each(arg byte) {
	o.visits = true
	fails := bit(arg, 3)
	o.call(func() error {
		bounded, cancel := o.context(arg)
		defer cancel()
		seen := map[*opsConn]bool{}
		err := o.pool.Each(bounded, func(_ context.Context, c *opsConn) error {
			if seen[c] {
				o.fail("connection %d is visited twice", c.n)
			}
			seen[c] = true
			c.take()
			time.Sleep(time.Duration(arg>>4) * time.Millisecond)
			c.release()
			if fails {
				return errOfEach
			}
			return nil
		})
		if fails && errors.Is(err, errOfEach) || o.revocable && errors.Is(err, messages.ErrLeaseEnded) {
			return nil
		}
		return err
	})
}

// errOfEach is what the function of an Each returns.
var errOfEach = errors.New("each")

// ignoreConfigError drops the error of a number that is not possible.
func ignoreConfigError(err error) error {
	var refused *messages.ConfigError
	if errors.As(err, &refused) {
		return nil
	}
	return err
}

// endAgain ends a lease that has ended.
func (o *operations) endAgain(l *opLease, taint bool) {
	var err error
	if taint {
		err = l.lease.Taint(nil)
	} else {
		err = l.lease.Put()
	}
	if !errors.Is(err, messages.ErrLeaseEnded) {
		o.fail("the second end of a lease: %v", err)
	}
	if c := l.lease.Conn(); c != nil {
		o.fail("a lease that has ended gives connection %d", c.n)
	}
}

func (o *operations) suspend() {
	o.expected(o.pool.Suspend(ctx))
	o.suspensions.Store(o.suspensions.Load() | 1)
}

func (o *operations) resume() {
	o.suspensions.Store((o.suspensions.Load() + 1) &^ 1)
	o.expected(o.pool.Resume(ctx))
}

// expected fails the test unless an error is one that the operations may bring.
func (o *operations) expected(err error) {
	for _, known := range []error{
		nil, messages.ErrSuperseded, messages.ErrConnectFailed, messages.ErrExhausted, messages.ErrShed, messages.ErrDeadlock,
		messages.ErrCleared, context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, known) {
			return
		}
	}
	var backoff *messages.BackoffError
	switch {
	case errors.Is(err, messages.ErrClosed) && o.closing.Load() && !errors.Is(err, messages.ErrPoolFailed):
	case errors.As(err, &backoff):
	default:
		o.fail("unexpected error: %v", err)
	}
}

// sample takes a snapshot and checks it. No counter falls, except Grants and WaitTime,
// by a Get whose context ends as it is granted a connection. quiet says that nothing can
// happen until time passes.
func (o *operations) sample(quiet bool) client.Stats {
	st := o.pool.Stats()
	testkit.Consistent(o.t, st)
	l := &o.last
	if st.Gets < l.Gets || st.Puts < l.Puts || st.Taints < l.Taints || st.Revoked < l.Revoked ||
		st.Connects < l.Connects || st.ConnectErrors < l.ConnectErrors || st.Generation < l.Generation || st.Backoffs < l.Backoffs ||
		st.Waits < l.Waits || st.Timeouts < l.Timeouts || st.Cancels < l.Cancels {
		o.fail("a counter falls: %+v after %+v", st, *l)
	}
	o.last = st
	if st.Open+st.Connecting+st.Closing > opsCapacity {
		o.fail("more connections than any capacity: %+v", st)
	}
	if !quiet {
		return st
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch closing := o.closing.Load(); {
	case st.Waiting != o.waiting:
		o.fail("%d Gets have not returned: %+v", o.waiting, st)
	case !closing && (st.Gets < o.calls || st.Gets > o.calls && !o.visits):
		o.fail("%d Gets: %+v", o.calls, st)
	case st.Grants < o.granted:
		o.fail("%d Gets were granted: %+v", o.granted, st)
	case !o.revocable && st.Borrowed > len(o.held)+o.running:
		o.fail("%d leases are held: %+v", len(o.held), st)
	}
	if o.cfg.OnEvent != nil {
		o.events.agree(st, o.closing.Load())
	}
	o.nothingIsForgotten(&st)
	return st
}

// comeToRest makes the server healthy and ends all leases. Every call must return
// then, and the books must balance.
func (o *operations) comeToRest() {
	synctest.Wait() // a SetCapacity that has just begun must not come after the one below
	o.recoverAll()
	o.resume()
	if o.pool.Stats().Capacity == 0 {
		o.do(opSetCapacity, 2)
	}
	for deadline := time.Now().Add(time.Minute); ; testkit.Pass(opsTimeout / 2) {
		o.endAll()
		if waiting, running, held := o.left(); waiting+running+held == 0 {
			break
		}
		if time.Now().After(deadline) {
			waiting, running, _ := o.left()
			o.fail("%d Gets and %d other calls do not return: %+v", waiting, running, o.pool.Stats())
			return
		}
	}
	testkit.Pass(opsIgnored + opsTimeout + 2*o.cfg.IdleTimeout)
	st := o.sample(true)
	dials, running, opened, closed := o.counts()
	if running > 0 { // the pool does something in the background at this very moment
		return
	}
	switch {
	case st.Borrowed+st.Waiting+st.Connecting+st.Closing+st.InTransition > 0:
		o.fail("at rest: %+v", st)
	case st.Open != opened-closed:
		o.fail("%d connections are open: %+v", opened-closed, st)
	case st.Connects < uint64(dials): // one that is cancelled before it begins counts, too
		o.fail("%d connects began: %+v", dials, st)
	case st.Connects-st.ConnectErrors > uint64(opened): // one that was given up may succeed later
		o.fail("%d connections were opened: %+v", opened, st)
	case st.Open > st.Capacity:
		o.fail("more than the capacity: %+v", st)
	case st.Idle < min(o.cfg.MinIdle, st.Capacity):
		o.fail("fewer than MinIdle: %+v", st)
	case o.cfg.IdleTimeout > 0 && st.Idle > max(o.cfg.MinIdle, o.cfg.MinOpen):
		o.fail("more than MinIdle are idle for longer than IdleTimeout: %+v", st)
	}
}

// left counts the Gets and the other calls that have not returned, and the leases.
func (o *operations) left() (waiting, running, held int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.waiting, o.running, len(o.held)
}

// endAll ends all leases, until no Get that waits is granted another.
func (o *operations) endAll() {
	for {
		synctest.Wait()
		l := o.pick(&o.held, 0)
		if l == nil {
			return
		}
		o.end(l, false)
	}
}

// finish closes the pool and checks what is left.
func (o *operations) finish() {
	o.closing.Store(true)
	o.call(func() error {
		if err := o.pool.Close(ctx); err != nil {
			o.fail("close: %v", err)
		}
		return nil
	})
	if o.abrupt {
		synctest.Wait()
		o.sample(true)
	}
	o.endAll()
	testkit.Pass(opsIgnored + opsTimeout)
	o.endAll()
	testkit.Pass(opsIgnored + opsTimeout)
	st := o.sample(true)
	_, running, opened, closed := o.counts()
	waiting, calls, _ := o.left()
	switch {
	case waiting+calls > 0:
		o.fail("%d Gets and %d other calls do not return", waiting, calls)
	case st.State != messages.StateClosed || st.Open+st.Connecting+st.Closing+st.Waiting > 0:
		o.fail("closed: %+v", st)
	case opened != closed || running > 0:
		o.fail("%d connections were opened, %d closed; %d functions run", opened, closed, running)
	case o.cfg.OnEvent != nil && len(o.events.open) > 0:
		o.fail("%d connections were created, and not closed, as the events say", len(o.events.open))
	}
	if _, ok := o.system.ProcessRegistry.Get(o.pool.PID()); ok {
		o.fail("the pool actor has not ended")
	}
	if _, err := o.pool.Get(ctx); !errors.Is(err, messages.ErrClosed) || errors.Is(err, messages.ErrPoolFailed) {
		o.fail("a Get after Close: %v", err)
	}
}
