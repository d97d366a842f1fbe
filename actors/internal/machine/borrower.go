// Borrowers: what is known of those that hold connections and wait for them.

package machine

// Borrower is an actor that holds connections or waits for them, and that may stop
// meanwhile. The shell owns it, one for each actor that it can watch. The machine
// asks for a watch when the borrower has something at stake, and ends it when that
// is over, however many leases there are.
type Borrower struct {
	// Owner is what the shell keeps for the borrower.
	Owner any

	slots []*Slot   // what it holds
	waits []*Waiter // what it waits for
}

// nothingAtStake says that the borrower holds nothing and waits for nothing.
func (b *Borrower) nothingAtStake() bool { return len(b.slots) == 0 && len(b.waits) == 0 }

func (b *Borrower) addWait(w *Waiter) {
	w.borrowerIndex = len(b.waits)
	b.waits = append(b.waits, w)
}

func (b *Borrower) removeWait(w *Waiter) {
	last := len(b.waits) - 1
	b.waits[w.borrowerIndex], b.waits[last].borrowerIndex = b.waits[last], w.borrowerIndex
	b.waits[last] = nil
	b.waits = b.waits[:last]
}

func (b *Borrower) addSlot(s *Slot) {
	s.borrowerIndex = len(b.slots)
	b.slots = append(b.slots, s)
}

func (b *Borrower) removeSlot(s *Slot) {
	last := len(b.slots) - 1
	b.slots[s.borrowerIndex], b.slots[last].borrowerIndex = b.slots[last], s.borrowerIndex
	b.slots[last] = nil
	b.slots = b.slots[:last]
}

// HeldLease is a lease that the caller of a waiting Get holds: it does not come back
// before the Get is answered.
type HeldLease struct {
	Slot      *Slot
	ID, Epoch uint64
}

// out says that the lease has not ended.
func (h HeldLease) out() bool { return h.Slot.hasLease(h.ID, h.Epoch) }

// Trace says where in the program a Get came from. The machine passes it on.
type Trace interface {
	// Goroutine is the number of the goroutine.
	Goroutine() uint64
	// Stack is the text of its stack.
	Stack() string
}
