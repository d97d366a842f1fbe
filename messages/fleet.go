package messages

import (
	"encoding/json"
	"fmt"
	"time"
)

// FleetStatus is what a member of a fleet knows of itself and of its fleet: see package
// fleet, which is a module of its own and experimental. It is here for those who show it
// without importing that module: package page and the module metrics.
type FleetStatus struct {
	// Key and Budget are those of the fleet.
	Key    string `json:"key"`
	Budget int    `json:"budget"`
	// Incarnation is the name of the member's present life; "" while it has none.
	Incarnation string `json:"incarnation"`
	// Phase is how far that has come: new, live, soft (the store was not reached for long:
	// nothing new is opened), hard (nothing may be held) or over.
	Phase string `json:"phase"`
	// Note says in a few words what is wrong, for example "fleet: no quota"; empty: nothing
	// is. The pool has it as its CapacityNote.
	Note string `json:"note,omitzero"`
	// Charge is what the budget is charged for this member, and Target what it shall shrink
	// to. Capacity is what its pool is set to, Held what that holds, and Want what it asks
	// for.
	Charge   int `json:"charge"`
	Target   int `json:"target"`
	Capacity int `json:"capacity"`
	Held     int `json:"held"`
	Want     int `json:"want"`
	// TTL is that of the Config. Proof is how long ago the last confirmed renewal was sent.
	TTL   time.Duration `json:"ttl"`
	Proof time.Duration `json:"proof"`
	// Err is the error of the last renewal; nil if it succeeded. Errors counts the operations
	// of the store and of Reclaim that have failed since the member was made.
	Err    error  `json:"-"`
	Errors uint64 `json:"errors"`
	// Fleet are the members, as this one has last read the ledger, in the order of their
	// incarnations; and ReadAgo is how long ago that was. It must not be changed.
	Fleet   []FleetMember `json:"fleet"`
	ReadAgo time.Duration `json:"readAgo"`
}

// FleetMember is one member of a fleet in the ledger.
type FleetMember struct {
	Incarnation string `json:"incarnation"`
	Charge      int    `json:"charge"`
	Target      int    `json:"target"`
	Want        int    `json:"want"`
	// Alive: its lease lives. What a dead one is charged for may still be open.
	Alive bool `json:"alive"`
}

// NoQuota says that the member has a use for connections and may have none.
func (s FleetStatus) NoQuota() bool { return s.Capacity == 0 && s.Want > 0 }

// Charged is what the budget is charged for all members, and Alive how many of them live.
func (s FleetStatus) Charged() (charged, alive int) {
	for _, m := range s.Fleet {
		charged += m.Charge
		if m.Alive {
			alive++
		}
	}
	return charged, alive
}

// String is the status in a line.
func (s FleetStatus) String() string {
	text := fmt.Sprintf("fleet %s: phase %s, capacity %d, held %d, want %d, charge %d, target %d, of a budget of %d; renewed %s ago",
		oneLine(s.Key), s.Phase, s.Capacity, s.Held, s.Want, s.Charge, s.Target, s.Budget, rounded(s.Proof))
	if s.Note != "" {
		text += "; " + oneLine(s.Note)
	}
	if s.Err != nil {
		text += "; " + oneLine(plain(s.Err))
	}
	return text
}

// MarshalJSON implements json.Marshaler. A list without items is empty, not null.
func (s FleetStatus) MarshalJSON() ([]byte, error) {
	type fields FleetStatus // without this method
	s.Fleet = listOf(s.Fleet)
	return json.Marshal(struct {
		fields
		Err *string `json:"err,omitzero"`
	}{fields(s), words(s.Err)})
}
