package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// bound is how long a server may take to start or to stop.
const bound = 30 * time.Second

// Server is a server with an address and a temporary folder of its own. Program, Args and
// Ping are set before the first Start.
type Server struct {
	// Address is where the server listens.
	Address string
	// Dir is the server's folder. The server runs in it, and its output is there.
	Dir string

	// Program is the file that is run.
	Program string
	// Args are the program's arguments.
	Args []string
	// Ping asks the server for an answer. nil: it has answered.
	Ping func(ctx context.Context) error

	account *account
	process *process
}

// New makes a folder with this name in its name, and finds a free address. If the tests run as
// root, the server runs as the user own, or as nobody where there is no such user. Empty: the
// server runs as the same user as the tests.
func New(name, own string) (_ *Server, err error) {
	s := &Server{}
	if own != "" {
		if s.account, err = unprivileged(own); err != nil {
			return nil, err
		}
	}
	if s.Dir, err = os.MkdirTemp("", "actorpool-"+name+"-"); err != nil {
		return nil, err
	}
	defer CloseOnError(&err, s)
	if err = s.Own(s.Dir); err != nil {
		return nil, err
	}
	if s.Address, err = FreeAddress(); err != nil {
		return nil, err
	}
	return s, nil
}

// FreeAddress returns an address of the loopback interface on which nothing listens.
// Its port is below those that the system uses for outgoing connections, so that it
// stays free while a server is stopped.
func FreeAddress() (string, error) {
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+rand.IntN(20000)))); err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", err
}

// Port returns the port of the address.
func (s *Server) Port() string {
	_, port, _ := net.SplitHostPort(s.Address)
	return port
}

// Path returns the path of a file in the server's folder.
func (s *Server) Path(name string) string { return filepath.Join(s.Dir, name) }

// Own makes the user that the server runs as the owner of a file or a folder.
func (s *Server) Own(path string) error {
	if s.account == nil {
		return nil
	}
	return os.Chown(path, s.account.uid, s.account.gid)
}

// Run runs a program as the server runs, and waits for its end.
func (s *Server) Run(program string, args ...string) error {
	if out, err := s.command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, out)
	}
	return nil
}

// command prepares a command with an environment of its own.
func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = s.Dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir, "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = attributes(s.account)
	return cmd
}

// Start starts the server, always at the same address, and waits until it answers.
func (s *Server) Start() (err error) {
	if s.process, err = start(s.command(s.Program, s.Args...), s.Path("log")); err != nil {
		return err
	}
	return s.Until(bound, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return s.Ping(ctx)
	})
}

// Listens connects to the server: a Ping for one of which no more is asked.
func (s *Server) Listens(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Until waits until f returns nil. It gives up after a time, and when the server has ended.
func (s *Server) Until(bound time.Duration, f func() error) error { return s.process.until(bound, f) }

// Log returns what the server has written so far.
func (s *Server) Log() (string, error) {
	text, err := os.ReadFile(s.Path("log"))
	return string(text), err
}

// Signal signals the server and does not wait.
func (s *Server) Signal(sig os.Signal) error { return s.process.cmd.Process.Signal(sig) }

// Stop signals the server and waits until it has ended. What it has started may go on.
func (s *Server) Stop(sig os.Signal) error { return s.process.stop(sig) }

// Kill ends the server at once, as a crash does.
func (s *Server) Kill() error { return s.Stop(os.Kill) }

// Close kills the server and removes its folder.
func (s *Server) Close() error {
	var err error
	if s.process != nil {
		err = s.Kill()
	}
	return errors.Join(err, os.RemoveAll(s.Dir))
}

// CloseOnError closes a server if err points to an error. A function that makes a server
// defers it.
func CloseOnError(err *error, server io.Closer) {
	if *err != nil {
		_ = server.Close()
	}
}
