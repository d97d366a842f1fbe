package machine

// Borrower is somebody who may die while he holds connections or waits for
// them: an actor. The outside owns it, one for each actor that it can watch. It
// is told to watch when the borrower has something at stake, and not to when
// that is over, once however many leases there are.
type Borrower struct {
	// Owner is what the outside keeps for the borrower.
	Owner any

	slots []*Slot   // what it holds
	waits []*Waiter // what it waits for
}

// free says that nothing is at stake.
func (b *Borrower) free() bool { return len(b.slots) == 0 && len(b.waits) == 0 }

func (b *Borrower) awaits(w *Waiter) {
	w.place = len(b.waits)
	b.waits = append(b.waits, w)
}

func (b *Borrower) awaitsNoMore(w *Waiter) {
	last := len(b.waits) - 1
	b.waits[w.place], b.waits[last].place = b.waits[last], w.place
	b.waits[last] = nil
	b.waits = b.waits[:last]
}

func (b *Borrower) holds(s *Slot) {
	s.place = len(b.slots)
	b.slots = append(b.slots, s)
}

func (b *Borrower) holdsNoMore(s *Slot) {
	last := len(b.slots) - 1
	b.slots[s.place], b.slots[last].place = b.slots[last], s.place
	b.slots[last] = nil
	b.slots = b.slots[:last]
}

// Tie is a lease that a waiter's own caller holds: it does not come back before
// the waiter is served.
type Tie struct {
	Slot      *Slot
	ID, Epoch uint64
}

// out says that the lease has not ended.
func (t Tie) out() bool { return t.Slot.lent(t.ID, t.Epoch) }

// holds says that the waiter's caller holds a connection meanwhile.
func (w *Waiter) holds() bool {
	for _, t := range w.ties {
		if t.out() {
			return true
		}
	}
	return false
}

// Trace says where in the program a Get came from. The machine passes it on.
type Trace interface {
	// Goroutine is the number of the goroutine.
	Goroutine() uint64
	// Stack is the text of its stack.
	Stack() string
}
