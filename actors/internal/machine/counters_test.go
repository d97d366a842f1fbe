package machine

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

// Every counter is in the Stats, under its own name.
func TestEveryCounterIsInTheStats(t *testing.T) {
	var c counters
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("note")
		case reflect.Int64:
			f.SetInt(int64(i + 1))
		default:
			f.SetUint(uint64(i + 1))
		}
	}
	st := c.stats()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		require.Equal(t, v.Field(i).Interface(), reflect.ValueOf(st).FieldByName(name).Interface(), name)
	}
	require.IsType(t, messages.Stats{}, st)
}

// A MinIdle that is set later counts wherever one counts that was configured, and the shared
// Config stays as it is.
func TestSetMinIdleIsAsIfItHadBeenConfigured(t *testing.T) {
	for _, n := range [][2]int{{0, 2}, {2, 0}, {1, 2}} {
		shared := Config{Capacity: 4, MinIdle: n[0], IdleTimeout: time.Minute, Coarse: true, MaxConnecting: 1, ConnectTimeout: time.Second}
		whole := shared
		whole.MinIdle = n[1]
		m, other := NewShared(&shared), New(whole)
		m.Start(0)
		require.NoError(t, m.SetMinIdle(time.Second, n[1]))
		require.Equal(t, other.NeedsClock(), m.NeedsClock(), "%v", n)
		require.Equal(t, other.timers.coarseTick, m.timers.coarseTick, "%v", n)
		require.Equal(t, other.timers.coarseWhile, m.timers.coarseWhile, "%v", n)
		require.Equal(t, *other.cfg, *m.cfg, "%v", n)
		require.Equal(t, n[0], shared.MinIdle)
	}
}
