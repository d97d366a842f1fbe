package lockfree

// Stats describes the pool. Counts are those of one moment if the pool rested
// for it; under traffic they are the best of a few tries.
type Stats struct {
	Capacity   int
	Open       int // established connections: Idle + Borrowed + Closing
	Idle       int
	Borrowed   int // leased, or on the way from one holder to the next
	Connecting int // places reserved for connects
	Closing    int
	Waiting    int

	Gets          uint64 // leases given
	Waits         uint64 // Gets that joined the queue
	Connects      uint64
	ConnectErrors uint64
	Disconnects   uint64
}

// Stats reads the counts. The hot path keeps none: leases are counted by the
// slots' epochs, waits by the queue's tickets, idle connections by a walk.
func (p *Pool[C]) Stats() Stats {
	var st Stats
	for range 8 {
		state, z := p.state.Load(), p.size.Load()
		st = p.collect(state, size(z))
		if p.state.Load() == state && p.size.Load() == z {
			break // nothing moved: all of it belongs to one moment
		}
	}
	return st
}

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
	// Bounded: under traffic the links may lead anywhere, also in a circle.
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
