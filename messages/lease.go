package messages

import "time"

// Path says how a Get came by its connection.
type Path uint8

const (
	// PathIdle: the connection was idle.
	PathIdle Path = iota + 1
	// PathNew: the connection is new: it was opened for this Get, or for nobody.
	PathNew
	// PathQueued: another holder returned the connection while this Get waited.
	PathQueued
	// PathChecked: the connection was idle, and Check ran on it first.
	PathChecked
	// PathPrepared: Apply or Unapply ran on the connection first.
	PathPrepared
)

var paths = [...]string{
	PathIdle: "idle", PathNew: "new", PathQueued: "queued", PathChecked: "checked", PathPrepared: "prepared",
}

// String returns the path as a word, for example "idle".
func (p Path) String() string { return name(paths[:], int(p), "Path") }

// LeaseInfo describes a lease and its connection. It is zero for a lease that has
// ended.
type LeaseInfo struct {
	// ConnID is the id of the connection, from 1. A pool never uses an id again.
	ConnID uint64
	// Wait is how long the Get has waited.
	Wait time.Duration
	// Path is how the Get came by the connection.
	Path Path
	// Uses is how many leases the connection has had, this one included. Those of Each
	// and TryGetAll do not count, nor does one that its Get refused or could not take.
	Uses int
	// Age is the time since the connection was opened.
	Age time.Duration
	// Idle is how long the connection had been idle before this lease. It is zero if it
	// was not idle, and in a pool whose options need no clock: without IdleTimeout,
	// MaxLifetime, MaxLease, LeakAfter, KeepAlive, MinIdle, Check and OnEvent.
	Idle time.Duration
	// Setting is the setting of the connection; nil if it has none.
	Setting any
	// Generation is the number of Clears before the connection was opened.
	Generation uint64
}
