package sim

import (
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"github.com/actorpool/actorpool/actors/virtual"
	"github.com/actorpool/actorpool/messages"
)

// backend is the server of a run.
type backend struct {
	Server
	seed   uint64
	source rand.PCG // seeded anew for each job, so that one job more changes no other
	random *rand.Rand

	scripted []Fault       // in the order of their beginning
	drawn    []Fault       // the same
	faults   *rand.Rand    // draws them
	until    time.Duration // when the last one that is drawn ends

	open   int // connections, and connects that were not refused
	healed time.Duration
}

func newBackend(s Server, seed uint64) backend {
	scripted := slices.Clone(s.Faults)
	slices.SortStableFunc(scripted, func(a, b Fault) int { return int(a.From - b.From) })
	return backend{Server: s, seed: seed, scripted: scripted, faults: stream(seed, streamFaults), healed: virtual.Never}
}

// heal ends all faults, at the end of a run.
func (s *backend) heal(now time.Duration) { s.healed, s.Fails, s.Deaf = now, 0, 0 }

// mostFaults bounds those that are drawn: a run with more of them is ended.
const mostFaults = 5_000_000

// drawTo draws the faults that begin until a time.
func (s *backend) drawTo(t time.Duration) {
	for s.FaultEvery > 0 && s.until <= t && len(s.drawn) < mostFaults {
		from := s.until + Exponential(s.FaultEvery).draw(s.faults) + 1
		s.until = from + s.FaultFor.draw(s.faults)
		s.drawn = append(s.drawn, Fault{FaultKind(s.faults.IntN(int(faultKinds))), from, s.until})
	}
}

// at gives the fault at a time that is worst. Reset is none that lasts.
func (s *backend) at(t time.Duration) (worst Fault, ok bool) {
	if t >= s.healed {
		return Fault{}, false
	}
	s.drawTo(t)
	note := func(f Fault) {
		if f.From <= t && t < f.To && f.Kind != Reset && (!ok || f.Kind < worst.Kind) {
			worst, ok = f, true
		}
	}
	for _, f := range slices.Backward(s.scripted) {
		note(f)
	}
	if n := s.begunBy(t); n > 0 { // those before it are over
		note(s.drawn[n-1])
	}
	return worst, ok
}

// begunBy is how many of the faults that are drawn begin until a time. Each begins after
// the end of the one before it.
func (s *backend) begunBy(t time.Duration) int {
	return sort.Search(len(s.drawn), func(i int) bool { return s.drawn[i].From > t })
}

// killed says when a connection that was opened at one time had died at another; false:
// it lives.
func (s *backend) killed(opened, t time.Duration) (died time.Duration, dead bool) {
	s.drawTo(t)
	for _, list := range [...][]Fault{s.scripted, s.drawn[s.begunBy(opened):]} {
		for _, f := range list { // in the order of their beginning
			if f.From > t || f.From >= s.healed {
				break
			}
			if kills := f.Kind == Reset || f.Kind == Refuse; kills && opened < f.From {
				if !dead || f.From < died {
					died, dead = f.From, true
				}
				break
			}
		}
	}
	return died, dead
}

// slowed is how long something takes that begins at a time.
func (s *backend) slowed(t, d time.Duration) time.Duration {
	if f, ok := s.at(t); ok {
		switch f.Kind {
		case Blackhole:
			d += f.To - t
		case Slow:
			d *= 10
		}
	}
	return min(d, longest)
}

// serverError is an error of the server.
type serverError string

func (f serverError) Error() string { return string(f) }

// The errors of the server.
const (
	errRefused serverError = "connection refused"
	errLimit   serverError = "too many connections"
	errReset   serverError = "connection reset"
	errFailed  serverError = "failed"
)

// job says how a job goes that begins now.
func (s *backend) job(j virtual.Job, now time.Duration) virtual.Outcome {
	dist := [...]Dist{
		virtual.Connect: s.Connect, virtual.Check: s.Check, virtual.Reset: s.Reset,
		virtual.Apply: s.Apply, virtual.Unapply: s.Unapply, virtual.Disconnect: s.Disconnect,
	}[j.Kind]
	at := now
	if j.Kind == virtual.Connect { // the n-th connect takes as long in any run with the same seed
		at = 0
	}
	s.source.Seed(s.seed^uint64(at)*0x9E3779B97F4A7C15, streamServer<<56|j.Conn<<3|uint64(j.Kind))
	if s.random == nil {
		s.random = rand.New(&s.source)
	}
	out := virtual.Outcome{After: dist.draw(s.random)}
	if s.Deaf > 0 && s.random.Float64() < s.Deaf {
		out.Deaf = true
		out.After = time.Duration(min(2.5*s.random.Float64()*float64(j.Timeout), float64(longest)))
	}
	failed := s.Fails > 0 && s.random.Float64() < s.Fails
	fault, isFault := s.at(now)
	switch {
	case j.Kind == virtual.Disconnect:
	case j.Kind == virtual.Connect && isFault && fault.Kind == Refuse:
		out.Err = errRefused
	case j.Kind == virtual.Connect && s.Limit > 0 && s.open >= s.Limit:
		out.Err = errLimit
	case failed:
		out.Err, out.Class = errFailed, s.class()
	case j.Kind != virtual.Connect:
		if died, dead := s.killed(j.Opened, now); dead && died <= now {
			out.Err = errReset
		}
	}
	if !out.Deaf {
		out.After = s.slowed(now, out.After)
	}
	if j.Kind == virtual.Connect {
		s.open++
	}
	return out
}

// class draws what the serverError of a connect means.
func (s *backend) class() messages.Class {
	switch n := s.random.IntN(20); {
	case n < 2:
		return messages.ClassFatal
	case n < 4:
		return messages.ClassIgnore
	case n == 4:
		return messages.ClassClear
	default:
		return messages.ClassOverload
	}
}

// done notes that a job has ended.
func (s *backend) done(j virtual.Job, err error) {
	if j.Kind == virtual.Disconnect || j.Kind == virtual.Connect && err != nil {
		s.open--
	}
}

func (r *runner) job(j virtual.Job) virtual.Outcome {
	if r.pool == nil { // it begins when it is made
		return r.server.job(j, 0)
	}
	return r.server.job(j, r.pool.Now())
}
