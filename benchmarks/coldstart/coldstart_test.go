// Package coldstart tests and draws how pools without a connection serve many callers that come at
// once, in virtual time.
package coldstart

import (
	"context"
	"flag"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/puddle/v2"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/actorpool/actorpool/client"
)

var drawTo = flag.String("draw", "", "write the plot to this SVG file")

const (
	callers = 32
	connect = 100 * time.Millisecond
	holds   = 5 * time.Second // longer than any start takes: each caller needs a connection of its own
)

// server counts the connects that are under way.
type server struct {
	mu        sync.Mutex
	now, peak int
}

func (s *server) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now += n
	s.peak = max(s.peak, s.now)
}

func (s *server) connect(context.Context) (int, error) {
	s.count(1)
	defer s.count(-1)
	time.Sleep(connect)
	return 1, nil
}

// get borrows a connection, and gives what returns it.
type get func(context.Context) (put func(), err error)

// pool makes a pool of the server's connections.
type pool func(*testing.T, *server) (get, func())

func actorpool(maxConnecting int) pool {
	return func(t *testing.T, s *server) (get, func()) {
		p, err := client.New(client.Config[int]{Connect: s.connect, Disconnect: client.NoDisconnect[int], Capacity: callers, MaxConnecting: maxConnecting})
		if err != nil {
			t.Fatal(err)
		}
		borrow := func(ctx context.Context) (func(), error) {
			lease, err := p.Get(ctx)
			return func() { _ = lease.Put() }, err
		}
		return borrow, func() { _ = p.Close(context.Background()) }
	}
}

func puddlePool(t *testing.T, s *server) (get, func()) {
	p, err := puddle.NewPool(&puddle.Config[int]{Constructor: s.connect, Destructor: func(int) {}, MaxSize: callers})
	if err != nil {
		t.Fatal(err)
	}
	borrow := func(ctx context.Context) (func(), error) {
		r, err := p.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		return r.Release, nil
	}
	return borrow, p.Close
}

// start is a cold start: when each caller was served, sorted, how many got nothing before their
// deadline, and how many connects the server has seen at once.
type start struct {
	served []time.Duration
	failed int
	peak   int
}

// coldStart lets all callers come at once to a pool that has no connection. deadline is that of each
// caller; 0: it has none.
func coldStart(t *testing.T, made pool, deadline time.Duration) (result start) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		borrow, closePool := made(t, s)
		began := time.Now()
		var mu sync.Mutex
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				ctx := context.Background()
				if deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, deadline)
					defer cancel()
				}
				put, err := borrow(ctx)
				mu.Lock()
				if err == nil {
					result.served = append(result.served, time.Since(began))
				} else {
					result.failed++
				}
				mu.Unlock()
				if err == nil {
					time.Sleep(holds)
					put()
				}
			})
		}
		all.Wait()
		closePool()
		result.peak = s.peak
	})
	slices.Sort(result.served)
	return result
}

// last is when the last caller was served.
func (s start) last() time.Duration { return s.served[len(s.served)-1] }

// Connects that ramp up serve all callers in five rounds. Two connects at once, as this pool made
// before, take sixteen. puddle needs one, in which the server sees all connects at once.
func TestAColdStart(t *testing.T) {
	ramp, two, all := coldStart(t, actorpool(0), 0), coldStart(t, actorpool(2), 0), coldStart(t, puddlePool, 0)
	for _, c := range []struct {
		name   string
		got    start
		rounds int
		peak   int
	}{
		{"actorpool", ramp, 5, 16},
		{"actorpool, MaxConnecting 2", two, 16, 2},
		{"puddle", all, 1, callers},
	} {
		t.Logf("%s: the last of %d after %v, at most %d connects at once", c.name, len(c.got.served), c.got.last(), c.got.peak)
		if len(c.got.served) != callers || c.got.last() != time.Duration(c.rounds)*connect {
			t.Errorf("%s: %d are served, the last after %v, want %d after %v",
				c.name, len(c.got.served), c.got.last(), callers, time.Duration(c.rounds)*connect)
		}
		if c.got.peak != c.peak {
			t.Errorf("%s: %d connects at once, want %d", c.name, c.got.peak, c.peak)
		}
	}
	if *drawTo != "" {
		if err := picture(*drawTo, []line{{"puddle", all}, {"actorpool", ramp}, {"actorpool, MaxConnecting: 2", two}}); err != nil {
			t.Fatal(err)
		}
	}
}

// With a deadline of just above a second nobody fails while connects ramp up. With two connects at
// once ten rounds are over by then: twenty callers are served, and the others fail.
func TestAColdStartWithDeadlines(t *testing.T) {
	const deadline = time.Second + connect/2
	if ramp := coldStart(t, actorpool(0), deadline); ramp.failed > 0 {
		t.Errorf("%d fail while connects ramp up", ramp.failed)
	}
	if two := coldStart(t, actorpool(2), deadline); two.failed != callers-20 {
		t.Errorf("with two connects at once %d fail, want %d", two.failed, callers-20)
	}
}

// line is one line of the plot.
type line struct {
	name string
	of   start
}

var colours = []color.Color{
	color.Gray{Y: 0x80},
	color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff},
	color.RGBA{R: 0xc0, A: 0xff},
}

// picture draws how many callers are served over time.
func picture(file string, lines []line) error {
	p := plot.New()
	p.Title.Text = "32 callers come to an empty pool, and a connect takes 100 ms"
	p.X.Label.Text = "ms since they came"
	p.Y.Label.Text = "callers served"
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1700, 0, callers+2
	p.BackgroundColor = color.White
	p.Add(plotter.NewGrid())
	for i, l := range lines {
		at := plotter.XYs{{X: 0, Y: 0}}
		for n, d := range l.of.served {
			at = append(at, plotter.XY{X: float64(d) / float64(time.Millisecond), Y: float64(n + 1)})
		}
		at = append(at, plotter.XY{X: p.X.Max, Y: float64(len(l.of.served))})
		drawn, err := plotter.NewLine(at)
		if err != nil {
			return err
		}
		drawn.StepStyle, drawn.Color, drawn.Width = plotter.PostStep, colours[i], vg.Points(2)
		p.Add(drawn)
		p.Legend.Add(l.name, drawn)
	}
	p.X.Tick.Marker = plot.ConstantTicks{
		{Value: 0, Label: "0"}, {Value: 100, Label: "100"}, {Value: 500, Label: "500"}, {Value: 1000, Label: "1,000"}, {Value: 1600, Label: "1,600"},
	}
	p.Y.Tick.Marker = plot.ConstantTicks{
		{Value: 0, Label: "0"}, {Value: 8, Label: "8"}, {Value: 16, Label: "16"}, {Value: 24, Label: "24"}, {Value: 32, Label: "32"},
	}
	p.Legend.XOffs, p.Legend.YOffs = vg.Points(-40), vg.Points(60)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return p.Save(9*vg.Inch, 4*vg.Inch, file)
}
