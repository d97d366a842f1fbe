package actors

import (
	"runtime"
	"sync/atomic"
)

// token lives as long as anybody has the lease that it belongs to. Leases have one if
// the pool looks for leaks. When it is garbage, nobody can return the connection any
// more.
type token struct{ cleanup runtime.Cleanup }

// leaseEnds takes note that the lease has been ended by its holder, so that the token need
// not be missed: the runtime keeps what it has to miss in lists that it walks.
func (t *token) leaseEnds() {
	if t != nil {
		t.cleanup.Stop()
	}
}

// forgotten is a lease whose token was garbage before the lease ended.
type forgotten struct {
	conn  *poolConn
	epoch uint64
	next  *forgotten
}

// mark gives a lease a token.
func mark(lease Lease) Lease {
	lease.token = &token{}
	lease.token.cleanup = runtime.AddCleanup(lease.token, forget, forgotten{conn: lease.lent, epoch: lease.epoch})
	return lease
}

// forgottenList collects forgotten leases until the pool actor looks. The runtime
// calls the cleanup on a goroutine of its own. No message is sent there: in tests
// with virtual time that goroutine is outside the bubble of the test.
type forgottenList struct{ head atomic.Pointer[forgotten] }

// forget ends a lease whose token is garbage, unless it has ended, and notes that the pool
// has to close its connection.
func forget(lost forgotten) {
	if !lost.conn.revoke(lost.epoch) {
		return
	}
	f, l := &lost, &lost.conn.ref.forgotten
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
