package machine

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The lines of 64 bytes on which the fields lie that TryLend and the short way of TryPut
// touch, counted from the beginning of the struct.
func TestTheHotFieldsLieOnFewLines(t *testing.T) {
	for _, c := range []struct {
		of     any
		fields string
		lines  int
	}{
		{Machine{}, "now fastPath shortPath savesClock opts.needsClock count lists.idle", 2},
		{Machine{}, "queue.n cfg timings.untilTimed counters.Gets counters.Grants counters.Puts", 5},
		{Waiter{}, "prev next groupPrev groupNext group since waited queued waits position slot held Borrower Deadline Label", 2},
		{Slot{}, "ID LeaseEpoch Conn prev next since state Path exactSince annotated label wait quickUntil timedEpoch group", 2},
	} {
		lines := map[uintptr]bool{}
		for field := range strings.FieldsSeq(c.fields) {
			of, offset := reflect.TypeOf(c.of), uintptr(0)
			for name := range strings.SplitSeq(field, ".") {
				f, ok := of.FieldByName(name)
				require.True(t, ok, field)
				of, offset = f.Type, offset+f.Offset
			}
			for line := offset / 64; line <= (offset+of.Size()-1)/64; line++ {
				lines[line] = true
			}
		}
		assert.Len(t, lines, c.lines, "%T: %s", c.of, c.fields)
	}
}
