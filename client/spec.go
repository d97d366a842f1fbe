package client

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"time"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/messages"
)

// Spec is the configuration as New makes it: validated, with every default filled in, and
// below the type of the connections. Package sim and others that run a pool in virtual
// time need it. It calls Backoff.Decide and no other function. The error is that of New.
func (cfg Config[C]) Spec() (actors.Spec, error) {
	if faults := cfg.faults(); faults != nil {
		return actors.Spec{}, faults
	}
	connectTimeout := or(cfg.ConnectTimeout, 10*time.Second)
	backoff := actors.Backoff{
		Mode:   cfg.Backoff.Mode,
		Base:   or(cfg.Backoff.Base, defaultBase),
		Cap:    or(cfg.Backoff.Cap, defaultCap),
		Jitter: max(or(cfg.Backoff.Jitter, 1), 0),
	}
	if cfg.Backoff.Cap == 0 {
		backoff.Cap = max(backoff.Cap, backoff.Base)
	}
	if cfg.Backoff.Decide != nil && !cfg.Backoff.Decide() {
		backoff.Mode = actors.BackoffNever
	}
	s := actors.Spec{
		Policy: actors.Policy{
			Name:              or(cfg.Name, "pool"),
			Capacity:          cfg.effectiveCapacity(),
			MinIdle:           cfg.MinIdle,
			MaxIdle:           cfg.MaxIdle,
			MinOpen:           cfg.MinOpen,
			MaxUses:           cfg.MaxUses,
			MaxConnecting:     cfg.MaxConnecting,
			MaxWaiters:        cfg.MaxWaiters,
			PauseOnClear:      cfg.PauseOnClear,
			Check:             cfg.Check != nil,
			CheckAfterIdle:    or(cfg.CheckAfterIdle, time.Second),
			Reset:             cfg.Reset != nil,
			Reusable:          cfg.Reusable != nil,
			ResetWipes:        cfg.ResetWipesSetting,
			Unapply:           cfg.Unapply != nil,
			KeepAlive:         cfg.KeepAlive,
			IdleTimeout:       cfg.IdleTimeout,
			MaxLifetime:       cfg.MaxLifetime,
			LifetimeJitter:    max(or(cfg.MaxLifetimeJitter, cfg.MaxLifetime/10), 0),
			ConnectTimeout:    connectTimeout,
			CheckTimeout:      or(cfg.CheckTimeout, min(connectTimeout, time.Second)),
			DisconnectTimeout: or(cfg.DisconnectTimeout, time.Second),
			Reserve:           cfg.Reserve,
			LeakAfter:         cfg.LeakAfter,
			MaxLease:          cfg.MaxLease,
			ShedHopeless:      cfg.ShedHopeless,
			CoDel:             cfg.Shed.policy(),
			Backoff:           backoff,
		},
		ConnType:   reflect.TypeFor[C](),
		Connect:    connect(cfg.Connect),
		Disconnect: onConn(cfg.Disconnect),
		Check:      onConn(cfg.Check),
		Reset:      onConn(cfg.Reset),
		Unapply:    onConn(cfg.Unapply),
		Classify:   cfg.Classify,
		Broken:     cfg.Broken,
		OnEvent:    cfg.OnEvent,
		OnChange:   cfg.OnChange,
		Seed:       cfg.Seed,
		Logger:     cfg.Logger,
		GetTimeout: cfg.GetTimeout,

		LeakGoroutines: cfg.LeakGoroutines,
	}
	if apply := cfg.Apply; apply != nil {
		s.Apply = func(ctx context.Context, conn, setting any) error { return apply(ctx, conn.(C), setting) }
	}
	if reusable := cfg.Reusable; reusable != nil {
		s.Reusable = func(conn any) bool { return reusable(conn.(C)) }
	}
	if s.ConnType.Implements(reflect.TypeFor[closer]()) || s.ConnType.Implements(reflect.TypeFor[closing]()) {
		s.IsClosed = isClosed
	}
	if s.Disconnect == nil {
		s.Disconnect = closerOf(s.ConnType)
	}
	if s.Classify == nil {
		s.Classify = actors.Classify
	}
	if s.Broken == nil {
		s.Broken = Broken
	}
	return s, nil
}

// shortest is the shortest duration that a period may have. What is shorter was
// given without its unit.
const shortest = time.Millisecond

