package messages

// BackoffElapsed tells the pool that a blocking period is over. One whose
// Epoch is not the current one is stale and ignored: a late timer cannot end a
// newer period.
type BackoffElapsed struct {
	// Epoch is that of the period that the timer was armed for. It grows with
	// every period and never starts again.
	Epoch uint64
	// Generation is the pool's generation when the timer was armed.
	Generation uint64
	// Attempt is the number of failed attempts before the period, from 1.
	Attempt int
}

// Tick tells the pool that some housekeeping is due. One whose Epoch is not
// the current one is stale and ignored.
type Tick struct {
	// Epoch grows each time that the housekeeping timer is armed.
	Epoch uint64
}
