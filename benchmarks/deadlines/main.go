// Command deadlines measures what a pool does with waiters whose deadlines pass: how many callers it
// serves, compared with puddle, and how many of its grants are wasted on callers that have no time
// left.
//
//	go -C benchmarks run ./deadlines
//
// The pools are measured in turn, and each ratio is that of two measurements that follow each other.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// load is what the callers do.
type load struct {
	goroutines, capacity int
	deadline, hold       time.Duration
	busy                 bool // a holder computes for the time; otherwise it sleeps
}

func main() {
	rounds := flag.Int("rounds", 15, "how many times each pool is measured")
	each := flag.Duration("each", time.Second, "how long one measurement takes")
	flag.Parse()
	table, err := measure(*rounds, *each)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(table)
}

// measure makes a table with a row for each load. With deadlines of 50 ms most callers are served in
// time if the machine is idle; with 10 ms a third of them is not. A grant is wasted if its caller has
// no time left when it runs again. Where holders compute, callers wait for a processor after they were
// granted a connection: no pool can know that.
func measure(rounds int, each time.Duration) (string, error) {
	w := new(strings.Builder)
	fmt.Fprintf(w, "%s, GOMAXPROCS %d, %d rounds of %v\n\n", runtime.Version(), runtime.GOMAXPROCS(0), rounds, each)
	fmt.Fprintln(w, "| deadline | a holder | served, actorpool | served, puddle | ratio | timed out, actorpool | grants wasted, actorpool | declined | grants wasted, puddle |")
	fmt.Fprintln(w, "|---:|---|---:|---:|---:|---:|---:|---:|---:|")
	for _, deadline := range []time.Duration{50 * time.Millisecond, 10 * time.Millisecond} {
		for _, busy := range []bool{false, true} {
			l := load{goroutines: 60, capacity: 4, deadline: deadline, hold: time.Millisecond, busy: busy}
			if err := l.row(w, rounds, each); err != nil {
				return "", err
			}
		}
	}
	return w.String(), nil
}

func (l load) row(w *strings.Builder, rounds int, each time.Duration) error {
	var ours, theirs, ratios, late, wasted, declined, theirWasted []float64
	for round := range rounds {
		var a, b outcome
		counted, err := l.actorpool(each, true)
		if err != nil {
			return err
		}
		for i := range 2 {
			if (i+round)%2 == 0 {
				a, err = l.actorpool(each, false)
			} else {
				b, err = l.puddle(each)
			}
			if err != nil {
				return err
			}
		}
		ours, theirs = append(ours, float64(a.served)), append(theirs, float64(b.served))
		ratios = append(ratios, float64(a.served)/max(1, float64(b.served)))
		late = append(late, 100*float64(a.calls-a.served)/float64(a.calls))
		wasted, theirWasted = append(wasted, a.wasted()), append(theirWasted, b.wasted())
		declined = append(declined, 100*float64(counted.declined)/max(1, float64(counted.grants+counted.declined)))
	}
	does := "sleeps"
	if l.busy {
		does = "computes"
	}
	fmt.Fprintf(w, "| %v | %s | %.0f | %.0f | %.2f | %.1f %% | %.2f %% | %.2f %% | %.2f %% |\n",
		l.deadline, does, median(ours), median(theirs), median(ratios), median(late), median(wasted), median(declined), median(theirWasted))
	return nil
}

// outcome is one measurement. A caller is served if it has a connection before its deadline. grants are
// those that callers have seen. declined are the grants, beside these, to callers that had left by then
// and gave the connection back at once; only this pool tells of them.
type outcome struct{ calls, served, grants, declined int }

// wasted is the share of grants that served nobody, in percent.
func (o outcome) wasted() float64 {
	return 100 * float64(o.grants-o.served) / max(1, float64(o.grants))
}

// actorpool measures this pool. With counts it counts the grants that are declined; that needs events,
// which take time.
func (l load) actorpool(each time.Duration, counts bool) (outcome, error) {
	var declined atomic.Int64
	cfg := client.Config[int]{
		Connect: func(context.Context) (int, error) { return 1, nil }, Disconnect: client.NoDisconnect[int], Capacity: l.capacity,
	}
	if counts {
		cfg.OnEvent = func(e messages.Event) {
			if e.Kind == messages.CheckOutFailed && e.ConnID != 0 {
				declined.Add(1)
			}
		}
	}
	p, err := client.New(cfg)
	if err != nil {
		return outcome{}, err
	}
	o := l.run(each, func(ctx context.Context) (func(), error) {
		lease, err := p.Get(ctx)
		return func() { _ = lease.Put() }, err
	})
	st := p.Stats()
	if err := p.Close(context.Background()); err != nil { // all events have been handled then
		return outcome{}, err
	}
	if st.DroppedEvents > 0 {
		return outcome{}, fmt.Errorf("%d events were dropped", st.DroppedEvents)
	}
	o.declined = int(declined.Load())
	return o, nil
}

func (l load) puddle(each time.Duration) (outcome, error) {
	p, err := puddle.NewPool(&puddle.Config[int]{
		Constructor: func(context.Context) (int, error) { return 1, nil }, Destructor: func(int) {}, MaxSize: int32(l.capacity),
	})
	if err != nil {
		return outcome{}, err
	}
	o := l.run(each, func(ctx context.Context) (func(), error) {
		r, err := p.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		return r.Release, nil
	})
	p.Close()
	return o, nil
}

// run lets the goroutines borrow again and again.
func (l load) run(each time.Duration, borrow func(context.Context) (put func(), err error)) outcome {
	outcomes := make([]outcome, l.goroutines)
	began := time.Now()
	var all sync.WaitGroup
	for i := range outcomes {
		o := &outcomes[i]
		all.Go(func() {
			for time.Since(began) < each {
				o.calls++
				ctx, cancel := context.WithTimeout(context.Background(), l.deadline)
				put, err := borrow(ctx)
				if err == nil {
					o.grants++
					if deadline, _ := ctx.Deadline(); time.Now().Before(deadline) {
						o.served++
						l.use()
					}
					put()
				}
				cancel()
			}
		})
	}
	all.Wait()
	var sum outcome
	for _, o := range outcomes {
		sum.calls += o.calls
		sum.served += o.served
		sum.grants += o.grants
	}
	return sum
}

func (l load) use() {
	if !l.busy {
		time.Sleep(l.hold)
		return
	}
	for began := time.Now(); time.Since(began) < l.hold; {
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
