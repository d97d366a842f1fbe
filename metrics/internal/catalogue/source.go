package catalogue

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/actorpool/actorpool/messages"
)

// Source is what metrics are read from. A *client.Pool[C] is one, for every C.
type Source interface {
	// Stats returns a snapshot.
	Stats() messages.Stats
	// Measure returns the histograms, with a snapshot of the same moment. Its error is
	// messages.ErrClosed when nothing is left to be measured.
	Measure(ctx context.Context) (messages.Measures, error)
}

// inFleet is a source that is a member of a fleet, too, as a *fleet.Member is. The module
// of the fleet need not be imported for it.
type inFleet interface{ Status() messages.FleetStatus }

// Reader reads a source. Its methods may be called from many goroutines.
type Reader struct {
	// Name is the pool's name as the value of an attribute.
	Name string

	source     Source
	fleet      inFleet                  // nil: it is in none
	done       <-chan struct{}          // closed when nothing of the pool is left; nil: it has no Done
	begun      time.Time                // when it was made
	saidClosed atomic.Bool              // by its Measure
	last       atomic.Pointer[Snapshot] // nil: not read yet
}

// Snapshot is what a source says at a moment. It is not changed any more.
type Snapshot struct {
	// Time is when the source was read.
	Time time.Time
	// Since is when the counts began: when the pool was made.
	Since time.Time
	// Fleet says that the pool is in a fleet: it has the metrics of one.
	Fleet bool
	// Values are the numbers of the parts of Metrics, in their order.
	Values []int64
	// Histograms are those of Histograms, in their order.
	Histograms [len(Histograms)]messages.Histogram
}

// NewReader makes a Reader for a source that is called name; empty: by its own name.
func NewReader(source Source, name string) (*Reader, error) {
	if source == nil {
		return nil, errors.New("the pool is nil")
	}
	if v := reflect.ValueOf(source); v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, fmt.Errorf("the pool is a nil %T", source)
	}
	s := source.Stats()
	if name == "" {
		name = s.Name
	}
	name = Clean(name)
	if s.State == messages.StateClosed {
		return nil, fmt.Errorf("pool %q: %w", name, messages.ErrClosed)
	}
	if name == "" {
		return nil, errors.New("the pool has no name")
	}
	r := &Reader{Name: name, source: source, begun: time.Now()}
	r.fleet, _ = source.(inFleet)
	if d, ok := source.(interface{ Done() <-chan struct{} }); ok {
		r.done = d.Done()
	}
	return r, nil
}

// Closed says that nothing of the pool is left.
func (r *Reader) Closed() bool {
	select {
	case <-r.done:
		return true
	default:
		return r.saidClosed.Load()
	}
}

// Read reads the source, and says what it read the last time before; nil: nothing. No
// count is lower than it was: a Get that refuses a connection in the instant in which it
// is granted one is taken out of the counts again, and whoever reads a count that goes
// down by 1 takes it for one that began anew from 0.
//
// Each snapshot but the newest is the last one of exactly one other, even if several
// goroutines read at the same time, so that the differences add up to the whole. The
// error is messages.ErrClosed if the pool is closed.
func (r *Reader) Read(ctx context.Context) (last, now *Snapshot, err error) {
	for {
		if r.Closed() {
			return nil, nil, messages.ErrClosed
		}
		last := r.last.Load()
		m, err := r.source.Measure(ctx)
		if errors.Is(err, messages.ErrClosed) {
			r.saidClosed.Store(true)
			return nil, nil, messages.ErrClosed
		}
		if err != nil {
			return nil, nil, fmt.Errorf("pool %q: %w", r.Name, err)
		}
		var status *messages.FleetStatus
		if r.fleet != nil {
			status = new(r.fleet.Status())
		}
		now := take(&m, status)
		if now.Since = m.Since; now.Since.IsZero() { // the source does not know
			now.Since = r.begun
		}
		if last != nil {
			now.notBelow(last)
		}
		// If another goroutine has read meanwhile, what was read here may be older than
		// what that has read.
		if r.last.CompareAndSwap(last, now) {
			return last, now, nil
		}
	}
}

