package client_test

import (
	"context"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

func TestABadConfigIsRefusedByField(t *testing.T) {
	type badField struct {
		field  string
		change func(*testkit.Config)
	}
	bad := []badField{
		{"Connect", func(cfg *testkit.Config) { cfg.Connect = nil }},
		{"Capacity", func(cfg *testkit.Config) { cfg.Capacity = -2 }},
		{"MinIdle", func(cfg *testkit.Config) { cfg.Capacity, cfg.MinIdle = 2, 3 }},
		{"MinIdle", func(cfg *testkit.Config) { cfg.Capacity, cfg.MinIdle = client.NoCapacity, 1 }},
		{"MinIdle", func(cfg *testkit.Config) { cfg.Capacity, cfg.MinIdle, cfg.MaxIdle = 4, 3, 2 }},
		{"MaxLifetimeJitter", func(cfg *testkit.Config) { cfg.MaxLifetime, cfg.MaxLifetimeJitter = time.Minute, time.Hour }},
		{"Backoff.Mode", func(cfg *testkit.Config) { cfg.Backoff.Mode = 77 }},
		{"Backoff.Cap", func(cfg *testkit.Config) { cfg.Backoff.Base, cfg.Backoff.Cap = time.Minute, time.Second }},
		{"Backoff.Jitter", func(cfg *testkit.Config) { cfg.Backoff.Jitter = 1.1 }},
		{"Backoff.Jitter", func(cfg *testkit.Config) { cfg.Backoff.Jitter = -0.1 }},
		{"Backoff.Jitter", func(cfg *testkit.Config) { cfg.Backoff.Jitter = math.NaN() }},
		{"Backoff.Jitter", func(cfg *testkit.Config) { cfg.Backoff.Jitter = math.Inf(1) }},
		{"MaxLifetimeJitter", func(cfg *testkit.Config) { cfg.MaxLifetime, cfg.MaxLifetimeJitter = time.Minute, -2 }},
	}
	for _, field := range numericFields(reflect.TypeFor[testkit.Config](), "") {
		if !slices.Contains([]string{"CheckAfterIdle", "Backoff.Jitter", "MaxLifetimeJitter", "Capacity"}, field.path) { // see the next test
			bad = append(bad, badField{field.path, func(cfg *testkit.Config) { field.set(cfg, -1) }})
		}
	}
	for _, c := range bad {
		t.Run(c.field, func(t *testing.T) {
			cfg := testkit.Config{Connect: func(context.Context) (*testkit.Conn, error) { t.Error("connects"); return nil, nil }}
			c.change(&cfg)
			system := testkit.QuietSystem()
			_, err := client.New(cfg)
			_, err2 := client.Props(cfg)
			_, err3 := client.Spawn(system.Root, cfg)
			for _, err := range []error{err, err2, err3} {
				var e *messages.ConfigError
				require.ErrorAs(t, err, &e)
				assert.Equal(t, c.field, e.Field)
				assert.NotEmpty(t, e.Reason)
				assert.Contains(t, err.Error(), c.field)
			}
		})
	}
	_, err := client.Spawn[*testkit.Conn](nil, testkit.Config{Connect: func(context.Context) (*testkit.Conn, error) { return nil, nil }})
	assert.ErrorAs(t, err, new(*messages.ConfigError))
}

// numericField is a field of Config, or of a struct in it, that is a number.
type numericField struct {
	path  string
	index []int
	float bool
}

func (f numericField) set(cfg *testkit.Config, n int64) {
	v := reflect.ValueOf(cfg).Elem().FieldByIndex(f.index)
	if f.float {
		v.SetFloat(float64(n))
	} else {
		v.SetInt(n)
	}
}

// numericFields finds every field that can be negative.
func numericFields(of reflect.Type, prefix string, index ...int) (fields []numericField) {
	for i := range of.NumField() {
		field, at := of.Field(i), append(slices.Clone(index), i)
		switch path := prefix + field.Name; field.Type.Kind() {
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			fields = append(fields, numericField{path, at, false})
		case reflect.Float32, reflect.Float64:
			fields = append(fields, numericField{path, at, true})
		case reflect.Struct:
			fields = append(fields, numericFields(field.Type, path+".", at...)...)
		}
	}
	return fields
}

// faultsOf gives the faults of a configuration that New, Props and Spawn refuse.
func faultsOf(t *testing.T, change func(*testkit.Config)) messages.ConfigErrors {
	t.Helper()
	cfg := testkit.Config{Connect: func(context.Context) (*testkit.Conn, error) { t.Error("connects"); return nil, nil }}
	change(&cfg)
	_, err := client.New(cfg)
	if err == nil {
		return nil
	}
	faults, ok := err.(messages.ConfigErrors)
	require.True(t, ok, "%T: %v", err, err)
	_, err = client.Props(cfg)
	assert.Equal(t, error(faults), err)
	_, err = client.Spawn(testkit.QuietSystem().Root, cfg)
	assert.Equal(t, error(faults), err)
	return faults
}

// N2
func TestAPeriodThatIsSurelyAMissingUnitIsRefused(t *testing.T) {
	check := func(context.Context, *testkit.Conn) error { return nil }
	for field, set := range map[string]func(*testkit.Config, time.Duration){
		"MaxLifetime":       func(cfg *testkit.Config, d time.Duration) { cfg.MaxLifetime = d },
		"IdleTimeout":       func(cfg *testkit.Config, d time.Duration) { cfg.IdleTimeout = d },
		"KeepAlive":         func(cfg *testkit.Config, d time.Duration) { cfg.Check, cfg.KeepAlive = check, d },
		"LeakAfter":         func(cfg *testkit.Config, d time.Duration) { cfg.LeakAfter = d },
		"MaxLease":          func(cfg *testkit.Config, d time.Duration) { cfg.MaxLease = d },
		"ConnectTimeout":    func(cfg *testkit.Config, d time.Duration) { cfg.ConnectTimeout = d },
		"CheckTimeout":      func(cfg *testkit.Config, d time.Duration) { cfg.Check, cfg.CheckTimeout = check, d },
		"DisconnectTimeout": func(cfg *testkit.Config, d time.Duration) { cfg.DisconnectTimeout = d },
		"Backoff.Base":      func(cfg *testkit.Config, d time.Duration) { cfg.Backoff.Base = d },
		"Shed.Target":       func(cfg *testkit.Config, d time.Duration) { cfg.Shed.Target = d },
		"Shed.Interval": func(cfg *testkit.Config, d time.Duration) {
			cfg.Shed = client.CoDel{Target: time.Millisecond, Interval: d}
		},
	} {
		t.Run(field, func(t *testing.T) {
			for _, d := range []time.Duration{1, 30, time.Millisecond - 1} {
				faults := faultsOf(t, func(cfg *testkit.Config) { set(cfg, d) })
				require.NotEmpty(t, faults)
				assert.Equal(t, field, faults[0].Field)
				assert.Equal(t, d.String()+" is below 1ms: is the unit missing?", faults[0].Reason)
			}
			assert.Empty(t, faultsOf(t, func(cfg *testkit.Config) { set(cfg, time.Millisecond) }))
		})
	}
	assert.Empty(t, faultsOf(t, func(cfg *testkit.Config) { // these may be short
		cfg.GetTimeout, cfg.Reserve, cfg.Check, cfg.CheckAfterIdle = 1, 1, check, 1
		cfg.MaxLifetime, cfg.MaxLifetimeJitter = time.Minute, 1
	}))
}

// N2
func TestAllFaultsOfAConfigAreToldAtOnce(t *testing.T) {
	faults := faultsOf(t, func(cfg *testkit.Config) {
		*cfg = testkit.Config{Capacity: -2, MinIdle: 3, MaxIdle: 2, MaxLifetime: 30, KeepAlive: time.Minute, ResetWipesSetting: true}
		cfg.Backoff = client.Backoff{Base: time.Minute, Cap: time.Second, Mode: 77, Jitter: 2}
	})
	var fields []string
	for _, fault := range faults {
		fields = append(fields, fault.Field)
	}
	assert.Equal(t, []string{
		"Connect", "Capacity", "MaxLifetime", "KeepAlive", "ResetWipesSetting", "MinIdle", "Backoff.Mode", "Backoff.Jitter", "Backoff.Cap",
	}, fields)
	var first *messages.ConfigError
	require.ErrorAs(t, error(faults), &first)
	assert.Same(t, faults[0], first)
	assert.True(t, strings.HasPrefix(faults.Error(), "actorpool: invalid Connect: it is required; actorpool: invalid Capacity: -2 is negative, and not NoCapacity; "))
}

// N3
func TestWhatHasNoEffectIsRefused(t *testing.T) {
	nothing := func(context.Context, *testkit.Conn) error { return nil }
	apply := func(context.Context, *testkit.Conn, any) error { return nil }
	for field, c := range map[string]struct{ alone, missing func(*testkit.Config) }{
		"KeepAlive":         {func(cfg *testkit.Config) { cfg.KeepAlive = time.Minute }, func(cfg *testkit.Config) { cfg.Check = nothing }},
		"CheckAfterIdle":    {func(cfg *testkit.Config) { cfg.CheckAfterIdle = time.Minute }, func(cfg *testkit.Config) { cfg.Check = nothing }},
		"CheckTimeout":      {func(cfg *testkit.Config) { cfg.CheckTimeout = time.Minute }, func(cfg *testkit.Config) { cfg.Check = nothing }},
		"Unapply":           {func(cfg *testkit.Config) { cfg.Unapply = nothing }, func(cfg *testkit.Config) { cfg.Apply = apply }},
		"LeakGoroutines":    {func(cfg *testkit.Config) { cfg.LeakGoroutines = true }, testkit.LeakAfter(time.Minute)},
		"ResetWipesSetting": {func(cfg *testkit.Config) { cfg.ResetWipesSetting = true }, func(cfg *testkit.Config) { cfg.Reset = nothing }},
		"MaxLifetimeJitter": {
			func(cfg *testkit.Config) { cfg.MaxLifetimeJitter = time.Minute }, func(cfg *testkit.Config) { cfg.MaxLifetime = time.Hour },
		},
	} {
		t.Run(field, func(t *testing.T) {
			faults := faultsOf(t, c.alone)
			require.Len(t, faults, 1)
			assert.Equal(t, field, faults[0].Field)
			assert.Empty(t, faultsOf(t, func(cfg *testkit.Config) { c.alone(cfg); c.missing(cfg) }))
		})
	}
}

// N3
func TestALifetimeWithoutJitterIsExact(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(4), func(cfg *testkit.Config) {
			cfg.MaxLifetime, cfg.MaxLifetimeJitter = time.Minute, client.NoJitter
		})
		testkit.Fill(t, p, 4)
		time.Sleep(time.Minute - time.Millisecond)
		testkit.AssertCounts(t, p, 0, 4, 0)
		testkit.Put(t, testkit.Get(t, p))
		time.Sleep(time.Millisecond)
		_, ok := p.TryGet()
		assert.False(t, ok)
	})
}

