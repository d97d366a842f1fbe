package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// answer is what a viewer gets.
type answer struct {
	Now   int64     `json:"now"` // milliseconds since 1970
	Pools []listed  `json:"pools"`
	Pool  *detailed `json:"pool,omitzero"` // nil: there is no such pool
}

// listed is a source in the list of all.
type listed struct {
	Key     string  `json:"key"`
	Group   string  `json:"group,omitzero"` // the key of the group that it belongs to
	Verdict verdict `json:"verdict"`
	// A line of the table of a group's pools.
	Capacity int `json:"capacity"`
	Open     int `json:"open"`
	Borrowed int `json:"borrowed"`
	Waiting  int `json:"waiting"`
}

// detailed is a source with all that the page shows of it.
type detailed struct {
	Key      string               `json:"key"`
	Verdict  verdict              `json:"verdict"`
	Explain  messages.Explanation `json:"explain"` // of a group, or if it failed, Stats only
	Failed   string               `json:"failed,omitzero"`
	Fleet    *fleet               `json:"fleet,omitzero"`
	Leaked   []uint64             `json:"leaked"` // the connections whose present leases are reported as leaks
	Wait     histogram            `json:"wait"`
	Use      histogram            `json:"use"`
	Connect  histogram            `json:"connect"`
	UseEvery int                  `json:"useEvery"`
	Events   []happened           `json:"events"`
	Chart    chart                `json:"chart"`
	IsGroup  bool                 `json:"isGroup"`
	More     int                  `json:"more"` // pools of the group that are not listed
	measures *messages.Measures
	unknown  string // why there is no Fleet; empty: there is one, or it is in none
}

// histogram is a Histogram with what the page says about it.
type histogram struct {
	Count   uint64        `json:"count"`
	Zeros   uint64        `json:"zeros"`
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
	Scale   int8          `json:"scale"`
	Offset  int           `json:"offset"`
	Buckets []uint64      `json:"buckets"`
}

func histogramOf(h messages.Histogram) histogram {
	return histogram{h.Count, h.Zeros(), h.Quantile(0.5), h.Quantile(0.99), h.Scale, h.Offset, h.Buckets}
}

// list lists all sources.
func (b *book) list() []listed {
	now := time.Now()
	list := make([]listed, len(b.entries))
	for i, e := range b.entries {
		s := e.snapshot
		if s != nil && now.Sub(s.at) >= 2*period { // nobody looks at it: Stats know better
			s = nil
		}
		list[i] = listed{
			Key: e.key, Verdict: judge(e.condition(s, now)),
			Capacity: e.stats.Capacity, Open: e.stats.Open, Borrowed: e.stats.Borrowed, Waiting: e.stats.Waiting,
		}
		if e.group != nil {
			list[i].Group = e.group.key
		}
	}
	return list
}

// condition is what is known of a source, with a snapshot if there is one.
func (e *entry) condition(s *snapshot, now time.Time) condition {
	c := condition{stats: e.stats, failed: e.failed, lately: e.history.counts(now, e.stats), exact: e.history.exact}
	f := e.membership(now)
	c.fleet, c.unknown = f.fleet, f.failed
	if !e.history.since.IsZero() {
		c.since = now.Sub(e.history.since)
	}
	switch {
	case s == nil, e.source == nil:
		c.explanation.Time, c.explanation.LastConnectError, c.explanation.NextAttempt = now, e.stats.LastConnectError, e.stats.NextAttempt
	case s.failed != "":
		c.failed = s.failed
	default:
		c.explanation, c.failed, c.stats = s.explanation, "", s.explanation.Stats
		if trouble(c.stats.State) != e.history.state {
			c.since, c.exact = 0, false
		}
	}
	c.explanation.Stats = c.stats
	return c
}

