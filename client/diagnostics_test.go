package client_test

import (
	"bytes"
	"context"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
)

func TestAProfileNamesThePoolAndWhatItsConnectorsDo(t *testing.T) {
	seen := map[string]string{} // by phase; written by one connector at a time
	look := func(phase string) {
		var profile bytes.Buffer
		assert.NoError(t, pprof.Lookup("goroutine").WriteTo(&profile, 1))
		seen[phase] = profile.String()
	}
	server := testkit.NewServer(t)
	p, err := client.New(testkit.Config{
		Name: "ledger", Capacity: 1,
		Connect:        func(ctx context.Context) (*testkit.Conn, error) { look("connect"); return server.Connect(ctx) },
		Check:          func(context.Context, *testkit.Conn) error { look("check"); return nil },
		CheckAfterIdle: 1,
		Reset:          func(context.Context, *testkit.Conn) error { look("reset"); return nil },
		Apply:          func(context.Context, *testkit.Conn, any) error { look("apply"); return nil },
		Unapply:        func(context.Context, *testkit.Conn) error { look("unapply"); return nil },
		Disconnect:     func(context.Context, *testkit.Conn) error { look("disconnect"); return nil },
	})
	require.NoError(t, err)
	for _, setting := range []any{nil, "red", nil} {
		for p.Stats().Open > p.Stats().Idle { // it is being reset
			runtime.Gosched()
		}
		l, err := p.GetWith(ctx, client.GetOptions{Setting: setting})
		require.NoError(t, err)
		testkit.Put(t, l)
	}
	require.NoError(t, p.Close(ctx))
	for _, phase := range []string{"connect", "check", "reset", "apply", "unapply", "disconnect"} {
		assert.Contains(t, seen[phase], `{"actorpool":"ledger", "phase":"`+phase+`"}`)
	}
}

func TestAnExecutionTraceNamesWaitsConnectsAndUses(t *testing.T) {
	if trace.IsEnabled() {
		t.Skip("the tests are being traced")
	}
	s := testkit.NewServer(t)
	p, err := client.New(testkit.Config{Name: "ledger", Connect: s.Connect})
	require.NoError(t, err)
	var recorded bytes.Buffer
	require.NoError(t, trace.Start(&recorded))
	err = p.Do(ctx, func(context.Context, *testkit.Conn) error { return nil })
	trace.Stop()
	require.NoError(t, err)
	require.NoError(t, p.Close(ctx))
	for _, region := range []string{"actorpool ledger: wait", "actorpool ledger: connect", "actorpool ledger: use"} {
		assert.Contains(t, recorded.String(), region)
	}
}
