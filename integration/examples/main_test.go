//go:build unix

package examples

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/internal/testkit"
)

const (
	// longTimeout is how long a test waits for something that must happen. Only a test that
	// fails takes so long.
	longTimeout = 30 * time.Second
	// bound is the time within which a program without a server ends: its own timeouts, and
	// some time for a busy machine.
	bound = 15 * time.Second
)

// folder is the folder for the compiled programs.
var folder string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if folder, err = os.MkdirTemp("", "actorpool-examples-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		return m.Run()
	}())
}

// build compiles the programs, once, with the race detector if the tests use it.
var build = sync.OnceValue(func() error {
	args := []string{"build", "-o", folder + string(filepath.Separator)}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "-race" && setting.Value == "true" {
				args = append(args, "-race")
			}
		}
	}
	cmd := exec.Command("go", append(args, "./ldap", "./postgres", "./redis", "./shop", "./smtp", "./ssh")...)
	cmd.Dir = filepath.Join("..", "..", "examples")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
})

// need closes the server when the test ends. If it could not be started, the test ends now.
func need(t *testing.T, server interface{ Close() error }, err error) {
	t.Helper()
	servers.Require(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Close()) })
}

// program is an example that is running.
type program struct {
	cmd    *exec.Cmd
	out    output
	begun  time.Time
	ended  chan struct{}
	result error
}

// output is what a program has printed so far.
type output struct {
	lock sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.lock.Lock()
	defer o.lock.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.lock.Lock()
	defer o.lock.Unlock()
	return o.text.String()
}

// run starts a program with these arguments and additional variables in its environment, each
// written "NAME=value". Variables of the tests' own environment that are about servers are
// removed.
func run(t *testing.T, variables []string, name string, args ...string) *program {
	t.Helper()
	require.NoError(t, build())
	p := &program{cmd: exec.Command(filepath.Join(folder, name), args...), ended: make(chan struct{})}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PG") && !strings.HasPrefix(variable, "DATABASE_URL=") && !strings.HasPrefix(variable, "REDIS_URL=") {
			p.cmd.Env = append(p.cmd.Env, variable)
		}
	}
	p.cmd.Env = append(p.cmd.Env, variables...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.begun = time.Now()
	require.NoError(t, p.cmd.Start())
	go func() {
		p.result = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s printed:\n%s", name, p.out.String())
		}
	})
	return p
}

// prints waits until the program has printed each of the texts so many times.
func (p *program) prints(t *testing.T, times int, texts ...string) {
	t.Helper()
	testkit.Eventually(t, func() error {
		for _, text := range texts {
			if n := strings.Count(p.out.String(), text); n < times {
				return fmt.Errorf("printed %q %d times of %d", text, n, times)
			}
		}
		return nil
	})
}

func (p *program) interrupt(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
}

// hasEnded waits no longer than this for the program's end.
func (p *program) hasEnded(within time.Duration) bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(within):
		return false
	}
}

// ends waits for the program's end, and returns its exit code and its output.
func (p *program) ends(t *testing.T, within time.Duration) (code int, out string) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // prints its goroutines
		<-p.ended
		require.FailNow(t, "still running", "after %v", within)
	}
	var exit *exec.ExitError
	if p.result != nil && !errors.As(p.result, &exit) {
		require.NoError(t, p.result)
	}
	out = p.out.String()
	assert.NotContains(t, out, "DATA RACE")
	assert.NotContains(t, out, "panic:")
	return p.cmd.ProcessState.ExitCode(), out
}

// failsWithoutServer checks that a program without a server ends in time, and prints why.
func failsWithoutServer(t *testing.T, variables []string, name string, args []string, why ...string) {
	t.Helper()
	p := run(t, variables, name, args...)
	code, out := p.ends(t, bound)
	assert.Equal(t, 1, code)
	for _, text := range append(why, name+`: actorpool "`+name+`": connect failed: `) {
		assert.Contains(t, out, text)
	}
	assert.NotContains(t, out, "secret", "a password in the output")
}

// silentServer returns the address of a server that accepts connections and sends nothing.
func silentServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	return l.Addr().String()
}

// unusedAddress returns an address on which no server listens.
func unusedAddress(t *testing.T) string {
	t.Helper()
	address, err := servers.FreeAddress()
	require.NoError(t, err)
	return address
}

// within returns a context with a timeout, for one step of a test.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
