package messages

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// MarshalJSON implements json.Marshaler, as package messages describes. Kind, Reason
// and Class are their names. A field that is zero is left out, but for From and To
// where Kind says that they are set.
func (e Event) MarshalJSON() ([]byte, error) {
	var from, to *int
	switch e.Kind {
	case PoolCreated:
		to = &e.To
	case CapacityChanged:
		from, to = &e.From, &e.To
	}
	return json.Marshal(struct {
		Kind       string        `json:"kind"`
		Pool       string        `json:"pool"`
		Seq        uint64        `json:"seq"`
		Time       time.Time     `json:"time"`
		ConnID     uint64        `json:"connID,omitzero"`
		Reason     string        `json:"reason,omitzero"`
		Duration   time.Duration `json:"duration,omitzero"`
		Attempt    int           `json:"attempt,omitzero"`
		Generation uint64        `json:"generation"`
		Interrupt  bool          `json:"interrupt,omitzero"`
		Class      string        `json:"class,omitzero"`
		Label      string        `json:"label,omitzero"`
		Setting    *string       `json:"setting,omitzero"`
		Err        *string       `json:"err,omitzero"`
		Stack      string        `json:"stack,omitzero"`
		From       *int          `json:"from,omitzero"`
		To         *int          `json:"to,omitzero"`
	}{
		Kind: e.Kind.String(), Pool: e.Pool, Seq: e.Seq, Time: e.Time, ConnID: e.ConnID, Reason: nameOf(e.Reason),
		Duration: e.Duration, Attempt: e.Attempt, Generation: e.Generation, Interrupt: e.Interrupt, Class: nameOf(e.Class),
		Label: e.Label, Setting: words(e.Setting), Err: words(e.Err), Stack: e.Stack, From: from, To: to,
	})
}

// statsFields are the fields of Stats, with the error as text.
type statsFields struct {
	plainStats
	LastConnectError *string `json:"lastConnectError,omitzero"`
}

type plainStats Stats // without the methods below

// MarshalJSON implements json.Marshaler.
func (s Stats) MarshalJSON() ([]byte, error) {
	return json.Marshal(statsFields{plainStats(s), words(s.LastConnectError)})
}

// UnmarshalJSON implements json.Unmarshaler. LastConnectError has the text of the
// error, and nothing else of it.
func (s *Stats) UnmarshalJSON(data []byte) error {
	var f statsFields
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	*s = Stats(f.plainStats)
	if f.LastConnectError != nil {
		s.LastConnectError = errors.New(*f.LastConnectError)
	}
	return nil
}

// MarshalJSON implements json.Marshaler. A list without items is empty, not null.
func (e Explanation) MarshalJSON() ([]byte, error) {
	type fields Explanation // without this method
	e.Holders, e.Waiters, e.Jobs, e.Suspicions = listOf(e.Holders), listOf(e.Waiters), listOf(e.Jobs), listOf(e.Suspicions)
	e.Conns, e.Recent = listOf(e.Conns), listOf(e.Recent)
	return json.Marshal(struct {
		fields
		LastConnectError *string `json:"lastConnectError,omitzero"`
	}{fields(e), words(e.LastConnectError)})
}

// MarshalJSON implements json.Marshaler.
func (w Waiter) MarshalJSON() ([]byte, error) {
	type fields Waiter // without this method
	return json.Marshal(struct {
		fields
		Setting *string `json:"setting,omitzero"`
	}{fields(w), words(w.Setting)})
}

// MarshalJSON implements json.Marshaler.
func (c Conn) MarshalJSON() ([]byte, error) {
	type fields Conn // without this method
	return json.Marshal(struct {
		fields
		Setting *string `json:"setting,omitzero"`
	}{fields(c), words(c.Setting)})
}

// words gives an error or a setting as a text; nil: there is none.
func words(v any) *string {
	if v == nil {
		return nil
	}
	s := fmt.Sprint(v)
	return &s
}

// nameOf gives the name of a reason or a class; "": there is none.
func nameOf[T interface {
	~uint8
	fmt.Stringer
}](v T) string {
	if v == 0 {
		return ""
	}
	return v.String()
}

// listOf gives a list that is not nil.
func listOf[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// MarshalJSON implements json.Marshaler. A list without items is empty, not null.
func (h Histogram) MarshalJSON() ([]byte, error) {
	type fields Histogram // without this method
	h.Buckets = listOf(h.Buckets)
	return json.Marshal(fields(h))
}
