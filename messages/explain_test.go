package messages_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/actorpool/actorpool/messages"
)

// E11
func TestAnAgeThatIsTheLeastOneSaysSo(t *testing.T) {
	exact := messages.Holder{ConnID: 1, Label: "import", Age: 26 * time.Second}
	least := messages.Holder{ConnID: 2, Age: 27 * time.Second, AtLeast: true}
	unknown := messages.Holder{ConnID: 3, AtLeast: true}
	assert.Equal(t, `"import" (connection 1, 26s)`, exact.String())
	assert.Equal(t, "unlabelled (connection 2, at least 27s)", least.String())
	assert.Equal(t, "unlabelled (connection 3, age unknown)", unknown.String())

	text := func(holders ...messages.Holder) string {
		return (&messages.GetError{Pool: "orders", Stats: busy, Holders: holders, Err: context.Canceled}).Error()
	}
	const before = `actorpool "orders": no connection: context canceled (capacity 8: 8 borrowed, 12 waiting`
	assert.Equal(t, before+"; longest: connection 2 for at least 27s)", text(exact, least, unknown))
	assert.Equal(t, before+`; longest: "import" for 26s)`, text(unknown, exact))
	assert.Equal(t, before+")", text(unknown), "nothing is known")
	assert.Equal(t, before+`; longest: "import" for 0s)`, text(unknown, messages.Holder{ConnID: 1, Label: "import"}))
	drain := &messages.DrainError{Op: "close", Stats: busy, Holders: []messages.Holder{unknown}, Err: context.Canceled}
	assert.Equal(t, `actorpool "orders": close not finished: context canceled (capacity 8: 8 borrowed, 12 waiting)`, drain.Error())
}

func TestAWaiterSaysHowLongItWillWait(t *testing.T) {
	w := messages.Waiter{Label: "login", Waited: time.Second, Borrower: "local/a", Left: 4 * time.Second}
	assert.Equal(t, `"login" (1s, actor local/a, 4s left)`, w.String())
	w.Left = -1
	assert.Equal(t, `"login" (1s, actor local/a, no time left)`, w.String())
}

// E10
func TestAnExplanationEndsWithTheLastEventsOneALine(t *testing.T) {
	at := moment.Add
	e := messages.Explanation{Recent: []messages.Event{
		{Kind: messages.PoolCreated, Time: at(0), To: 8},
		{Kind: messages.PoolReady, Time: at(0)},
		{Kind: messages.ConnectionReady, Time: at(12 * time.Millisecond), ConnID: 1, Duration: 12 * time.Millisecond},
		{Kind: messages.ConnectionClosed, Time: at(time.Second), ConnID: 1, Reason: messages.ReasonIdle},
		{Kind: messages.CapacityChanged, Time: at(time.Second), From: 8},
		{Kind: messages.PoolCleared, Time: at(2 * time.Second), Generation: 1, Err: errors.New("a\nb")},
		{Kind: messages.PoolBackoff, Time: at(3 * time.Second), Attempt: 2, Duration: time.Second, Err: errors.New(strings.Repeat("x", 100))},
		{Kind: messages.CheckOutFailed, Time: at(4 * time.Second), Label: "login", Reason: messages.ReasonTimeout, Duration: time.Second, Err: context.Canceled},
	}}
	assert.True(t, strings.HasSuffix(e.String(), `
recent events:
  00:00:00.000 PoolCreated capacity 8
  00:00:00.000 PoolReady
  00:00:00.012 ConnectionReady connection 1 12ms
  00:00:01.000 ConnectionClosed connection 1 idle
  00:00:01.000 CapacityChanged from 8 to 0
  00:00:02.000 PoolCleared generation 1: a; b
  00:00:03.000 PoolBackoff attempt 2 1s: `+strings.Repeat("x", 40)+"…"+strings.Repeat("x", 39)+`
  00:00:04.000 CheckOutFailed "login" timeout 1s: context canceled
`), e.String())

	for len(e.Recent) < 20 {
		e.Recent = append(e.Recent, messages.Event{Kind: messages.PoolReady, Time: at(time.Minute)})
	}
	assert.Contains(t, e.String(), "\nrecent events:\n  4 earlier ones\n  00:00:01.000 CapacityChanged")
	assert.Equal(t, 16, strings.Count(e.String(), ".000 "))
}