// answer is the answer to somebody who looks at a source.
func (b *book) answer(e *entry, now time.Time) answer {
	s := e.snapshot
	c := e.condition(s, now)
	_, isGroup := e.source.(Group)
	d := &detailed{
		Key: e.key, Verdict: judge(c), Explain: c.explanation, Failed: c.failed, Fleet: c.fleet, unknown: c.unknown, Leaked: []uint64{},
		Events: coalesce(c.explanation.Recent), Chart: e.history.chart(now), IsGroup: isGroup, More: e.more,
	}
	for _, h := range c.explanation.Holders {
		if c.leaks(h) {
			d.Leaked = append(d.Leaked, h.ConnID)
		}
	}
	if s != nil && s.failed == "" {
		d.measures, d.UseEvery = &s.measures, s.measures.UseEvery
		d.Wait, d.Use, d.Connect = histogramOf(s.measures.Wait), histogramOf(s.measures.Use), histogramOf(s.measures.Connect)
	}
	return answer{Now: now.UnixMilli(), Pools: b.list(), Pool: d}
}

// text is the Explanation of the pool in words.
func (a answer) text() string {
	if a.Pool.Failed != "" {
		return fmt.Sprintf("pool %q: %s\n", a.Pool.Key, a.Pool.Failed)
	}
	text := a.Pool.Explain.String()
	if a.Pool.Fleet != nil {
		text += a.Pool.Fleet.text()
	}
	if a.Pool.unknown != "" {
		text += a.Pool.unknown + "\n"
	}
	return text
}

// exported is a pool in the JSON form.
type exported struct {
	Name     string               `json:"name"`
	Verdict  verdict              `json:"verdict"`
	Failed   string               `json:"failed,omitzero"`
	Explain  messages.Explanation `json:"explanation"`
	Measures *messages.Measures   `json:"measures,omitzero"`
	Fleet    *fleet               `json:"fleet,omitzero"`
}

func (a answer) export() exported {
	p := a.Pool
	return exported{p.Key, p.Verdict, p.Failed, p.Explain, p.measures, p.Fleet}
}

// happened is a line of what happened: one event, or several of a kind.
type happened struct {
	At     int64  `json:"at"`    // of the last, in milliseconds since 1970
	First  int64  `json:"first"` // of the first
	What   string `json:"what"`
	Count  int    `json:"count"`
	Detail string `json:"detail"` // of the last
}

// coalesce makes lines of events, newest first. Events of a kind are one line, unless
// something has happened to the pool as a whole between them: of an outage with hundreds
// of failed Gets the lines that say why remain.
func coalesce(events []messages.Event) []happened {
	lines := []happened{}
	open := map[string]int{} // the lines that still take events, by What
	for i := len(events) - 1; i >= 0; i-- {
		e := events[i]
		what := e.Kind.String()
		if e.Reason != 0 {
			what += " (" + e.Reason.String() + ")"
		}
		at, ok := open[what]
		if ok {
			lines[at].Count++
			lines[at].First = e.Time.UnixMilli()
			continue
		}
		if ofPool(e.Kind) {
			clear(open)
		}
		open[what] = len(lines)
		lines = append(lines, happened{At: e.Time.UnixMilli(), First: e.Time.UnixMilli(), What: what, Count: 1, Detail: detail(e)})
	}
	return lines
}

// ofPool says whether an event concerns the pool as a whole.
func ofPool(k messages.EventKind) bool {
	switch k {
	case messages.ConnectionCreated, messages.ConnectionReady, messages.ConnectionClosed,
		messages.CheckOutStarted, messages.CheckOutFailed, messages.CheckedOut, messages.CheckedIn:
		return false
	}
	return true
}

// detail says what an event is about.
func detail(e messages.Event) string {
	var parts []string
	add := func(yes bool, format string, args ...any) {
		if yes {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(e.ConnID != 0, "connection %d", e.ConnID)
	add(e.Label != "", "%s", e.Label)
	add(e.Attempt != 0, "attempt %d", e.Attempt)
	add(e.Kind == messages.CapacityChanged, "from %d to %d", e.From, e.To)
	add(e.Kind == messages.PoolCreated, "capacity %d", e.To)
	add(e.Kind == messages.PoolCleared, "generation %d", e.Generation)
	add(e.Interrupt, "interrupting")
	switch e.Kind {
	case messages.PoolBackoff:
		add(true, "next in %s", span(e.Duration))
	case messages.LeaseLeaked:
		add(true, "out for %s", span(e.Duration))
	default:
		add(e.Duration > 0, "after %s", span(e.Duration))
	}
	if e.Err != nil {
		add(true, "%v", e.Err)
	}
	return strings.Join(parts, " · ")
}
