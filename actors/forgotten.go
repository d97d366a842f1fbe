package actors

import (
	"runtime"
	"sync/atomic"
)

// token lives as long as anybody has the lease that it belongs to. Leases have one if
// the pool looks for leaks. When it is garbage, nobody can return the connection any
// more.
type token struct{ _ [2]uint64 } // too big to share a block of memory with another

// forgotten is a lease whose token was garbage before the lease ended.
type forgotten struct {
	conn  *poolConn
	epoch uint64
	next  *forgotten
}

// forgottenList collects forgotten leases until the pool actor looks. The runtime
// calls the cleanup on a goroutine of its own. No message is sent there: in tests
// with virtual time that goroutine is outside the bubble of the test.
type forgottenList struct{ head atomic.Pointer[forgotten] }

// mark gives a lease a token.
func (l *forgottenList) mark(lease Lease) Lease {
	lease.token = &token{}
	f := &forgotten{conn: lease.lent, epoch: lease.epoch}
	runtime.AddCleanup(lease.token, l.add, f)
	return lease
}

// add ends the lease, unless it has ended, and notes that the pool has to close
// its connection.
func (l *forgottenList) add(f *forgotten) {
	if !f.conn.revoke(f.epoch) {
		return
	}
	for {
		f.next = l.head.Load()
		if l.head.CompareAndSwap(f.next, f) {
			return
		}
	}
}

// take gives the leases that have been added since it was last called.
func (l *forgottenList) take() *forgotten {
	if l.head.Load() == nil {
		return nil
	}
	return l.head.Swap(nil)
}
