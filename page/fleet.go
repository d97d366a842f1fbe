package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// InFleet is what a [Source] is, too, whose pool is a member of a fleet: the page shows the
// fleet with the pool. A *fleet.Member of the module fleet is a [Pool] and InFleet: give it
// to [New] instead of its pool.
type InFleet interface {
	// Status is what the member knows of the fleet. The page reads it once a second, and
	// shows at most 200 of its members: those that matter most. If it panics, or does not
	// return within two seconds, the page says so, and shows all else of the pool.
	Status() messages.FleetStatus
}

// fleet is what is shown of a fleet, redacted. It does not change.
type fleet struct {
	Key     string `json:"key"`
	Budget  int    `json:"budget"`
	Charged int    `json:"charged"` // for all members
	Free    int    `json:"free"`    // of the budget; negative if that was lowered
	Alive   int    `json:"alive"`   // members
	Dead    int    `json:"dead"`    // members that are still charged
	Lost    int    `json:"lost"`    // what those are charged for

	// This member.
	Phase    string        `json:"phase"`
	Note     string        `json:"note,omitzero"`
	Charge   int           `json:"charge"`
	Target   int           `json:"target"`
	Capacity int           `json:"capacity"`
	Held     int           `json:"held"`
	Want     int           `json:"want"`
	TTL      time.Duration `json:"ttl"`
	Proof    time.Duration `json:"proof"`
	Err      string        `json:"err,omitzero"`
	Errors   uint64        `json:"errors"`

	ReadAgo time.Duration `json:"readAgo"`
	Members []fleetMember `json:"members"`
	More    int           `json:"more"` // members that are not listed
}

type fleetMember struct {
	messages.FleetMember
	Own bool `json:"own,omitzero"`
}

// fleet makes a status fit to be shown. Its list may have any length.
func (r redactor) fleet(s messages.FleetStatus) *fleet {
	f := &fleet{
		Key: clean(s.Key, labelLength), Budget: s.Budget, Phase: clean(s.Phase, labelLength), Note: r.text(s.Note, labelLength),
		Charge: s.Charge, Target: s.Target, Capacity: s.Capacity, Held: s.Held, Want: s.Want, TTL: s.TTL, Proof: s.Proof,
		Errors: s.Errors, ReadAgo: s.ReadAgo, Members: []fleetMember{},
	}
	if s.Err != nil {
		f.Err = r.text(sprint(s.Err), errorLength)
	}
	f.Charged, f.Alive = s.Charged()
	f.Free = s.Budget - f.Charged
	list := slices.Clone(s.Fleet)
	for _, m := range list {
		if !m.Alive && m.Charge > 0 {
			f.Dead++
			f.Lost += m.Charge
		}
	}
	slices.SortFunc(list, func(a, b messages.FleetMember) int {
		return cmp.Or(
			-cmp.Compare(rank(a, s.Incarnation), rank(b, s.Incarnation)),
			-cmp.Compare(a.Want-a.Charge, b.Want-b.Charge),
			-cmp.Compare(a.Charge, b.Charge),
			cmp.Compare(a.Incarnation, b.Incarnation),
		)
	})
	f.More = max(0, len(list)-maxRows)
	for _, m := range list[:len(list)-f.More] {
		own := m.Incarnation == s.Incarnation
		m.Incarnation = r.label(m.Incarnation)
		f.Members = append(f.Members, fleetMember{m, own})
	}
	return f
}

// rank says how much a member matters: the own one most, then one that is dead and charged,
// one that shall give back, one that lacks something.
func rank(m messages.FleetMember, own string) int {
	switch {
	case m.Incarnation == own:
		return 4
	case !m.Alive && m.Charge > 0:
		return 3
	case m.Target < m.Charge:
		return 2
	case m.Want > m.Charge:
		return 1
	}
	return 0
}

// text is the fleet in words, with one fact on each line.
func (f *fleet) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "fleet %q: %s alive, budget %d, charged %d, free %d; read %s ago\n",
		f.Key, more(f.Alive, "member"), f.Budget, f.Charged, f.Free, span(f.ReadAgo))
	fmt.Fprintf(&b, "  this member: phase %s, capacity %d, held %d, want %d; renewed %s ago, TTL %s; %s", f.Phase, f.Capacity, f.Held, f.Want,
		span(f.Proof), span(f.TTL), more(int(f.Errors), "error"))
	if f.Note != "" {
		b.WriteString("; " + f.Note)
	}
	if f.Err != "" {
		b.WriteString("; last error: " + f.Err)
	}
	b.WriteString("\n")
	for _, m := range f.Members {
		fmt.Fprintf(&b, "  %s: charge %d, target %d, want %d%s\n", m.Incarnation, m.Charge, m.Target, m.Want, m.is())
	}
	if f.More > 0 {
		fmt.Fprintf(&b, "  and %d more\n", f.More)
	}
	return b.String()
}

// is says what is special about a member.
func (m *fleetMember) is() string {
	switch {
	case m.Own:
		return " (this member)"
	case !m.Alive:
		return " (dead)"
	}
	return ""
}

// noted puts the note on the capacity before a verdict: it says why there is no more.
func (c condition) noted(v verdict) verdict {
	note := c.stats.CapacityNote
	switch v.Kind {
	case "closed", "closing", "silent":
		return v
	}
	if note == "" {
		return v
	}
	if f := c.fleet; f != nil && f.Phase == "live" && f.Want+c.stats.Waiting == 0 && v.Kind == "capacity 0" {
		return verdict{Level: fine, Kind: "no share", Sentence: "Ready and quiet: this member has no share of the fleet's budget, and nobody waits."}
	}
	prefix := fmt.Sprintf("Capacity %d: %s.", c.stats.Capacity, strings.TrimRight(note, ". "))
	if v.Kind == "capacity 0" {
		v.Sentence = prefix + strings.TrimPrefix(v.Sentence, noCapacity)
	} else {
		v.Kind, v.Sentence = "noted", prefix+" "+v.Sentence
	}
	switch {
	case c.fleet != nil && c.fleet.Phase == "hard":
		v.Level = problem
	case v.Level != problem:
		v.Level = warning
	}
	return v
}

// notes are the sentences about what is wrong with the fleet.
func (f *fleet) notes() []string {
	var notes []string
	add := func(yes bool, format string, args ...any) {
		if yes {
			notes = append(notes, fmt.Sprintf(format, args...))
		}
	}
	if f == nil {
		return nil
	}
	add(f.Err != "", "Fleet: the last renewal failed: %s.", strings.TrimRight(f.Err, ". "))
	add(f.Dead == 1, "Fleet: a member is dead and still charged for %s.", more(f.Lost, "connection"))
	add(f.Dead > 1, "Fleet: %d members are dead and still charged for %s.", f.Dead, more(f.Lost, "connection"))
	add(f.Free < 0, "Fleet: the members are charged for %d, more than the budget, %d: it was lowered, and they give back what comes back.",
		f.Charged, f.Budget)
	return notes
}
