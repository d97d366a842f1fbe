package actors

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
)

// This file is the pool actor's end of the work of its connectors: it sends jobs,
// takes reports, and supervises. connector.go is the other end.

// start sends a job to the slot's connector, and spawns that first if there is
// none. The job carries its node, which is in one mailbox at most: a job that goes to
// a second connector is given another one, because the first may still have this one.
func (p *pool) start(kind machine.EffectKind, s *machine.Slot) {
	c, ok := s.Shell.(*connector)
	if !ok {
		c = &connector{held: newHeld()}
		s.Shell = c
	}
	j := &job{kind: kind, slot: s, setting: s.Want, timeout: p.m.JobTimeout(s), info: p.m.JobInfo(s)}
	if s.Conn != nil {
		j.conn = s.Conn.(*poolConn)
		j.asks = kind == machine.Reset && p.spec.Reusable != nil && !j.conn.asked
	}
	j.context.spec, j.context.conn, j.context.info, j.context.parent = p.spec, j.conn, &j.info, p.lifetime
	if kind == machine.Disconnect { // it has a bound of its own, see connectorActor.disconnect
		j.context.parent = context.Background()
	}
	j.node.message = j
	c.job = j
	p.dispatch(c, &j.node)
}

// dispatch gives the job to the connector actor, and spawns that first if there is none.
func (p *pool) dispatch(c *connector, message any) {
	if c.pid == nil {
		p.spawned = c.held
		c.pid, c.process = p.spawn(p.connectorProps)
		p.spawned, c.failures = nil, nil
	}
	c.process.SendUserMessage(c.pid, message)
}

// propsOfConnectors makes the props that all connectors of the pool share. A connector
// that the library restarts is another value: its hand goes from the old one to the new
// one through the extensions of their context, which take memory only then.
func (p *pool) propsOfConnectors() *actor.Props {
	spec := p.spec
	return actor.PropsFromProducer(
		func() actor.Actor { return &connectorActor{spec: spec} },
		actor.WithMailbox(newAsideMailbox),
		actor.WithOnInit(func(ctx actor.Context) { // on the pool's turn
			if a, ok := ctx.Actor().(*connectorActor); ok {
				a.held = p.spawned
			}
		}),
	)
}

// spawn makes a child. It gives the process, too: if somebody else stops the child,
// what is sent there is dropped. By its PID it would be a dead letter, whose
// subscribers run on the pool's turn.
func (p *pool) spawn(child *actor.Props) (*actor.PID, actor.Process) {
	pid := p.ctx.Spawn(child)
	process, _ := p.ref.system.ProcessRegistry.Get(pid)
	return pid, process
}

// connectorStopped notes that somebody else has stopped a connector. It closes the
// connection that it has. All reports of it have come, so a job under way is one that
// it had not begun.
func (p *pool) connectorStopped(now time.Duration, held *held) {
	lost, c := p.slotOf(held)
	if c == nil {
		return // it was retired or given up
	}
	c.pid, c.process, c.held = nil, nil, newHeld()
	if j := c.job; j != nil {
		if j.kind == machine.Open || j.kind == machine.Disconnect {
			p.dispatch(c, j)
			return
		}
		j.context.end()
		c.job = nil
	}
	p.m.ConnectorLost(now, lost, errConnectorStopped)
}

// errConnectorStopped is the cause when a connection is closed whose connector was
// stopped.
var errConnectorStopped = errors.New("actorpool: the connector was stopped by somebody else")

// report takes a job back from a connector.
func (p *pool) report(now time.Duration, j *job) {
	c := j.slot.Shell.(*connector)
	if j.failure != nil && j.by == c.held && c.pid != nil { // before another job goes to it
		if c.failures == nil {
			c.failures = actor.NewRestartStatistics()
		}
		p.HandleFailure(p.ref.system, nil, c.pid, c.failures, j.failure.Value, j)
	}
	if c.job == j {
		c.job = nil
	}
	switch j.kind {
	case machine.Open:
		if j.err != nil {
			p.m.ConnectFailed(now, j.slot, j.err, j.class)
			return
		}
		conn := j.conn
		conn.slot, conn.ref = j.slot, p.ref
		p.know(conn)
		p.m.Connected(now, j.slot, conn)
	case machine.Check:
		p.m.Checked(now, j.slot, j.err)
	case machine.Reset:
		p.m.WasReset(now, j.slot, j.err)
	case machine.Apply:
		p.m.Applied(now, j.slot, j.err)
	case machine.Unapply:
		p.m.Unapplied(now, j.slot, j.err)
	case machine.Disconnect:
		p.forget(j.conn)
		p.m.Disconnected(now, j.slot)
	}
}

// slotOf finds the slot of a connector by what is in its hand.
func (p *pool) slotOf(held *held) (slot *machine.Slot, c *connector) {
	p.m.EachSlot(func(s *machine.Slot) {
		if found, ok := s.Shell.(*connector); ok && found.held == held {
			slot, c = s, found
		}
	})
	return slot, c
}

// HandleFailure implements actor.SupervisorStrategy: the pool supervises its
// connectors. The actor library calls it if a connector itself panics.
func (p *pool) HandleFailure(system *actor.ActorSystem, sup actor.Supervisor, child *actor.PID,
	stats *actor.RestartStatistics, reason, message any,
) {
	if p.strategy == nil { // unborn, and about to stop
		sup.StopChildren(child)
		return
	}
	p.strategy.HandleFailure(system, &supervision{sup, p}, child, stats, reason, message)
}

// supervision carries out what the strategy decides, off the pool's turn: the child may
// be no more, and then the message to it is a dead letter.
type supervision struct {
	actor.Supervisor
	p *pool
}

// RestartChildren implements actor.Supervisor.
func (s *supervision) RestartChildren(pids ...*actor.PID) {
	for _, pid := range pids {
		s.p.tellSystem(pid, &actor.Restart{})
	}
}

// StopChildren implements actor.Supervisor.
func (s *supervision) StopChildren(pids ...*actor.PID) {
	for _, pid := range pids {
		s.p.tellSystem(pid, &actor.Stop{})
	}
}

// connectorGivenUp notes that a connector has panicked too often and is stopped. A
// job that it had not begun goes to a new one; the job that panicked has been
// reported. The slot opens again when the machine wants it.
func (p *pool) connectorGivenUp(child *actor.PID) {
	if !p.life.runs() {
		return // the connector closes what it holds
	}
	p.m.EachSlot(func(s *machine.Slot) {
		c, ok := s.Shell.(*connector)
		if !ok || c.pid == nil || !c.pid.Equal(child) {
			return
		}
		// The old connector is still to be stopped, and would close the connection
		// that it holds without the machine knowing: the new one holds it now.
		next := newHeld()
		next.conn.Store(c.held.conn.Swap(nil))
		c.pid, c.process, c.held = nil, nil, next
		if c.job != nil && !c.job.started.Load() {
			p.dispatch(c, c.job)
		}
	})
}

// know and forget keep p.conns. A pool of a set that has no connection has no map: the set
// may have many of them.
func (p *pool) know(c *poolConn) {
	if p.conns == nil {
		p.conns = make(map[uint64]*poolConn)
	}
	p.conns[c.id] = c
}

func (p *pool) forget(c *poolConn) {
	if delete(p.conns, c.id); len(p.conns) == 0 && p.share != nil {
		p.conns = nil
	}
}
