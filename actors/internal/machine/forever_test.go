package machine

import (
	"fmt"
	"math"
	"reflect"
	"runtime/debug"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestNoPeriodAndNoNumberWraps gives every duration of a Config the value that means
// never, and every number the value that means no bound: each alone, and each pair. The
// pool must keep all its promises with them.
func TestNoPeriodAndNoNumberWraps(t *testing.T) {
	fields := unboundedFields()
	if len(fields) < 15 {
		t.Fatalf("only %d fields are durations or numbers: %v", len(fields), fields)
	}
	seeds := 4
	if testing.Short() {
		seeds = 1
	}
	for i, first := range fields {
		for _, second := range fields[i:] {
			for seed := range seeds {
				runUnbounded(t, seed, first, second)
			}
		}
	}
}

// unboundedFields finds the fields of Config that can mean never or no bound. MinIdle and
// MinOpen are not among them: with math.MaxInt they ask for that many connections, and get
// them.
func unboundedFields() (fields [][]int) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		switch {
		case f.Name == "MinIdle" || f.Name == "MinOpen":
		case f.Type.Kind() == reflect.Int || f.Type == reflect.TypeFor[time.Duration]():
			fields = append(fields, f.Index)
		case f.Type == reflect.TypeFor[CoDel](), f.Type == reflect.TypeFor[Backoff]():
			for _, sub := range reflect.VisibleFields(f.Type) {
				if sub.Type == reflect.TypeFor[time.Duration]() {
					fields = append(fields, append(f.Index[:len(f.Index):len(f.Index)], sub.Index...))
				}
			}
		}
	}
	return fields
}

// runUnbounded runs one random history with these fields as large as can be.
func runUnbounded(t *testing.T, seed int, fields ...[]int) {
	t.Helper()
	rapid.Custom(func(rt *rapid.T) bool {
		cfg := drawConfig(rt)
		var names []string
		for _, index := range fields {
			names = append(names, reflect.TypeFor[Config]().FieldByIndex(index).Name)
			reflect.ValueOf(&cfg).Elem().FieldByIndex(index).SetInt(math.MaxInt64)
		}
		makeValid(&cfg)
		tb := namedFailer{t, fmt.Sprintf("%v, seed %d", names, seed)}
		defer func() {
			if reason := recover(); reason != nil {
				tb.Fatalf("panic: %v\n%s", reason, debug.Stack())
			}
		}()
		h := &history{t: rt, world: newWorld(tb, cfg), settings: []any{nil, nil, "red"}}
		for range 40 {
			h.next()
		}
		if h.world.closedAt < 0 {
			h.comeToRest()
		}
		h.closePool()
		return true
	}).Example(seed)
}

// makeValid changes what package client would refuse.
func makeValid(cfg *Config) {
	cfg.Check = cfg.Check || cfg.KeepAlive > 0
	cfg.MaxLifetime = max(cfg.MaxLifetime, cfg.LifetimeJitter)
	cfg.Backoff.Cap = max(cfg.Backoff.Cap, cfg.Backoff.Base)
	if c := &cfg.CoDel; *c != (CoDel{}) {
		if c.Target == 0 {
			c.Target = time.Second
		}
		c.Interval = max(c.Interval, c.Target)
	}
}

// namedFailer says which case has failed.
type namedFailer struct {
	*testing.T
	name string
}

func (f namedFailer) Fatalf(format string, args ...any) {
	f.Helper()
	f.T.Fatalf("%s: %s", f.name, fmt.Sprintf(format, args...))
}
