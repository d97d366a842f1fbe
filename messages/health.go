package messages

import (
	"encoding/json"
	"time"
)

// HealthRequest asks whether the pool can serve. It is answered by *[Health], also after
// Close.
type HealthRequest struct{}

// Health says whether a pool can serve a Get now. It is meant for a readiness probe. It
// marshals to JSON with lower-case names and LastError as text.
type Health struct {
	// OK says that a Get that comes now is served, or waits for a connection that can
	// come. It is false while the pool is paused, suspended, closing or closed, while its
	// capacity is 0, and in a period of the backoff while no connection stands; with
	// BackoffFailFast, in a period while no connection is idle. The pool knows
	// only what its connects have told it: OK is wrongly true while the server is gone and
	// no connect has failed yet, from the end of a period until the attempt that follows
	// it is back, and with BackoffNever, which has no periods.
	OK bool
	// State is one of the State constants.
	State string
	// LastError is the error of the last connect; nil if it succeeded, or if there was
	// none.
	LastError error
	// Attempt is the number of connects that have failed in a row, while the pool backs
	// off; otherwise 0.
	Attempt int
	// NextAttempt is when the next connect begins; zero if none is put off.
	NextAttempt time.Time
	// CapacityNote is that of Stats: with a capacity of 0 it says why OK is false.
	CapacityNote string
	// Since is when State became what it is. It is zero if there is no such pool.
	Since time.Time
}

// MarshalJSON implements json.Marshaler.
func (h Health) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		OK          bool      `json:"ok"`
		State       string    `json:"state"`
		LastError   *string   `json:"lastError,omitzero"`
		Attempt     int       `json:"attempt,omitzero"`
		NextAttempt time.Time `json:"nextAttempt,omitzero"`
		Note        string    `json:"capacityNote,omitzero"`
		Since       time.Time `json:"since,omitzero"`
	}{h.OK, h.State, words(h.LastError), h.Attempt, h.NextAttempt, h.CapacityNote, h.Since})
}
