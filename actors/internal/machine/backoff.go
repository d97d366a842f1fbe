// Backoff: after a failed connect no connect begins for a while (blocked); then
// one at a time is tried (probing) until one succeeds.

package machine

import (
	"time"

	"github.com/actorpool/actorpool/messages"
)

// backoffState is where the pool stands after failed connects. The epoch grows
// with every blocking period and every Clear, and is never reset: by it a timer or
// a failure that belongs to an older period is recognised.
type backoffState struct {
	phase      backoffPhase
	attempt    int           // the number of failed attempts
	epoch      uint64        // of the current period
	until      time.Duration // when the next attempt may begin
	since      time.Duration // when the first attempt failed
	failedAt   time.Duration // when the last attempt failed
	cause      error         // its error
	denial     error         // of the Gets that have failed fast last, see failFastError
	deniedAt   time.Duration // when it was made
	nothingOut bool          // nothing can come back before the next attempt, see rejectHopeless
}

type backoffPhase uint8

const (
	backoffOff     backoffPhase = iota
	backoffBlocked              // no connect begins
	backoffProbing              // the period is over; one connect at a time until one succeeds
)

// beginBackoff begins a blocking period after a failed connect, unless the failure is
// of an older epoch: several failures of one epoch count once (B4).
func (m *Machine) beginBackoff(s *Slot, err error, class messages.Class) {
	if m.cfg.Backoff.Mode == BackoffNever || s.backoffEpoch != m.backoff.epoch {
		return
	}
	b := &m.backoff
	if b.phase == backoffOff {
		b.since = m.now
	}
	b.phase = backoffBlocked
	b.attempt++
	b.epoch++
	b.cause, b.denial = err, nil
	b.failedAt = m.now
	d := m.cfg.backoffDelay(b.attempt)
	b.until = after(m.now, d)
	b.nothingOut = false
	m.counters.Backoffs++
	m.effect(Effect{Kind: ArmBackoff, At: b.until, Epoch: b.epoch, Generation: m.generation, Attempt: b.attempt})
	m.emit(messages.Event{Kind: messages.PoolBackoff, Attempt: b.attempt, Duration: d, Err: err, Class: class})
	m.refreshFastPath()
}

// endBackoff ends a backoff after a connect of the current generation has
// succeeded, whatever it was begun for (B10).
func (m *Machine) endBackoff() {
	if m.backoff.phase == backoffOff {
		return
	}
	attempts, took := m.backoff.attempt, m.now-m.backoff.since
	m.resetBackoff()
	m.emit(messages.Event{Kind: messages.PoolReady, Attempt: attempts, Duration: took})
}

// resetBackoff puts the backoff back to its start, except the epoch.
func (m *Machine) resetBackoff() {
	b := &m.backoff
	if b.phase == backoffBlocked {
		m.effect(Effect{Kind: DisarmBackoff})
	}
	*b = backoffState{epoch: b.epoch}
	m.backgroundAfter = 0
	m.resumeKeepAlive()
	m.refreshFastPath()
}

// resumeKeepAlive makes the next tick look at all idle connections: checks in the
// background have not been made while connects were blocked.
func (m *Machine) resumeKeepAlive() {
	if m.cfg.KeepAlive > 0 {
		m.timers.idleDue = min(m.timers.idleDue, m.now)
	}
}

// backoffError says that nothing is tried before the next attempt.
func (m *Machine) backoffError() *messages.BackoffError {
	return &messages.BackoffError{Attempt: m.backoff.attempt, Until: m.periodEnds(), Cause: m.backoff.cause}
}
