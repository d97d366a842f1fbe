package client_test

import (
	"context"
	"math"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
)

// N1
func TestAPeriodThatMeansNeverIsNever(t *testing.T) {
	eachField(t, reflect.TypeFor[time.Duration](), func(cfg *testkit.Config) {
		cfg.MaxLifetime = max(cfg.MaxLifetime, cfg.MaxLifetimeJitter)
		cfg.Backoff.Cap = max(cfg.Backoff.Cap, cfg.Backoff.Base)
		if cfg.Shed != (client.CoDel{}) {
			cfg.Shed.Interval = math.MaxInt64
		}
	})
}

// N1
func TestANumberThatMeansNoBoundIsNone(t *testing.T) {
	eachField(t, reflect.TypeFor[int](), func(cfg *testkit.Config) {
		cfg.MinIdle, cfg.MinOpen = 0, 0 // that many connections are asked for
	})
}

// eachField gives each field of that type, one after the other, its largest value, and
// uses the pool: time passes while its connection is lent and while it is idle, and a
// Get waits.
func eachField(t *testing.T, typ reflect.Type, makeValid func(*testkit.Config)) {
	t.Helper()
	n := 0
	for _, f := range reflect.VisibleFields(reflect.TypeFor[testkit.Config]()) {
		indexes := [][]int{f.Index}
		if f.Type == reflect.TypeFor[client.CoDel]() || f.Type == reflect.TypeFor[client.Backoff]() {
			indexes = nil
			for _, sub := range reflect.VisibleFields(f.Type) {
				indexes = append(indexes, []int{f.Index[0], sub.Index[0]})
			}
		}
		for _, index := range indexes {
			field := reflect.TypeFor[testkit.Config]().FieldByIndex(index)
			if field.Type != typ {
				continue
			}
			n++
			t.Run(f.Name+"/"+field.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := testkit.NewWorld(t, false)
					w.Server.SetDial(testkit.Delay(time.Second))
					useUnbounded(t, w, w.Pool(testkit.Capacity(1), func(cfg *testkit.Config) {
						cfg.Check = func(context.Context, *testkit.Conn) error { return nil }
						reflect.ValueOf(cfg).Elem().FieldByIndex(index).SetInt(math.MaxInt64)
						makeValid(cfg)
					}))
				})
			})
		}
	}
	require.Greater(t, n, 4)
}

func useUnbounded(t *testing.T, w *testkit.World, p *testkit.Pool) {
	t.Helper()
	l, err := p.Get(context.Background())
	require.NoError(t, err)
	time.Sleep(time.Minute)
	require.NoError(t, l.Put())
	time.Sleep(time.Minute)
	synctest.Wait()
	require.NoError(t, p.SetCapacity(context.Background(), 1))
	l, err = p.Get(context.Background())
	require.NoError(t, err)
	time.AfterFunc(time.Minute, func() { assert.NoError(t, l.Put()) })
	next, err := p.Get(context.Background())
	require.NoError(t, err)
	require.NoError(t, next.Put())
	st := p.Stats()
	assert.Equal(t, 1, w.Server.Dials())
	assert.Equal(t, 1, st.Idle)
	assert.Zero(t, st.Leaks+st.Revoked+st.Sheds+st.Backoffs)
}
