package lockfree

// Stats is a snapshot of the pool. Its numbers are of the same moment if the pool was not
// used meanwhile; under traffic they are approximate.
type Stats struct {
	Capacity   int
	Open       int // established connections: Idle + Borrowed + Closing
	Idle       int
	Borrowed   int // leased, or granted and not received yet
	Connecting int // places reserved for connects
	Closing    int
	Waiting    int

	Gets          uint64 // Gets that got a lease
	Waits         uint64 // Gets that joined the queue
	Connects      uint64
	ConnectErrors uint64
	Disconnects   uint64
}

// Stats returns a snapshot. Get and Put keep no counters: the leases are counted by the
// slots' epochs, the waits by the queue's tickets, the idle connections by a walk.
func (p *Pool[C]) Stats() Stats {
	var st Stats
	for range 8 {
		state, z := p.state.Load(), p.size.Load()
		st = p.collect(state, size(z))
		if p.state.Load() == state && p.size.Load() == z {
			break // nothing has changed: all numbers are of one moment
		}
	}
	return st
}

// collect computes a snapshot from these two words and the rest of the pool.
func (p *Pool[C]) collect(state uint64, z size) Stats {
	st := Stats{
		Capacity:      z.capacity(),
		Closing:       z.closing(),
		Waiting:       int(max(-count(state), 0)),
		Connecting:    min(int(p.connecting.Load()), z.open()),
		Waits:         p.queue.enqueued.Load(),
		Connects:      p.connects.Load(),
		ConnectErrors: p.connectErrors.Load(),
		Disconnects:   p.disconnects.Load(),
	}
	// The walk is bounded, because under traffic the links may form a circle.
	for n := count(state); n > 0 && st.Idle < z.open(); st.Idle++ {
		n = count(p.slots.at(n).link.Load())
	}
	st.Open = z.open() - st.Connecting
	st.Borrowed = max(st.Open-st.Idle-st.Closing, 0)
	for _, it := range *p.slots.table.Load() {
		st.Gets += it.v.link.Load() >> lowBits // leases that ended
	}
	st.Gets += uint64(st.Borrowed)
	return st
}
