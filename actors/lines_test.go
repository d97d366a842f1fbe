package actors

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The lines of 64 bytes on which the fields lie that a direct Get and Put touch, counted
// from the beginning of the struct. See docs/benchmarks.md.
func TestTheHotFieldsOfAConnectionLieOnFewLines(t *testing.T) {
	for _, c := range []struct {
		of     any
		fields string
		lines  int
	}{
		{poolConn{}, "fence slot ref epoch id conn taint fromIdle", 2},
		{Ref{}, "phase getsDirectly findsLeaks asksOnPut box pool isClosedConn member reserve process", 1},
		{pool{}, "m life inTurn tellsChanges wakesLater served", 1},
		{mailbox{}, "state sys suspended", 2}, // what the runner owns is on another line on purpose
	} {
		lines := map[uintptr]bool{}
		for name := range strings.FieldsSeq(c.fields) {
			f, ok := reflect.TypeOf(c.of).FieldByName(name)
			require.True(t, ok, name)
			for line := f.Offset / 64; line <= (f.Offset+f.Type.Size()-1)/64; line++ {
				lines[line] = true
			}
		}
		assert.Len(t, lines, c.lines, "%T: %s", c.of, c.fields)
	}
}
