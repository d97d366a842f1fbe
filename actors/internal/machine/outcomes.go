// Outcomes: what it means that a job of a connector has failed, is done, or does not
// come back.

package machine

import (
	"context"
	"fmt"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// errOverdue is the failure of a job whose function ignored its context.
var errOverdue = fmt.Errorf("actorpool: the function ignores its context and was given up: %w", context.DeadlineExceeded)

// failConnect does everything that follows from a failed connect. It fails the Get
// that the connect was begun for, and no other (G10). end says what becomes of the
// slot.
func (m *Machine) failConnect(s *Slot, err error, class messages.Class, end func(*Slot)) {
	m.counters.ConnectErrors++
	w := s.waiter
	if !s.bearsFailure || w != nil && m.outlives(w) {
		w = nil
	}
	m.unassign(s)
	if m.phase != phaseOpen || s.generation != m.generation {
		m.emitClosed(s, messages.ReasonStale, err)
		end(s)
		return
	}
	m.lastConnectErr = err
	if class != messages.ClassIgnore {
		m.permits = initialPermits
	}
	if class == messages.ClassClear {
		m.newGeneration(err, false)
	}
	m.emitClosed(s, messages.ReasonError, err)
	switch class {
	case messages.ClassOverload, messages.ClassFatal:
		m.beginBackoff(s, err, class)
	}
	end(s)
	failure := &messages.ConnectError{Phase: messages.PhaseConnect, Err: err}
	if w != nil && w.queued {
		m.reject(w, failure, messages.ReasonConnectionError)
	}
	m.answerAll(&m.drain.readies, m.notReady(failure))
	m.rejectIfPaused() // after the reject above, which tells the cause
	if m.backoff.phase != backoffBlocked {
		m.delayBackground() // no blocking period does it
	}
}

// outlives says that a waiter keeps its place although the connect that was begun for
// it fails (G18): it does not wait for ever, and a connection stands that can come
// back.
func (m *Machine) outlives(w *Waiter) bool {
	return m.cfg.Backoff.Mode == BackoffWait && w.Deadline > 0 && m.standing > 0
}

// jobDone goes on with an established connection whose job has come back: it is
// closed if the job failed or came back too late, and otherwise put to use.
func (m *Machine) jobDone(s *Slot, err error) {
	if !m.closeIfUnusable(s, err) {
		m.prove(s)
		m.putToUse(s)
	}
	m.settle()
}

// closeIfUnusable closes a connection whose job failed or came back too late. False:
// neither is so, or the connection is to be closed for another reason.
func (m *Machine) closeIfUnusable(s *Slot, err error) bool {
	switch {
	case s.givenUp:
		m.closeLate(s)
	case err != nil && m.condemned(s) == 0:
		m.unassign(s)
		m.closeConn(s, messages.ReasonError, err)
	default:
		return false
	}
	return true
}

// checkFailed notes that a check has failed. A Get that waited for it waits for no
// other (G13).
func (m *Machine) checkFailed(s *Slot) {
	if m.condemned(s) == 0 { // otherwise it may have been cancelled
		m.foundDead(s)
	}
	if s.waiter != nil {
		s.waiter.paid = true
	}
}

// failApply ends the Get that an Apply was done for, if there is one (H9).
func (m *Machine) failApply(w *Waiter, err error) {
	if w != nil {
		m.reject(w, &messages.ConnectError{Phase: messages.PhaseApply, Err: err}, messages.ReasonConnectionError)
	}
}

// delayBackground keeps the background from connecting in a loop.
func (m *Machine) delayBackground() {
	m.backgroundAfter = after(m.now, max(m.cfg.Backoff.Base, time.Millisecond))
}

// afterSettingChange goes on with a connection whose setting was changed for w. If w
// still waits, the connection is for w, whatever its place in the queue.
func (m *Machine) afterSettingChange(s *Slot, w *Waiter) {
	if w != nil && m.expired(w) {
		m.unassign(s)
		m.rejectExpired(w)
		w = nil
	}
	if w != nil && !m.suspended && m.condemned(s) == 0 {
		m.give(s, w)
	} else {
		m.putToUse(s)
	}
	m.settle()
}

// giveUpJob gives up a job that is overdue: a function that ignores its context must
// not cost the pool a place, or a permit to connect, for ever. The slot is not
// counted any more. If the job comes back after all, its connection is closed.
func (m *Machine) giveUpJob(s *Slot) {
	switch s.state {
	case connecting:
		if s.cancelled {
			m.counters.ConnectErrors++
			m.stopCounting(s)
			return
		}
		m.failConnect(s, errOverdue, messages.ClassOverload, m.stopCounting)
	case checking, resetting, applying, unapplying:
		if s.state == checking {
			m.checkFailed(s)
		}
		w := s.waiter
		m.unassign(s)
		m.counters.ClosedBroken++
		m.emitClosed(s, messages.ReasonError, errOverdue)
		m.stopCounting(s)
		if s.state == applying {
			m.failApply(w, errOverdue)
			m.delayBackground()
		}
	case closing:
		m.unassign(s)
		m.jobs.givenUpClosing++
		m.stopCounting(s)
	}
}
