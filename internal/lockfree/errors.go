package lockfree

import "errors"

var (
	// ErrClosed is returned by every call after Close has begun.
	ErrClosed = errors.New("lockfree: pool is closed")
	// ErrLeaseEnded is returned by a second Put or Taint, which has no effect.
	ErrLeaseEnded = errors.New("lockfree: lease has ended")
	// ErrSuperseded is returned by a SetCapacity that a later one overtakes.
	ErrSuperseded = errors.New("lockfree: superseded by a later SetCapacity")
	// ErrExhausted is returned if 4,194,304 Gets wait: more cannot be counted.
	ErrExhausted = errors.New("lockfree: too many waiters")
)