// faults gives everything that is wrong with a Config; nil: nothing.
func (cfg Config[C]) faults() messages.ConfigErrors {
	var faults messages.ConfigErrors
	refuse := func(wrong bool, field, reason string, args ...any) {
		if wrong {
			faults = append(faults, &messages.ConfigError{Field: field, Reason: fmt.Sprintf(reason, args...)})
		}
	}
	refuse(cfg.Connect == nil, "Connect", "it is required")
	conn := reflect.TypeFor[C]()
	refuse(cfg.Disconnect == nil && closerOf(conn) == nil, "Disconnect",
		"it is required: %v has no method Close() error, Close() or Close(context.Context) error", conn)
	for _, f := range []struct {
		field string
		n     int
	}{
		{"MinIdle", cfg.MinIdle},
		{"MaxIdle", cfg.MaxIdle},
		{"MinOpen", cfg.MinOpen},
		{"MaxUses", cfg.MaxUses},
		{"MaxConnecting", cfg.MaxConnecting},
		{"MaxWaiters", cfg.MaxWaiters},
	} {
		refuse(f.n < 0, f.field, "%d is negative", f.n)
	}
	refuse(cfg.Capacity < 0 && cfg.Capacity != NoCapacity, "Capacity", "%d is negative, and not NoCapacity", cfg.Capacity)
	for _, f := range []struct {
		field    string
		d        time.Duration
		shortest time.Duration
	}{
		{"ConnectTimeout", cfg.ConnectTimeout, shortest},
		{"CheckTimeout", cfg.CheckTimeout, shortest},
		{"DisconnectTimeout", cfg.DisconnectTimeout, shortest},
		{"GetTimeout", cfg.GetTimeout, 0},
		{"Reserve", cfg.Reserve, 0},
		{"KeepAlive", cfg.KeepAlive, shortest},
		{"IdleTimeout", cfg.IdleTimeout, shortest},
		{"MaxLifetime", cfg.MaxLifetime, shortest},
		{"LeakAfter", cfg.LeakAfter, shortest},
		{"MaxLease", cfg.MaxLease, shortest},
		{"Backoff.Base", cfg.Backoff.Base, shortest},
		{"Backoff.Cap", cfg.Backoff.Cap, 0},
		{"Shed.Target", cfg.Shed.Target, shortest},
		{"Shed.Interval", cfg.Shed.Interval, shortest},
	} {
		refuse(f.d < 0, f.field, "%v is negative", f.d)
		refuse(f.d > 0 && f.d < f.shortest, f.field, "%v is below %v: is the unit missing?", f.d, f.shortest)
	}
	if cfg.Check == nil {
		refuse(cfg.CheckAfterIdle != 0, "CheckAfterIdle", "%v, and there is no Check to do then", cfg.CheckAfterIdle)
		refuse(cfg.CheckTimeout > 0, "CheckTimeout", "%v, and there is no Check to be bounded", cfg.CheckTimeout)
		refuse(cfg.KeepAlive > 0, "KeepAlive", "%v, and there is no Check to do it with", cfg.KeepAlive)
	}
	refuse(cfg.LeakGoroutines && cfg.LeakAfter == 0, "LeakGoroutines", "there is no LeakAfter for which a Get would capture its goroutine")
	refuse(cfg.Unapply != nil && cfg.Apply == nil, "Unapply", "there is no Apply whose setting it could remove")
	refuse(cfg.ResetWipesSetting && cfg.Reset == nil, "ResetWipesSetting", "there is no Reset that could remove the setting")

	if n := cfg.effectiveCapacity(); n >= 0 {
		refuse(cfg.MinIdle > n, "MinIdle", "%d is above Capacity, %d", cfg.MinIdle, n)
		refuse(cfg.MinOpen > n, "MinOpen", "%d is above Capacity, %d", cfg.MinOpen, n)
	}
	refuse(cfg.MaxIdle > 0 && cfg.MinIdle > cfg.MaxIdle, "MinIdle", "%d is above MaxIdle, %d", cfg.MinIdle, cfg.MaxIdle)
	refuse(cfg.MaxIdle > 0 && cfg.MinOpen > cfg.MaxIdle, "MinOpen", "%d is above MaxIdle, %d", cfg.MinOpen, cfg.MaxIdle)
	switch jitter := cfg.MaxLifetimeJitter; {
	case jitter < 0:
		refuse(jitter != NoJitter, "MaxLifetimeJitter", "%v is negative, and not NoJitter", jitter)
	case cfg.MaxLifetime >= 0:
		refuse(jitter > cfg.MaxLifetime, "MaxLifetimeJitter", "%v is above MaxLifetime, %v", jitter, cfg.MaxLifetime)
	}
	if c := cfg.Shed.policy(); c.Target >= 0 && c.Interval >= 0 {
		refuse(c.Interval < c.Target, "Shed.Interval", "%v is below Target, %v", c.Interval, c.Target)
	}
	refuse(cfg.Backoff.Mode > BackoffNever, "Backoff.Mode", "%d is no mode", cfg.Backoff.Mode)
	j := cfg.Backoff.Jitter
	refuse(j != NoJitter && !(j >= 0 && j <= 1), "Backoff.Jitter", "%v is not in 0..1, nor NoJitter", j) // written so that NaN is invalid
	base := or(cfg.Backoff.Base, defaultBase)
	refuse(base > 0 && cfg.Backoff.Cap > 0 && cfg.Backoff.Cap < base, "Backoff.Cap", "%v is below Base, %v", cfg.Backoff.Cap, base)
	return faults
}

// effectiveCapacity is the number that Capacity means; negative: none.
func (cfg Config[C]) effectiveCapacity() int {
	if cfg.Capacity == NoCapacity {
		return 0
	}
	return or(cfg.Capacity, max(4, runtime.GOMAXPROCS(0)))
}

// or returns v, or fallback if v is zero.
func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// connect converts Connect to the untyped form of actors.Spec, in which a nil
// connection is an error.
func connect[C any](f func(context.Context) (C, error)) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) {
		conn, err := f(ctx)
		if err != nil {
			return nil, err
		}
		if isNil(conn) {
			return nil, messages.ErrNilConnection
		}
		return conn, nil
	}
}

// isNil says whether v is nil or holds a nil pointer, map, channel, function or
// slice.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Chan, reflect.Func, reflect.Slice, reflect.UnsafePointer:
		return r.IsNil()
	default:
		return false
	}
}

// onConn converts a function to the untyped form of actors.Spec. nil stays nil.
func onConn[C any](f func(context.Context, C) error) func(context.Context, any) error {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, conn any) error { return f(ctx, conn.(C)) }
}