// take makes the Snapshot of what a source says; without a status, it is in no fleet.
func take(m *messages.Measures, status *messages.FleetStatus) *Snapshot {
	s := &Snapshot{Time: time.Now(), Values: make([]int64, 0, parts), Fleet: status != nil}
	for i := range Metrics {
		for _, p := range Metrics[i].Parts {
			switch {
			case p.read != nil:
				s.Values = append(s.Values, p.read(m))
			case s.Fleet:
				s.Values = append(s.Values, p.ofFleet(status))
			default:
				s.Values = append(s.Values, 0)
			}
		}
	}
	for i := range Histograms {
		s.Histograms[i] = Histograms[i].read(m)
	}
	return s
}

// parts is the number of numbers, and fleetParts of those that only a member of a fleet has.
var parts, fleetParts = func() (all, fleet int) {
	for i := range Metrics {
		all += len(Metrics[i].Parts)
		if Metrics[i].OfFleet() {
			fleet += len(Metrics[i].Parts)
		}
	}
	return all, fleet
}()

// Each calls f with each number that the pool has.
func (s *Snapshot) Each(f func(metric, part int, value int64)) {
	next := 0
	for i := range Metrics {
		for j := range Metrics[i].Parts {
			if s.Fleet || !Metrics[i].OfFleet() {
				f(i, j, s.Values[next])
			}
			next++
		}
	}
}

// notBelow raises the counts to what they were.
func (s *Snapshot) notBelow(last *Snapshot) {
	next := 0
	for i := range Metrics {
		for range Metrics[i].Parts {
			if Metrics[i].Kind == Counter {
				s.Values[next] = max(s.Values[next], last.Values[next])
			}
			next++
		}
	}
	for i := range s.Histograms {
		s.Histograms[i] = combine(s.Histograms[i], last.Histograms[i], func(now, last uint64) uint64 { return max(now, last) })
		s.Histograms[i].Sum = max(s.Histograms[i].Sum, last.Histograms[i].Sum)
	}
}

// Since is what has come to a histogram since an earlier one of the same pool.
func Since(now, last messages.Histogram) messages.Histogram {
	h := combine(now, last, func(now, last uint64) uint64 { return now - last })
	h.Sum = now.Sum - last.Sum
	return h
}

// combine makes the histogram of whose counts each is f of two. Its Sum is that of a.
func combine(a, b messages.Histogram, f func(a, b uint64) uint64) messages.Histogram {
	h := messages.Histogram{Count: f(a.Zeros(), b.Zeros()), Sum: a.Sum, Scale: a.Scale}
	if len(a.Buckets) == 0 {
		a.Offset = b.Offset
	}
	if len(b.Buckets) == 0 {
		b.Offset = a.Offset
	}
	first := min(a.Offset, b.Offset)
	end := max(a.Offset+len(a.Buckets), b.Offset+len(b.Buckets))
	h.Offset, h.Buckets = first, make([]uint64, end-first)
	for i := range h.Buckets {
		h.Buckets[i] = f(at(a, first+i), at(b, first+i))
		h.Count += h.Buckets[i]
	}
	for len(h.Buckets) > 0 && h.Buckets[0] == 0 {
		h.Offset, h.Buckets = h.Offset+1, h.Buckets[1:]
	}
	for len(h.Buckets) > 0 && h.Buckets[len(h.Buckets)-1] == 0 {
		h.Buckets = h.Buckets[:len(h.Buckets)-1]
	}
	return h
}

// at is the count of the bucket with an index.
func at(h messages.Histogram, index int) uint64 {
	if i := index - h.Offset; i >= 0 && i < len(h.Buckets) {
		return h.Buckets[i]
	}
	return 0
}

// longestName is the number of bytes of a pool's name in an attribute. A longer one is
// cut: the name is in every time series.
const longestName = 200

// Clean makes a pool's name fit for an attribute: valid UTF-8, on one line, not too long.
// What cannot be printed is written as in a Go string.
func Clean(name string) string {
	text := printable(name[:min(len(name), longestName+utf8.UTFMax)])
	if len(text) <= longestName {
		return text
	}
	const more = "…"
	text = text[:longestName-len(more)]
	for !utf8.ValidString(text) { // the cut is within a character
		text = text[:len(text)-1]
	}
	return text + more
}

func printable(text string) string {
	var b strings.Builder
	for _, r := range text { // what is not UTF-8 comes as utf8.RuneError
		if unicode.IsPrint(r) || r == utf8.RuneError {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}
