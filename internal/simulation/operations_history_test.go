package simulation_test

import (
	"fmt"
	"strings"
	"time"
)

// step is one operation, for the history of a run that fails.
type step struct {
	at   time.Duration
	op   operation
	arg  byte
	wait bool
}

// history lists the operations of a run, to understand a failure.
func (o *operations) history() string {
	var b strings.Builder
	fmt.Fprintf(&b, "capacity %d, MaxConnecting %d, MinIdle %d, MaxIdle %d, MaxWaiters %d, check %v, reset %v, wipes %v, apply %v, unapply %v, "+
		"events %v, KeepAlive %v, IdleTimeout %v, MaxLifetime %v, jitter %v, LeakAfter %v, MaxLease %v, CheckAfterIdle %v, GetTimeout %v, Reserve %v, "+
		"backoff %+v, ShedHopeless %v, Shed %v, PauseOnClear %v, library mailbox %v, interrupts %v, abrupt %v\n",
		o.cfg.Capacity, o.cfg.MaxConnecting, o.cfg.MinIdle, o.cfg.MaxIdle, o.cfg.MaxWaiters, o.cfg.Check != nil, o.cfg.Reset != nil,
		o.cfg.ResetWipesSetting, o.cfg.Apply != nil, o.cfg.Unapply != nil, o.cfg.OnEvent != nil, o.cfg.KeepAlive, o.cfg.IdleTimeout,
		o.cfg.MaxLifetime, o.cfg.MaxLifetimeJitter, o.cfg.LeakAfter, o.cfg.MaxLease, o.cfg.CheckAfterIdle, o.cfg.GetTimeout, o.cfg.Reserve,
		o.cfg.Backoff, o.cfg.ShedHopeless, o.cfg.Shed, o.cfg.PauseOnClear, o.library, o.interrupts, o.abrupt)
	for _, s := range o.steps {
		then := ", and waits until all is quiet"
		if !s.wait {
			then = ""
		}
		fmt.Fprintf(&b, "%v: %s %#x%s\n", s.at, operationNames[s.op], s.arg, then)
	}
	return b.String()
}
