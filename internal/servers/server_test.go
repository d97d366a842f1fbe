//go:build unix

package servers

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The tests' own program is the server: it listens on the address that is its last argument.
func TestMain(m *testing.M) {
	switch os.Args[1] {
	case "serve":
		fmt.Println("it starts")
		l, err := net.Listen("tcp", os.Args[2])
		for err == nil {
			_, err = l.Accept()
		}
		os.Exit(1)
	case "end":
		fmt.Println("this is why")
		os.Exit(3)
	}
	goleak.VerifyTestMain(m)
}

// made makes a server that the test closes.
func made(t *testing.T, what string) *Server {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	s, err := New("test", "")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	s.Program, s.Args, s.Ping = program, []string{what, s.Address}, s.Listens
	return s
}

func TestAServerStopsAndStartsAtTheSameAddress(t *testing.T) {
	s := made(t, "serve")
	for i, end := range []func() error{
		func() error { return s.Stop(syscall.SIGTERM) },
		s.Kill,
		s.Close,
	} {
		require.NoError(t, s.Start())
		text, err := s.Log()
		require.NoError(t, err)
		assert.Regexp(t, fmt.Sprintf(`^(it starts\n){%d}$`, i+1), text)
		require.NoError(t, s.Listens(t.Context()))
		require.NoError(t, end())
		require.ErrorIs(t, s.Listens(t.Context()), syscall.ECONNREFUSED)
	}
	assert.NoDirExists(t, s.Dir)
	assert.NoError(t, s.Close(), "it is closed already")
}

func TestAServerThatEndsSaysWhy(t *testing.T) {
	s := made(t, "end")
	begun := time.Now()
	err := s.Start()
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.ErrorContains(t, err, "has ended with exit status 3")
	require.ErrorContains(t, err, "its log ends: this is why")
	assert.Less(t, time.Since(begun), bound/2, "it does not wait for an answer any more")
	CloseOnError(&err, s)
	assert.NoDirExists(t, s.Dir)
}

func TestAProgramThatCannotBeStartedIsAnError(t *testing.T) {
	s := made(t, "serve")
	s.Program = s.Path("none")
	require.ErrorContains(t, s.Start(), "starting "+s.Program)
	var failed *exec.ExitError
	require.ErrorAs(t, s.Run("/bin/sh", "-c", "echo no; false"), &failed)
	require.EqualError(t, s.Run("/bin/sh", "-c", "echo no; false"), "sh: exit status 1: no\n")
}

func TestUntilGivesUp(t *testing.T) {
	s := made(t, "serve")
	require.NoError(t, s.Start())
	no := errors.New("not yet")
	n := 0
	require.NoError(t, s.Until(bound, func() error {
		if n++; n < 3 {
			return no
		}
		return nil
	}))
	assert.Equal(t, 3, n)
	require.ErrorIs(t, s.Until(50*time.Millisecond, func() error { return no }), no)
}

// outcome is a test that ends in one of two ways.
type outcome struct {
	testing.TB
	is string
}

func (o *outcome) Helper()      {}
func (o *outcome) Skip(...any)  { o.is = "skipped"; panic(o) }
func (o *outcome) Fatal(...any) { o.is = "failed"; panic(o) }

func TestAMissingServerIsASkipOrWithCIAFailure(t *testing.T) {
	missing := fmt.Errorf("wrapped: %w", &MissingError{"server", "server-package"})
	for _, c := range []struct {
		ci   string
		err  error
		want string
	}{
		{"", nil, ""}, {"true", nil, ""},
		{"", missing, "skipped"}, {"true", missing, "failed"},
		{"", errors.New("it does not start"), "failed"},
	} {
		t.Setenv("CI", c.ci)
		var o outcome
		func() {
			defer func() { _ = recover() }()
			Require(&o, c.err)
		}()
		assert.Equal(t, c.want, o.is, "%+v", c)
	}
}

// Only a server of a user of its own needs another one than root.
func TestAServerOfAnotherUserDoesNotRunAsRoot(t *testing.T) {
	s, err := New("test", "no such user")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	require.NoError(t, s.Run("/bin/sh", "-c", `test "$(id -u)" != 0 && echo x > file`), "it writes into its folder")
}