func TestTheLegalNegativeValuesAreLegal(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(func(cfg *testkit.Config) {
			cfg.Check, cfg.CheckAfterIdle = func(context.Context, *testkit.Conn) error { return nil }, -1
			cfg.Backoff.Jitter = client.NoJitter
			cfg.MaxLifetime, cfg.MaxLifetimeJitter = time.Minute, client.NoJitter
		})
		testkit.Put(t, testkit.Get(t, p))
	})
}

func TestANilContextIsRefused(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool()
		testkit.Fill(t, p, 1)
		var none context.Context
		_, err := p.Get(none)
		assert.ErrorIs(t, err, messages.ErrNilContext)
		_, err = p.GetWith(none, client.GetOptions{})
		assert.ErrorIs(t, err, messages.ErrNilContext)
		for _, err := range []error{
			p.Do(none, func(context.Context, *testkit.Conn) error { t.Error("called"); return nil }),
			p.SetCapacity(none, 3), p.Clear(none, client.ClearOptions{}), p.Suspend(none), p.Resume(none), p.Ready(none), p.Close(none),
		} {
			assert.ErrorIs(t, err, messages.ErrNilContext)
		}
		st := p.Stats()
		assert.Equal(t, messages.StateReady, st.State)
		assert.Equal(t, 1, st.Idle)
		assert.Zero(t, st.Generation)

		fresh := client.Attach[*testkit.Conn](w.System, p.PID())
		_, err = fresh.Get(none)
		assert.ErrorIs(t, err, messages.ErrNilContext)
		assert.ErrorIs(t, fresh.Close(none), messages.ErrNilContext)
	})
}

