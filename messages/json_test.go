package messages_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

// fill sets every field of a struct to a value that is not zero.
func fill(v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Type() == reflect.TypeFor[time.Time]():
			f.Set(reflect.ValueOf(moment))
		case f.Kind() == reflect.Struct:
			fill(f)
		case f.Kind() == reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			if f.Index(0).Kind() == reflect.Struct {
				fill(f.Index(0))
			}
		case f.Kind() == reflect.Interface && f.Type() == reflect.TypeFor[error]():
			f.Set(reflect.ValueOf(errors.New("bang")))
		case f.Kind() == reflect.Interface:
			f.Set(reflect.ValueOf([2]int{1, 2})) // a setting may be of any type
		case f.Kind() == reflect.String:
			f.SetString("text")
		case f.Kind() == reflect.Bool:
			f.SetBool(true)
		case f.CanInt():
			f.SetInt(1)
		case f.CanUint():
			f.SetUint(1)
		}
	}
	if e, ok := v.Addr().Interface().(*messages.Event); ok {
		e.Kind = messages.CapacityChanged // so that From and To are set
	}
}

// assertNames checks that an object has each field of a struct, under its name with a
// small first letter, and nothing else.
func assertNames(t *testing.T, of reflect.Type, object map[string]any) {
	t.Helper()
	var want, got []string
	for i := range of.NumField() {
		f := of.Field(i)
		name := strings.ToLower(f.Name[:1]) + f.Name[1:]
		if f.Name == "ID" || f.Name == "TTL" {
			name = strings.ToLower(f.Name)
		}
		want = append(want, name)
		switch value := object[name].(type) {
		case map[string]any:
			assertNames(t, f.Type, value)
		case []any:
			if f.Type.Elem().Kind() == reflect.Struct {
				assertNames(t, f.Type.Elem(), value[0].(map[string]any))
			}
		}
	}
	for name := range object {
		got = append(got, name)
	}
	assert.ElementsMatch(t, want, got, of.Name())
}

// E4
func TestEveryFieldIsInJSONUnderItsName(t *testing.T) {
	for _, v := range []any{&messages.Stats{}, &messages.Explanation{}, &messages.Event{}, &messages.FleetStatus{}} {
		fill(reflect.ValueOf(v).Elem())
		for _, v := range []any{v, reflect.ValueOf(v).Elem().Interface()} {
			data, err := json.Marshal(v)
			require.NoError(t, err)
			var object map[string]any
			require.NoError(t, json.Unmarshal(data, &object))
			assertNames(t, reflect.Indirect(reflect.ValueOf(v)).Type(), object)
		}
	}
}

// E4
func TestWhatGoAndJSONHaveNoCommonTypeForIsText(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{
			messages.Event{
				Kind: messages.PoolBackoff, Pool: "db", Seq: 7, Time: moment, Duration: time.Second, Attempt: 2, Class: messages.ClassFatal,
				Err: &messages.ConnectError{Phase: messages.PhaseConnect, Err: errors.New("refused")},
			},
			`{"kind":"PoolBackoff","pool":"db","seq":7,"time":"2026-01-01T00:00:00Z","duration":1000000000,"attempt":2,"generation":0,` +
				`"class":"fatal","err":"actorpool: connect failed: refused"}`,
		},
		{
			messages.Event{Kind: messages.CheckedOut, Pool: "db", Seq: 8, Time: moment, ConnID: 3, Setting: struct{ Tenant string }{"a"}, Label: "import"},
			`{"kind":"CheckedOut","pool":"db","seq":8,"time":"2026-01-01T00:00:00Z","connID":3,"generation":0,"label":"import","setting":"{a}"}`,
		},
		{
			messages.Event{Kind: messages.CapacityChanged, Pool: "db", Seq: 9, Time: moment, From: 4},
			`{"kind":"CapacityChanged","pool":"db","seq":9,"time":"2026-01-01T00:00:00Z","generation":0,"from":4,"to":0}`,
		},
		{
			messages.Event{Kind: messages.PoolCreated, Pool: "db", Seq: 1, Time: moment},
			`{"kind":"PoolCreated","pool":"db","seq":1,"time":"2026-01-01T00:00:00Z","generation":0,"to":0}`,
		},
		{
			messages.Event{Kind: messages.ConnectionClosed, Pool: "db", Seq: 1, Time: moment, ConnID: 2, Reason: messages.ReasonPoolClosed, Err: panicsInError{}},
			`{"kind":"ConnectionClosed","pool":"db","seq":1,"time":"2026-01-01T00:00:00Z","connID":2,"reason":"poolClosed","generation":0,` +
				`"err":"%!v(PANIC=Error method: no good)"}`,
		},
		{messages.Waiter{Setting: ""}, `{"waited":0,"setting":""}`},
		{messages.Waiter{Waited: 5}, `{"waited":5}`},
		{messages.Waiter{Waited: 5, Left: -1}, `{"waited":5,"left":-1}`},
		{messages.Holder{ConnID: 2, Age: 5, AtLeast: true}, `{"connID":2,"age":5,"atLeast":true}`},
		{
			messages.Conn{ID: 3, State: "idle", In: 4, AtLeast: true, Age: 5, Uses: 6, Generation: 7, Setting: struct{ Tenant string }{"a"}},
			`{"id":3,"state":"idle","in":4,"atLeast":true,"age":5,"uses":6,"generation":7,"setting":"{a}"}`,
		},
		{messages.Conn{ID: 3, State: "connecting", Label: "import"}, `{"id":3,"state":"connecting","label":"import","in":0,"age":0,"uses":0,"generation":0}`},
	} {
		data, err := json.Marshal(c.value)
		require.NoError(t, err)
		assert.Equal(t, c.want, string(data))
	}
}

// E4
func TestAnEmptyExplanationHasEmptyLists(t *testing.T) {
	data, err := json.Marshal(messages.Explanation{Time: moment})
	require.NoError(t, err)
	assert.Contains(t, string(data), `"time":"2026-01-01T00:00:00Z","holders":[],"waiters":[],"jobs":[],"conns":[],"recent":[],"suspicions":[]}`)
}

// E4
func TestStatsComeBackFromJSON(t *testing.T) {
	var before, after messages.Stats
	fill(reflect.ValueOf(&before).Elem())
	data, err := json.Marshal(before)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &after))
	assert.Equal(t, before, after)
}
