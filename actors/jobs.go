package actors

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/machine"
)

// This file is the pool actor's end of the work of its connectors: it sends jobs,
// takes reports, and supervises. connector.go is the other end.

// start sends a job to the slot's connector, and spawns that first if there is
// none.
func (p *pool) start(kind machine.EffectKind, s *machine.Slot) {
	c, ok := s.Shell.(*connector)
	if !ok {
		c = &connector{held: &held{}}
		s.Shell = c
	}
	j := &job{kind: kind, slot: s, setting: s.Want, timeout: p.m.JobTimeout(s)}
	if s.Conn != nil {
		j.conn = s.Conn.(*poolConn)
	}
	if kind != machine.Disconnect {
		j.ctx, j.cancel = context.WithCancel(p.lifetime)
	}
	c.job = j
	p.dispatch(c)
}

// dispatch gives the job to the connector actor, and spawns that first if there is none.
func (p *pool) dispatch(c *connector) {
	if c.pid == nil {
		held := c.held
		c.pid = p.ctx.Spawn(actor.PropsFromProducer(func() actor.Actor { return &connectorActor{spec: p.spec, held: held} }))
	}
	p.ctx.Send(c.pid, c.job)
}

// report takes a job back from a connector.
func (p *pool) report(now time.Duration, j *job) {
	c := j.slot.Shell.(*connector)
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
		conn.id, conn.slot, conn.ref = j.slot.ID, j.slot, p.ref
		p.conns[conn.id] = conn
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
		delete(p.conns, j.conn.id)
		p.m.Disconnected(now, j.slot)
	}
}

// HandleFailure implements actor.SupervisorStrategy: the pool supervises its
// connectors.
func (p *pool) HandleFailure(system *actor.ActorSystem, sup actor.Supervisor, child *actor.PID,
	stats *actor.RestartStatistics, reason, message any,
) {
	if p.strategy == nil { // unborn, and about to stop
		sup.StopChildren(child)
		return
	}
	p.strategy.HandleFailure(system, sup, child, stats, reason, message)
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
		c.pid, c.held.conn, c.held = nil, nil, &held{conn: c.held.conn}
		if c.job != nil && !c.job.started.Load() {
			p.dispatch(c)
		}
	})
}
