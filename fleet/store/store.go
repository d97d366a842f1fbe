// Package store is what a fleet needs of the store that keeps its ledger, and a suite of
// tests that every store must pass (package storetest).
//
// # The ledger
//
// The ledger has one sum, and one row and one report for each incarnation of a member.
// A row says how many connections the budget is charged for, to how many the member shall
// shrink, and which slot it has. Coordinators write rows; the member deletes its own when it leaves, which
// only frees. A report is what the member says of itself. It lives as long as the member's
// lease. The sum has the budget. Every commit writes it, and succeeds only if nobody else
// has written it since the snapshot that the commit was decided on. So of two coordinators
// that decide at once one succeeds, whatever their clocks say.
//
// All of it must be linearizable: an operation takes effect at one moment between its call
// and its return, and none sees an older state than one that returned before it began.
package store

import (
	"context"
	"errors"
	"time"
)

// Row is what the ledger says of one incarnation.
type Row struct {
	// Charge is what the budget is charged for it: a bound on what it holds.
	Charge int `json:"charge"`
	// Target is what it shall shrink to. It is not above Charge.
	Target int `json:"target"`
	// Slot is a number from 0 that no other row has. It stays while the row is there.
	Slot int `json:"slot"`
	// Seq is the revision that wrote the row. It grows with every change of it.
	Seq int64 `json:"-"`
}

// Report is what a member says of itself.
type Report struct {
	// Want is how many connections it has a use for.
	Want int `json:"want"`
	// AckSeq and AckN are its promise: until it sees a row newer than AckSeq, it holds at
	// most AckN connections. It is made after the others are closed. AckSeq is 0 if there
	// is none.
	AckSeq int64 `json:"ackSeq"`
	AckN   int   `json:"ackN"`
}

// Sum is what every commit writes.
type Sum struct {
	// Budget is the largest number of connections of the whole fleet.
	Budget int `json:"budget"`
	// Rotations counts the times that connections were passed on to members that had
	// waited longest.
	Rotations int64 `json:"rotations"`
	// NextSlot is where the search for a free slot begins, where their number is bounded.
	NextSlot int `json:"nextSlot,omitempty"`
	// Revision is the revision that wrote the sum; 0: there is none.
	Revision int64 `json:"-"`
}

// Snapshot is the ledger at one revision.
type Snapshot struct {
	Sum     Sum
	Rows    map[string]Row
	Reports map[string]Report // of the incarnations whose lease lives
}

// Change sets or deletes the row of an incarnation.
type Change struct {
	Incarnation string
	Row         Row // Seq is ignored
	Delete      bool
}

// MaxChanges is how many changes one commit may have. etcd takes 128 operations in a
// transaction by default (its option max-txn-ops), and the sum is one of them.
const MaxChanges = 127

// Errors of stores.
var (
	// ErrLost: the incarnation's lease is over. It does not come back.
	ErrLost = errors.New("fleet: the lease of this member has ended")
	// ErrConflict: the ledger is not what the snapshot showed.
	ErrConflict = errors.New("fleet: the ledger has changed meanwhile")
)

// Store keeps ledgers, each under its key. All methods may be called by many goroutines.
// An operation that fails with another error than those of this package may have taken
// effect, or may still.
type Store interface {
	// Open opens the ledger of a key, and creates its sum with the budget if there is none.
	// It returns the sum that is there.
	Open(ctx context.Context, key string, budget int) (Sum, error)
	// SetBudget changes the budget.
	SetBudget(ctx context.Context, key string, budget int) error
	// Join begins an incarnation: a lease that ends when it has not been renewed for ttl.
	Join(ctx context.Context, key, incarnation string, ttl time.Duration) (Membership, error)
	// Snapshot reads the ledger.
	Snapshot(ctx context.Context, key string) (Snapshot, error)
	// Commit makes the changes, all or none, and writes the sum. It fails with ErrConflict
	// if the sum has been written since base.
	Commit(ctx context.Context, key string, base, sum Sum, changes []Change) error
}

// Membership is one incarnation's lease.
type Membership interface {
	// Renew renews the lease, and sets the report. It returns the incarnation's row as it
	// is then; ok is false if there is none. ErrLost: the lease has ended.
	Renew(ctx context.Context, report Report) (row Row, ok bool, err error)
	// Watch sends the incarnation's row when it changes, until ctx ends. It may miss
	// changes and repeat them: it only saves the time until the next renewal. The channel
	// is closed when it ends, for whatever reason.
	Watch(ctx context.Context) <-chan Row
	// Leave ends the incarnation, whose connections are all closed: it deletes its row and
	// its report, writes the sum, and ends the lease. To leave twice is no error.
	Leave(ctx context.Context) error
}
