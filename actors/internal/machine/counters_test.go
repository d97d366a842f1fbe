package machine

import (
	"reflect"
	"testing"

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
