package sim

import (
	"time"

	"github.com/actorpool/actorpool/actors/virtual"
)

// nextChaos arms the next thing that is done to the pool at random.
func (r *runner) nextChaos() {
	after := r.chaos.ExpFloat64() / r.w.Chaos
	if after < longest.Seconds() {
		r.pool.At(r.pool.Now()+time.Duration(after*float64(time.Second)), func() {
			if !r.over {
				r.disturb()
				r.nextChaos()
			}
		})
	}
}

// disturb does something to the pool.
func (r *runner) disturb() {
	p, random := r.pool, r.chaos
	n := random.IntN(r.capacity + 3) // a little above the capacity that it began with
	switch random.IntN(12) {
	case 0, 1:
		r.pending(p.SetCapacity(n))
	case 2:
		p.Clear(random.IntN(2) == 0)
	case 3:
		p.Suspend()
		p.At(p.Now()+time.Duration(random.ExpFloat64()*float64(time.Second)/r.w.Chaos), p.Resume)
	case 4:
		p.Resume()
	case 5:
		p.HealthOK()
	case 6:
		p.SetMinIdle(n - 1)
	case 7:
		r.pending(p.Warm(n - 1))
	case 8:
		r.pending(p.Ready())
	case 9:
		if len(r.controls) > 0 {
			p.CancelControl(r.controls[random.IntN(len(r.controls))])
		}
	default:
		if conns := p.Conns(); len(conns) > 0 {
			p.LoseConnector(conns[random.IntN(len(conns))])
		}
	}
}

// pending keeps a control that may be cancelled.
func (r *runner) pending(c *virtual.Control) {
	if !c.Done {
		r.controls = append(r.controls, c)
	}
}

// answered forgets a control.
func (r *runner) answered(c *virtual.Control) {
	for i, o := range r.controls {
		if o == c {
			r.controls = append(r.controls[:i], r.controls[i+1:]...)
			return
		}
	}
}