// testNilConnection tests that a connect which returns none has failed.
func testNilConnection[C any](t *testing.T, kind string, none C) {
	t.Run(kind, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, err := client.New(client.Config[C]{
				Connect: func(context.Context) (C, error) { return none, nil }, Disconnect: client.NoDisconnect[C],
			})
			require.NoError(t, err)
			_, err = p.Get(ctx)
			assert.ErrorIs(t, err, messages.ErrConnectFailed)
			assert.ErrorIs(t, err, messages.ErrNilConnection)
			assert.Zero(t, p.Stats().Open)
			require.NoError(t, p.Close(ctx))
		})
	})
}

func TestANilConnectionIsAFailedConnect(t *testing.T) {
	testNilConnection[*testkit.Conn](t, "pointer", nil)
	testNilConnection[io.Closer](t, "interface", nil)
	testNilConnection[io.Closer](t, "pointer in an interface", (*testkit.Conn)(nil))
	testNilConnection[any](t, "anything", nil)
	testNilConnection[map[string]int](t, "map", nil)
	testNilConnection[[]byte](t, "slice", nil)
	testNilConnection[chan int](t, "channel", nil)
	testNilConnection[func()](t, "function", nil)
}

func TestAConnectionCanBeAPlainValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := client.New(client.Config[int]{
			Connect: func(context.Context) (int, error) { return 0, nil }, Disconnect: client.NoDisconnect[int],
		})
		require.NoError(t, err)
		l, err := p.Get(ctx)
		require.NoError(t, err)
		assert.Zero(t, l.Conn())
		require.NoError(t, l.Put())
		require.NoError(t, p.Close(ctx))
	})
}

func TestTheConfigIsCopied(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		cfg := w.Config(testkit.Capacity(3))
		p := w.Spawn(cfg)
		cfg.Connect, cfg.Capacity = nil, 1
		testkit.Fill(t, p, 3)
		testkit.Close(t, p)
	})
}
