//go:build unix

package examples

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/internal/testkit"
)

// TestSSH runs the program in different ways, with one server for each.
func TestSSH(t *testing.T) {
	t.Run("sessions share connections, and logins do not meet", func(t *testing.T) {
		// More than two at once that have not logged in are refused: the program's own, and
		// one whose login the server has not noted yet.
		server := startSSH(t, "MaxStartups 2")
		code, out := run(t, nil, "ssh", arguments(server, "-times", "50", "sleep 0.05; echo hello")...).ends(t, longTimeout)
		assert.Zero(t, code)
		assert.Equal(t, 50, strings.Count(out, "hello\n"))
		assert.Regexp(t, `50 sessions over [23] connections\n`, out) // on a busy machine the third comes too late
		assert.LessOrEqual(t, logged(t, server, "Accepted publickey for "), 3)
		assert.Zero(t, logged(t, server, "MaxStartups"))
	})

	t.Run("a command that fails does not cost its connection", func(t *testing.T) {
		server := startSSH(t)
		code, out := run(t, nil, "ssh", arguments(server, "-times", "20", "exit 3")...).ends(t, longTimeout)
		assert.Equal(t, 1, code)
		assert.Equal(t, 20, strings.Count(out, "Process exited with status 3"))
		assert.Regexp(t, `20 sessions over [123] connections\n`, out)
	})

	t.Run("a connection that ends under a command is replaced", func(t *testing.T) {
		server := startSSH(t)
		once := filepath.Join(t.TempDir(), "once")
		kill := "if mkdir " + once + " 2>&-; then kill -9 $PPID; fi; echo hello"
		code, out := run(t, nil, "ssh", arguments(server, "-times", "20", kill)...).ends(t, longTimeout)
		assert.Equal(t, 1, code)
		assert.Regexp(t, `\nssh: (wait: remote command exited without exit status or exit signal|EOF)\n$`, out) // one error
		assert.Equal(t, 19, strings.Count(out, "hello\n"), "the command is not repeated, and no other is affected")
		assert.Regexp(t, `20 sessions over [234] connections\n`, out)
		assert.LessOrEqual(t, logged(t, server, "Accepted publickey for "), 4)
	})

	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			server := startSSH(t)
			begun := filepath.Join(t.TempDir(), "begun")
			wait := "touch " + begun + "; while kill -0 $PPID; do sleep 0.1; done" // while the connection stands
			p := run(t, nil, "ssh", arguments(server, wait)...)
			testkit.Eventually(t, func() error { _, err := os.Stat(begun); return err })
			require.NoError(t, p.cmd.Process.Signal(sig))
			code, out := p.ends(t, bound)
			assert.Equal(t, 1, code)
			assert.Contains(t, out, "ssh: "+sig.String())
		})
	}

	t.Run("a user without a key", func(t *testing.T) {
		server, other := startSSH(t), startSSH(t)
		failsWithoutServer(t, nil, "ssh", arguments(server, "-key", other.Key), "unable to authenticate")
	})

	t.Run("a server that is not known", func(t *testing.T) {
		server, other := startSSH(t), startSSH(t)
		failsWithoutServer(t, nil, "ssh", arguments(server, "-known", other.KnownHosts), "key is unknown")
	})
}

func TestSSHAbsent(t *testing.T) {
	server := startSSH(t) // has keys for the program
	t.Run("no server listens", func(t *testing.T) {
		failsWithoutServer(t, nil, "ssh", arguments(server, "-address", unusedAddress(t)), "connection refused")
	})
	t.Run("the server does not answer", func(t *testing.T) {
		failsWithoutServer(t, nil, "ssh", arguments(server, "-address", silentServer(t)), "context deadline exceeded")
	})
	t.Run("no key", func(t *testing.T) {
		code, out := run(t, nil, "ssh", arguments(server, "-key", server.KnownHosts)...).ends(t, bound)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "ssh: no key found")
	})
}

func startSSH(t *testing.T, settings ...string) *servers.SSH {
	t.Helper()
	server, err := servers.StartSSH(settings...)
	need(t, server, err)
	return server
}

// arguments returns the arguments for a server, and others, which may replace them.
func arguments(server *servers.SSH, others ...string) []string {
	return append([]string{"-address", server.Address, "-user", server.User, "-key", server.Key, "-known", server.KnownHosts}, others...)
}

// logged returns how many times a text stands in the server's log.
func logged(t *testing.T, server *servers.SSH, text string) int {
	t.Helper()
	log, err := server.Log()
	require.NoError(t, err)
	return strings.Count(log, text)
}
