package lockfree

// Three kinds of 64-bit words hold all shared state. Each transition is one compare-and-swap
// of one word.

// The state word: a tag in the high 40 bits, a signed count in the low 24.
//
//	n > 0  the index of the slot that became idle last; nobody waits
//	n = 0  nothing idle, nobody waits
//	n < 0  nothing idle, -n Gets wait
//
// Because both share one field, there cannot be idle slots and waiters at the same time: a Get
// that could overtake a waiter has nothing to pop. The tag changes with every transition,
// which prevents ABA on the stack.
//
// The link word of a slot: an epoch in the high 40 bits, the index of the slot
// below it on the idle stack in the low 24. The epoch grows with every lease
// that ends. One CAS of it both ends the lease and writes the link.
const (
	lowBits  = 24
	lowMask  = 1<<lowBits - 1
	highOne  = 1 << lowBits // adds one to a tag or an epoch
	maxWaits = 1 << (lowBits - 2)
)

// count returns the signed low field.
func count(word uint64) int64 { return int64(word<<(64-lowBits)) >> (64 - lowBits) }

// step replaces the low field and increments the high one.
func step(word uint64, n int64) uint64 { return (word+highOne)&^lowMask | uint64(n)&lowMask }

// relink replaces the low field only.
func relink(word uint64, n int64) uint64 { return word&^lowMask | uint64(n)&lowMask }

// size is the capacity word: closed (1 bit), capacity, open, closing (20 bits
// each). Open counts every connection that exists or has a place reserved: being opened,
// idle, borrowed, being closed. Closing is the part of these that are being closed or about
// to be, counted so that two Puts do not both close for one excess place.
type size uint64

const (
	sizeBits      = 20
	sizeMask      = 1<<sizeBits - 1
	openShift     = sizeBits
	capacityShift = 2 * sizeBits
	maxCapacity   = sizeMask

	closingOne    size = 1
	openOne       size = 1 << openShift
	doomedAndOpen      = openOne + closingOne
	capacityField size = sizeMask << capacityShift
	closedFlag    size = 1 << 63
)

func (z size) capacity() int { return int(z >> capacityShift & sizeMask) }
func (z size) open() int     { return int(z >> openShift & sizeMask) }
func (z size) closing() int  { return int(z & sizeMask) }
func (z size) closed() bool  { return z&closedFlag != 0 }

// over says that a returned connection has to be closed. A closed pool has capacity 0, so it
// is over as long as something is open.
func (z size) over() bool { return z.open()-z.closing() > z.capacity() }

// room says that one more connection may be opened.
func (z size) room() bool { return z.open() < z.capacity() }

func (z size) withCapacity(n int) size { return z&^capacityField | size(n)<<capacityShift }
