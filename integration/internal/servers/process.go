//go:build unix

package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startBound is how long a server may take to start or to stop.
const startBound = 30 * time.Second

// MissingError says that a program is not installed, and which package of Debian and
// Ubuntu contains it.
type MissingError struct{ Program, Package string }

// Error implements error.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not installed: apt-get install %s", e.Program, e.Package)
}

// Require ends a test whose server could not be started. If the server is not installed, the
// test is skipped, except with CI=true. err may be nil.
func Require(t testing.TB, err error) {
	t.Helper()
	var missing *MissingError
	if errors.As(err, &missing) && os.Getenv("CI") != "true" {
		t.Skip(missing)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Missing returns an error for each server that is not installed.
func Missing() []*MissingError {
	var all []*MissingError
	for _, look := range []func() (string, error){findPostgres, findMariaDB, findRedis, findLDAP, findSSH} {
		var missing *MissingError
		if _, err := look(); errors.As(err, &missing) {
			all = append(all, missing)
		}
	}
	return all
}

// find looks for a program in PATH, and then in the folders that match patterns.
func find(program, pkg string, patterns ...string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	path, err := lookup(program, patterns...)
	if err == nil {
		_, err = exec.LookPath(path)
	}
	if err != nil {
		return "", &MissingError{Program: program, Package: pkg}
	}
	return path, nil
}

// lookup looks for a file in the folders that match one of the patterns. Of several
// matches of a pattern it takes the last, which has the highest version.
func lookup(name string, patterns ...string) (string, error) {
	for _, pattern := range patterns {
		if matches, _ := filepath.Glob(filepath.Join(pattern, name)); len(matches) > 0 {
			return matches[len(matches)-1], nil
		}
	}
	return "", fmt.Errorf("no %s in %s", name, strings.Join(patterns, ", "))
}

// account is the user that a server runs as; nil: the same as the tests.
type account struct{ uid, gid int }

// unprivileged finds an account for a server that must not run as root: the one named
// own, or nobody.
func unprivileged(own string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{own, "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, err1 := strconv.Atoi(u.Uid)
			gid, err2 := strconv.Atoi(u.Gid)
			return &account{uid, gid}, errors.Join(err1, err2)
		}
	}
	return nil, fmt.Errorf("neither %s nor nobody is a user here", own)
}

// folder makes a temporary folder that the account owns.
func folder(name string, a *account) (string, error) {
	dir, err := os.MkdirTemp("", "actorpool-"+name+"-")
	if err != nil || a == nil {
		return dir, err
	}
	return dir, os.Chown(dir, a.uid, a.gid)
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

// port returns the port of an address.
func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// process is the process of a server. Its output goes to a file: a pipe would stay open
// until the last of its child processes ends, and Wait would wait for that.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// command prepares a command that runs in dir as the account, with an environment of
// its own.
func command(a *account, dir, path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = attributes()
	if a != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return cmd
}

// start starts a server. It does not wait until the server is ready.
func start(a *account, dir, path string, args ...string) (*process, error) {
	p := &process{cmd: command(a, dir, path, args...), log: filepath.Join(dir, "log"), done: make(chan struct{})}
	output, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	p.cmd.Stdout, p.cmd.Stderr = output, output
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	return p, nil
}

// Runs is the name of the function in which a goroutine stays while a server runs. A
// check for leaked goroutines ignores it.
const Runs = "github.com/actorpool/actorpool/integration/internal/servers.(*process).run"

// run starts the server and waits for its end. It stays on one thread, because Linux
// kills the server (see attributes) when the thread that started it ends.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		_ = p.cmd.Wait()
		close(p.done)
	}
}

// stop signals the server and waits until it has ended.
func (p *process) stop(sig os.Signal) error {
	_ = p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
		return nil
	case <-time.After(startBound):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not end within %v of %v; %s", p.cmd.Path, startBound, sig, p.tail())
	}
}

// serves waits until ping succeeds, or the process has ended.
func (p *process) serves(ping func() error) error {
	deadline := time.Now().Add(startBound)
	for {
		err := ping()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended: %v; %s", p.cmd.Path, p.cmd.ProcessState, p.tail())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not serve after %v: %w; %s", p.cmd.Path, startBound, err, p.tail())
		}
	}
}

// tail returns the last lines of the log.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "its log ends: " + strings.Join(lines[max(0, len(lines)-10):], "\n")
}
