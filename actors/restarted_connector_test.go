package actors_test

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/internal/testkit"
)

// A connector that the library restarts is another value. It holds the connection that
// the one before has held: it closes it when it is asked to, or stopped.
func TestARestartedConnectorKeepsItsConnection(t *testing.T) {
	for _, end := range []string{"taint", "stop"} {
		t.Run(end, func(t *testing.T) {
			testkit.Run(t, func(t *testing.T, w *testkit.World) {
				p := w.Pool(testkit.Capacity(1))
				testkit.Put(t, testkit.Get(t, p))
				connectors := children(w, p)
				require.Len(t, connectors, 1)
				for range 2 { // the second one has its hand from the first
					process, _ := w.System.ProcessRegistry.Get(connectors[0])
					process.SendSystemMessage(connectors[0], &actor.Restart{})
				}
				testkit.Pass(time.Second)
				l := testkit.Get(t, p)
				_, opened, closed := w.Server.Counts()
				assert.Equal(t, []int{1, 0}, []int{opened, closed})
				if end == "taint" {
					require.NoError(t, l.Taint(nil))
				} else {
					w.System.Root.Stop(connectors[0])
				}
				testkit.Pass(time.Second)
				_, _, closed = w.Server.Counts()
				assert.Equal(t, 1, closed)
				assert.Zero(t, p.Stats().Open)
			})
		})
	}
}
