package lockfree

import "errors"

var (
	// ErrClosed is returned by every call on a pool whose Close has begun.
	ErrClosed = errors.New("lockfree: pool is closed")
	// ErrLeaseEnded is returned by a second Put or Taint; it changes nothing.
	ErrLeaseEnded = errors.New("lockfree: lease has ended")
	// ErrSuperseded is returned by a SetCapacity that a later one overtook.
	ErrSuperseded = errors.New("lockfree: superseded by a later SetCapacity")
	// ErrExhausted is returned when the waiter count has no room left (4,194,304 Gets wait).
	ErrExhausted = errors.New("lockfree: too many waiters")
)
