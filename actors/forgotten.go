package actors

import (
	"runtime"
	"sync/atomic"
)

// token is there as long as anybody has the lease it belongs to. It is given out
// when the pool watches for leaks. When it is garbage nobody can return the
// connection any more.
type token struct{ _ [2]uint64 } // too big to share a block of memory with another

// forgotten is a lease whose token was garbage before the lease ended.
type forgotten struct {
	handle *Handle
	epoch  uint64
	next   *forgotten
}

// forgottenList collects them until the pool actor looks. The runtime calls the
// cleanup on a goroutine of its own, where no message is sent: in tests with
// virtual time that goroutine is outside of the world of the test.
type forgottenList struct{ head atomic.Pointer[forgotten] }

// mark gives a lease a token.
func (l *forgottenList) mark(loan Loan) Loan {
	loan.token = &token{}
	f := &forgotten{handle: loan.handle, epoch: loan.epoch}
	runtime.AddCleanup(loan.token, l.add, f)
	return loan
}

// add ends the lease, unless it has ended, and notes that the pool has to close
// its connection.
func (l *forgottenList) add(f *forgotten) {
	if !f.handle.revoke(f.epoch) {
		return
	}
	for {
		f.next = l.head.Load()
		if l.head.CompareAndSwap(f.next, f) {
			return
		}
	}
}

// take gives those that have been added since it was last called.
func (l *forgottenList) take() *forgotten {
	if l.head.Load() == nil {
		return nil
	}
	return l.head.Swap(nil)
}
