package actors

import (
	"context"
	"time"
)

// ConnInfo describes the connection that a function of a Config works on. See
// client.HookInfo.
type ConnInfo struct {
	// Pool is the pool's name.
	Pool string
	// ConnID is the id of the connection, from 1, as in events. A pool never uses an id
	// again.
	ConnID uint64
	// Generation is the number of Clears before its connect began.
	Generation uint64
	// Uses is the number of leases of the connection that have ended.
	Uses int
	// Age is the time since Connect returned the connection; 0 in Connect.
	Age time.Duration
	// Idle is how long the connection was idle before this function, and those that
	// follow each other without a lease in between, began. 0 if it was not idle, or if no
	// option of the pool needs that time.
	Idle time.Duration
	// Setting is the setting on the connection; nil if it has none, as in Apply.
	Setting any
	// Label is that of the Get that waits for this function; empty if there is none.
	Label string
}

// hookKey is the key under which a jobContext is its own value.
type hookKey struct{}

// HookInfo describes the connection that the function with this context works on. False:
// it is not the context of such a function.
func HookInfo(ctx context.Context) (ConnInfo, bool) {
	if ctx == nil {
		return ConnInfo{}, false
	}
	h, ok := ctx.Value(hookKey{}).(*jobContext)
	if !ok {
		return ConnInfo{}, false
	}
	info := ConnInfo{
		Pool: h.spec.Policy.Name, ConnID: h.info.ID, Generation: h.info.Generation, Uses: h.info.Uses,
		Idle: h.info.Idle, Setting: h.info.Setting, Label: h.info.Label,
	}
	if h.conn != nil {
		info.Age = h.spec.clock.now() - h.conn.opened
	}
	return info, true
}
