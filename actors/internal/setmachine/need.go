package setmachine

import "time"

// Need says that a key could use one more unit and that none is free. It is the same for
// all pools, and does not change.
type Need struct {
	// Key is the key that could use it.
	Key *Key
	// Oldest is since when the longest wait for it goes on.
	Oldest time.Duration
	// Busy says that a unit may also be taken from a key whose callers wait: otherwise
	// only one that is idle.
	Busy bool
	// Level is the level of the shares, see shares.
	Level Level
}

// Takes says whether the need takes a unit from a pool with this capacity, in the moment
// in which one of its connections has come free. waits says that callers of the pool wait
// for that connection, the first since oldest. The pool is then as any other that asks for
// a unit: it keeps it if it has less than its share without it and its caller has waited for
// longer.
func (n *Need) Takes(capacity int, waits bool, oldest time.Duration) bool {
	switch {
	case !waits:
		return true
	case !n.Busy:
		return false
	case n.Level.Above(capacity - 1):
		return n.Oldest < oldest
	}
	return true
}

// Level says which keys are below their max-min fair share: those with fewer units than
// Units, and with Part, those with just as many. Part is set if the share is not a whole
// number. Without Scarce every demand can be met, and all are below.
type Level struct {
	Units  int
	Part   bool
	Scarce bool
}

// Above says whether the level is above a number of units, so that a key which has so
// many and could use more is below its share.
func (l Level) Above(units int) bool {
	return !l.Scarce || units < l.Units || units == l.Units && l.Part
}
