package catalogue

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a source that says what a test tells it to say.
type fake struct {
	lock     sync.Mutex
	measures messages.Measures
	err      error
	done     chan struct{}
}

func (f *fake) Stats() messages.Stats {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.measures.Stats
}

func (f *fake) Measure(context.Context) (messages.Measures, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.measures, f.err
}

func (f *fake) Done() <-chan struct{} { return f.done }

func (f *fake) set(change func(*messages.Measures)) {
	f.lock.Lock()
	defer f.lock.Unlock()
	change(&f.measures)
}

func named(name string) *fake {
	return &fake{measures: messages.Measures{Stats: messages.Stats{Name: name}}, done: make(chan struct{})}
}

func reader(t *testing.T, source Source) *Reader {
	t.Helper()
	r, err := NewReader(source, "")
	require.NoError(t, err)
	return r
}

func histogram(offset int, buckets ...uint64) messages.Histogram {
	h := messages.Histogram{Scale: messages.HistogramScale, Offset: offset, Buckets: buckets}
	for i, n := range buckets {
		h.Count += n
		h.Sum += time.Duration(n) * h.Bound(offset+i)
	}
	return h
}

func value(s *Snapshot, name string) (v int64) {
	s.Each(func(i, _ int, value int64) {
		if Metrics[i].Name == name {
			v = value
		}
	})
	return v
}

// A Get that refuses a connection as it is granted one is taken out of the counts again.
func TestNoCountGoesDown(t *testing.T) {
	f := named("orders")
	r := reader(t, f)
	wait := histogram(-8, 3, 0, 1)
	wait.Count += 5 // waits of 0
	f.set(func(m *messages.Measures) { m.Stats.Grants, m.Stats.Waiting, m.Wait = 9, 4, wait })
	last, first, err := r.Read(t.Context())
	require.NoError(t, err)
	assert.Nil(t, last)

	less := histogram(-8, 3)
	less.Count += 5
	f.set(func(m *messages.Measures) { m.Stats.Grants, m.Stats.Waiting, m.Wait = 8, 3, less })
	last, now, err := r.Read(t.Context())
	require.NoError(t, err)
	assert.Same(t, first, last)
	assert.EqualValues(t, 9, value(now, "actorpool.grants"))
	assert.EqualValues(t, 3, value(now, "db.client.connection.pending_requests"), "this is no count")
	assert.Equal(t, wait, now.Histograms[1])
	assert.Zero(t, Since(now.Histograms[1], last.Histograms[1]).Count)

	more := histogram(-8, 3, 0, 0, 2)
	more.Count += 6
	f.set(func(m *messages.Measures) { m.Stats.Grants, m.Wait = 11, more })
	last, now, err = r.Read(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 11, value(now, "actorpool.grants"))
	assert.Equal(t, []uint64{3, 0, 1, 2}, now.Histograms[1].Buckets)
	came := Since(now.Histograms[1], last.Histograms[1])
	assert.Equal(t, []uint64{2}, came.Buckets)
	assert.Equal(t, -5, came.Offset)
	assert.EqualValues(t, 3, came.Count)
	assert.EqualValues(t, 1, came.Zeros())
}

func TestDifferencesOfSeveralReadersAddUpToTheWhole(t *testing.T) {
	f := named("orders")
	r := reader(t, f)
	const readers, rounds = 8, 200
	sums := make([]uint64, readers)
	var all sync.WaitGroup
	for i := range readers {
		all.Go(func() {
			for range rounds {
				f.set(func(m *messages.Measures) { m.Use = histogram(-4, m.Use.Count+1) })
				last, now, err := r.Read(context.Background())
				if err != nil {
					return
				}
				h := now.Histograms[2]
				if last != nil {
					h = Since(h, last.Histograms[2])
				}
				sums[i] += h.Count
			}
		})
	}
	all.Wait()
	var sum uint64
	for _, n := range sums {
		sum += n
	}
	assert.EqualValues(t, readers*rounds, sum)
}

func TestAClosedPoolIsNotRead(t *testing.T) {
	f := named("orders")
	r := reader(t, f)
	close(f.done)
	assert.True(t, r.Closed())
	_, _, err := r.Read(t.Context())
	require.ErrorIs(t, err, messages.ErrClosed)

	f = named("orders")
	r = reader(t, f)
	assert.False(t, r.Closed())
	f.err = messages.ErrClosed
	_, _, err = r.Read(t.Context())
	require.ErrorIs(t, err, messages.ErrClosed)
	assert.True(t, r.Closed(), "a source need not have Done")

	f = named("orders")
	r = reader(t, f)
	f.err = errors.New("no answer")
	_, _, err = r.Read(t.Context())
	require.EqualError(t, err, `pool "orders": no answer`)
	assert.False(t, r.Closed())
}

func TestWhatIsNoPoolIsAnError(t *testing.T) {
	closed := named("orders")
	closed.measures.Stats.State = messages.StateClosed
	for want, source := range map[string]Source{
		"the pool is nil":                          nil,
		"the pool is a nil *catalogue.fake":        (*fake)(nil),
		"the pool is a nil *client.Pool[int]":      (*client.Pool[int])(nil),
		"the pool has no name":                     named(""),
		`pool "orders": actorpool: pool is closed`: closed,
	} {
		_, err := NewReader(source, "")
		assert.EqualError(t, err, want)
	}
}

func TestNamesAreMadeFitForAnAttribute(t *testing.T) {
	for name, want := range map[string]string{
		"orders":             "orders",
		"<b>ord&ers</b> \"'": "<b>ord&ers</b> \"'",
		"or\nders\x00\u2028": `or\nders\x00\u2028`,
		"or\xffders":         "or\ufffdders",
		"größe 日本":           "größe 日本",
	} {
		assert.Equal(t, want, Clean(name))
	}
	long := Clean(strings.Repeat("é", 1<<20))
	assert.LessOrEqual(t, len(long), longestName)
	assert.True(t, strings.HasSuffix(long, "é…"))
	just := strings.Repeat("x", longestName)
	assert.Equal(t, just, Clean(just))
	for _, name := range []string{strings.Repeat("\n", 1<<20), strings.Repeat("x", longestName-1) + "\n", strings.Repeat("\x00", 1<<20)} {
		assert.LessOrEqual(t, len(Clean(name)), longestName)
	}
}
