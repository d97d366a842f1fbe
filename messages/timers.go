package messages

// BackoffElapsed tells the pool that a blocking period is over. The pool sends it to
// itself. A message whose Epoch is not that of the current period is ignored: so a
// late timer cannot end a newer period.
type BackoffElapsed struct {
	// Epoch is that of the period for which the timer was set. Each period has a
	// greater one than the last. It alone decides.
	Epoch uint64
	// Generation is the pool's generation when the timer was set. It only informs
	// middleware and logs; the pool does not read it.
	Generation uint64
	// Attempt is the number of failed attempts before the period, from 1. It only
	// informs, too.
	Attempt int
}

// Tick tells the pool that some housekeeping is due. The pool sends it to itself. A
// message whose Epoch is not the current one is ignored.
type Tick struct {
	// Epoch grows each time the timer for housekeeping is set.
	Epoch uint64
}
