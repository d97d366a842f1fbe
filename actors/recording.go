package actors

import (
	"context"
	"fmt"
	"runtime/trace"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// Recordings.
//
// A Get asks anyway whether the pool is open, and one that is being recorded is not, quite
// (refRecording): then the Get becomes a message, which carries what the record needs. So
// a recording that is not made costs nothing. Whoever has asked for the recording waits
// for it on its own goroutine, and makes it there of what the machine has written.

// recording is the message of a caller that wants one.
type recording struct {
	machine machine.Recording
	over    chan error // of capacity 1

	sessions  *sessions         // of the goroutines that ask; nil: it does not want to know
	borrowers map[string]uint64 // the sessions of the actors that ask, by the id of their PID
}

// IgnoreDeadLetterLogging marks the message to a pool that has ended as no news.
func (*recording) IgnoreDeadLetterLogging() {}

// endRecording is the message of a caller that wants no more of it.
type endRecording struct{ recording *recording }

// IgnoreDeadLetterLogging marks the message to a pool that has ended as no news.
func (*endRecording) IgnoreDeadLetterLogging() {}

// Record records what is asked of the pool, at most gets Gets, and who asks if that is
// wanted. See client.Pool.
func (r *Ref) Record(ctx context.Context, gets int, who bool) (*messages.Recording, error) {
	if ctx == nil {
		return nil, messages.ErrNilContext
	}
	done := ctx.Done() // before anything is sent: a context may panic
	if r.isClosed() {
		return nil, r.endError()
	}
	q := &recording{machine: machine.Recording{Max: gets}, over: make(chan error, 1)}
	if who {
		q.sessions = newSessions()
	}
	r.process.SendUserMessage(r.pid, q)
	var err error
	select {
	case err = <-q.over:
	case <-r.ended:
		err = r.overOf(q)
	case <-done:
		r.process.SendUserMessage(r.pid, &endRecording{recording: q})
		err = r.overOf(q)
	}
	if !q.machine.Over() {
		return nil, err
	}
	report := q.machine.Report(func(setting any) string { return fmt.Sprint(setting) })
	report.Pool, report.GetTimeout = r.poolName, r.getTimeout
	return report, err
}

// overOf waits for the end of a recording that is ending.
func (r *Ref) overOf(q *recording) error {
	if err, ok := answerOf(r, q.over); ok {
		return err
	}
	return r.endError()
}

// record begins a recording.
func (p *pool) record(now time.Duration, q *recording) {
	if err := p.m.Record(now, &q.machine); err != nil {
		q.over <- err
		return
	}
	q.borrowers = make(map[string]uint64)
	p.recording = q
	p.ref.sessions.Store(q.sessions)
	p.ref.phase.CompareAndSwap(refOpen, refRecording)
}

// recorded hands a recording over that is over.
func (p *pool) recorded() {
	q := p.recording
	p.recording = nil
	p.ref.phase.CompareAndSwap(refRecording, refOpen)
	p.ref.sessions.Store(nil)
	var err error
	if q.machine.Closed() {
		err = messages.ErrClosed
	}
	q.over <- err
}

// abandonRecording hands over what there is when the pool is torn down. After a panic the
// machine may be in disorder, so a second one is contained.
func (p *pool) abandonRecording() {
	q := p.recording
	if q == nil {
		return
	}
	defer func() {
		_ = recover()
		q.over <- p.ref.endError()
	}()
	p.recording = nil
	p.m.EndRecording(p.now(), &q.machine)
}

// sessionOf is the session of an actor that asks by message; 0: nothing is recorded.
func (p *pool) sessionOf(borrower *actor.PID) uint64 {
	if p.recording == nil || p.recording.sessions == nil {
		return 0
	}
	n, ok := p.recording.borrowers[borrower.Id]
	if !ok {
		n = 1<<63 | uint64(len(p.recording.borrowers)) // no goroutine has such a number
		p.recording.borrowers[borrower.Id] = n
	}
	return n
}

// session is the number of this goroutine, if the recording that is made asks for it.
func (r *Ref) session() uint64 {
	if s := r.sessions.Load(); s != nil {
		return s.number()
	}
	return 0
}

// lendRecorded is lend while a recording is made: the turn of a Get that is recorded.
func (p *pool) lendRecorded(g *getRequest) (conn *poolConn, epoch uint64) {
	if !p.life.runs() {
		return nil, 0
	}
	p.inTurn = true
	defer func() {
		if p.inTurn {
			p.failDirectly(recover())
			conn = nil
		}
	}()
	if s := p.m.TryGet(p.now(), &g.waiter); s != nil {
		conn, epoch = s.Conn.(*poolConn), s.LeaseEpoch
		conn.fromIdle = true
		if p.m.Decided() {
			p.perform()
		}
	}
	if p.tellsChanges {
		p.noteChanges()
	}
	p.inTurn = false
	return conn, epoch
}

// getRecorded is Get while a recording is made.
func (r *Ref) getRecorded(ctx context.Context, label string, setting any) (Lease, error) {
	if setting != nil {
		if err := r.checkSetting(setting); err != nil {
			return Lease{}, err
		}
	}
	if trace.IsEnabled() {
		defer trace.StartRegion(ctx, r.regions.wait).End()
	}
	done := ctx.Done() // all of it is read here, as in Get
	deadline, bounded := ctx.Deadline()
	var ended *ending
	if done != nil && ctx.Err() != nil {
		ended = endOf(ctx)
	}
	var held *holdings
	if h, ok := ctx.Value(r).(*leaseContext); ok || r.member != nil {
		held = r.holdingsOf(ctx, h)
	}
	g := r.request(label, setting, deadline, bounded, ended, held)
	g.waiter.Session = r.session()
	if r.findsLeaks {
		g.waiter.Trace = r.here(1)
	}
	if !r.lendsRecorded(g) {
		if err := r.wait(ctx, done, g); err != nil {
			return Lease{}, err
		}
	}
	if r.isClosedConn != nil {
		if err := r.skipClosed(ctx, done, g); err != nil {
			return Lease{}, err
		}
	}
	g.waiter.Session = 0
	return r.finish(g)
}

// lendsRecorded gives a request to the pool actor, and says whether its answer is there: on
// a direct turn where that is possible.
func (r *Ref) lendsRecorded(g *getRequest) bool {
	entered := false
	if r.getsDirectly && g.ended == nil && r.box.enter() {
		conn, epoch := r.pool.lendRecorded(g)
		if conn != nil {
			r.box.exit()
			g.lease = Lease{lent: conn, epoch: epoch}
			return true
		}
		entered = true
	}
	r.send(g, entered)
	return g.handover.wasDirect()
}
