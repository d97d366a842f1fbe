package testkit

import (
	"slices"
	"sync"
	"testing/synctest"

	"github.com/actorpool/actorpool/messages"
)

// Journal keeps the events of a pool.
type Journal struct {
	mu     sync.Mutex
	events []messages.Event
}

// Add keeps one event.
func (j *Journal) Add(e messages.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
}

// Listen makes the journal the event handler of a pool.
func (j *Journal) Listen(cfg *Config) { cfg.OnEvent = j.Add }

// All waits until all is quiet and gives the events so far.
func (j *Journal) All() []messages.Event {
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.events)
}

// Of waits until all is quiet and gives the events of one kind.
func (j *Journal) Of(kind messages.EventKind) []messages.Event {
	return slices.DeleteFunc(j.All(), func(e messages.Event) bool { return e.Kind != kind })
}

// Kinds waits until all is quiet and gives the names of the events after the
// first skip, those of closings and failures with their reasons.
func (j *Journal) Kinds(skip int) []string {
	var names []string
	for _, e := range j.All()[skip:] {
		name := e.Kind.String()
		if e.Reason != 0 {
			name += "(" + e.Reason.String() + ")"
		}
		names = append(names, name)
	}
	return names
}
