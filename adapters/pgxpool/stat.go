package pgxpool

import (
	"math"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// Stat is a snapshot of a pool, with the names of pgx's. Stats of the underlying pool has
// more.
type Stat struct {
	s       messages.Stats
	allIdle int64
}

// Stat returns a snapshot. All its numbers are of the same moment.
func (p *Pool) Stat() *Stat {
	allIdle := p.allIdle.Load() // before the Gets that it is subtracted from
	return &Stat{p.pool.Stats(), allIdle}
}

// count converts a number of connections.
func count(n int) int32 { return int32(min(n, math.MaxInt32)) }

// AcquireCount is the number of acquires that got a connection, so far.
func (s *Stat) AcquireCount() int64 { return int64(s.s.Grants) - s.allIdle }

// AcquireDuration is the time that the acquires which got a connection have waited for
// it, all together. One that does not wait counts as 0.
func (s *Stat) AcquireDuration() time.Duration { return s.s.WaitTime }

// AcquiredConns is the number of connections that are acquired, or on which the pool
// itself is busy: checking one, or applying a setting.
func (s *Stat) AcquiredConns() int32 { return count(s.s.Borrowed + s.s.InTransition) }

// CanceledAcquireCount is the number of acquires that were ended by their context, so far.
func (s *Stat) CanceledAcquireCount() int64 { return int64(s.s.Timeouts + s.s.Cancels) }

// ConstructingConns is the number of connections that are being opened.
func (s *Stat) ConstructingConns() int32 { return count(s.s.Connecting) }

// EmptyAcquireCount is the number of acquires that got a connection after a wait, because
// none was idle, so far.
func (s *Stat) EmptyAcquireCount() int64 { return int64(s.s.GrantedWaits) }

// EmptyAcquireWaitTime is how long they have waited, all together.
func (s *Stat) EmptyAcquireWaitTime() time.Duration { return s.s.WaitTime }

// IdleConns is the number of connections that are idle.
func (s *Stat) IdleConns() int32 { return count(s.s.Idle) }

// MaxConns is the largest number of connections.
func (s *Stat) MaxConns() int32 { return count(s.s.Capacity) }

// TotalConns is the sum of ConstructingConns, AcquiredConns and IdleConns. Connections
// that are being closed are not in it.
func (s *Stat) TotalConns() int32 { return count(s.s.Connecting + s.s.Open) }

// NewConnsCount is the number of connects, so far.
func (s *Stat) NewConnsCount() int64 { return int64(s.s.Connects) }

// MaxLifetimeDestroyCount is the number of connections that were closed because of
// MaxConnLifetime, so far.
func (s *Stat) MaxLifetimeDestroyCount() int64 { return int64(s.s.ClosedLifetime) }

// MaxIdleDestroyCount is the number of connections that were closed because of
// MaxConnIdleTime, so far.
func (s *Stat) MaxIdleDestroyCount() int64 { return int64(s.s.ClosedIdle) }
