// Package outage tests and draws what a pool does during an outage of its server, in virtual
// time.
package outage

import (
	"context"
	"flag"
	"image/color"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/pooltest"
)

var drawTo = flag.String("draw", "", "write the timeline to this SVG file")

const (
	away    = time.Minute
	waiters = 1000
	base    = 200 * time.Millisecond
	limit   = 10 * time.Second
	refusal = time.Millisecond // a failed connect takes at most so long
)

// attempt is one connect: when it began, and how many Gets waited at that time.
type attempt struct {
	at      time.Duration
	worked  bool
	waiting int
}

// The outage takes a minute, and a thousand Gets wait. Two connects fail at the beginning, then one
// at the end of each period; the first one after the outage makes the pool ready.
func TestTheTimelineOfAnOutage(t *testing.T) {
	var attempts []attempt
	synctest.Test(t, func(t *testing.T) { attempts = run(t) })

	want := 2 // MaxConnecting
	for at, d := refusal, base; at+d < away; d = min(2*d, limit) {
		at += d + refusal
		want++
	}
	failed := 0
	for _, a := range attempts {
		if !a.worked {
			failed++
		}
	}
	if failed != want {
		t.Errorf("%d connects failed during the outage, the formula gives %d", failed, want)
	}
	if first := attempts[failed]; first.at > away+limit {
		t.Errorf("the first success came at %v", first.at)
	}
	if *drawTo != "" {
		if err := picture(attempts, *drawTo); err != nil {
			t.Fatal(err)
		}
	}
}

func run(t *testing.T) []attempt {
	db := pooltest.NewServer(1)
	db.Handshake, db.Op = pooltest.Exactly(5*time.Millisecond), pooltest.Exactly(time.Millisecond)
	db.Fault(pooltest.Refuse, 0, away)
	seen := make(chan attempt, 10*waiters)
	var served, failedGets atomic.Int64
	var pool *client.Pool[*pooltest.Conn]
	pool, err := client.New(client.Config[*pooltest.Conn]{
		Capacity: 8,
		Backoff:  client.Backoff{Base: base, Cap: limit, Jitter: client.NoJitter},
		Connect: func(ctx context.Context) (*pooltest.Conn, error) {
			a := attempt{at: db.Now(), waiting: pool.Stats().Waiting}
			conn, err := db.Dial(ctx)
			a.worked = err == nil
			seen <- a
			return conn, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range waiters {
		go func() {
			for {
				err := pool.Do(context.Background(), func(ctx context.Context, conn *pooltest.Conn) error { return conn.Read(ctx) })
				if err == nil {
					served.Add(1)
					return
				}
				failedGets.Add(1)
			}
		}()
	}
	time.Sleep(away + limit + 5*time.Second)
	synctest.Wait()
	if served.Load() != waiters {
		t.Errorf("%d of %d were served", served.Load(), waiters)
	}
	pooltest.Check(t, pool, db)
	if err := pool.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	pooltest.Check(t, pool, db)
	close(seen)
	var attempts []attempt
	for a := range seen {
		attempts = append(attempts, a)
	}
	return attempts
}

func picture(attempts []attempt, file string) error {
	p := plot.New()
	p.Title.Text = "An outage of a minute, and a thousand Gets that wait"
	p.X.Label.Text = "seconds since the outage began"
	p.Y.Label.Text = "Gets that wait"
	p.Y.Min, p.Y.Max, p.X.Max = 0, 1.1*waiters, 66
	p.BackgroundColor = color.White
	var down, up plotter.XYs
	for _, a := range attempts {
		xy := plotter.XY{X: a.at.Seconds(), Y: float64(a.waiting)}
		if a.worked {
			up = append(up, xy)
		} else {
			down = append(down, xy)
		}
	}
	back, err := plotter.NewLine(plotter.XYs{{X: away.Seconds(), Y: 0}, {X: away.Seconds(), Y: waiters}})
	if err != nil {
		return err
	}
	back.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
	back.Color = color.Gray{Y: 0x80}
	p.Add(plotter.NewGrid(), back)
	p.Legend.Add("the server is back", back)
	for _, series := range []struct {
		name  string
		at    plotter.XYs
		shape draw.GlyphDrawer
		color color.Color
	}{
		{"a connect that fails", down, draw.CrossGlyph{}, color.RGBA{R: 0xc0, A: 0xff}},
		{"a connect that succeeds", up, draw.CircleGlyph{}, color.RGBA{G: 0x80, A: 0xff}},
	} {
		s, err := plotter.NewScatter(series.at)
		if err != nil {
			return err
		}
		s.Shape, s.Color, s.Radius = series.shape, series.color, vg.Points(4)
		p.Add(s)
		p.Legend.Add(series.name, s)
	}
	p.Legend.Left = true
	p.Legend.YOffs = vg.Points(30)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return p.Save(9*vg.Inch, 4*vg.Inch, file)
}
