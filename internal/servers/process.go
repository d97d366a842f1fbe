package servers

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// process is the process of a server. Its output goes to a file: a pipe would stay open
// until the last of its child processes ends, and Wait would wait for that.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// start starts a server, whose output is appended to the file log. It does not wait until
// the server is ready.
func start(cmd *exec.Cmd, log string) (*process, error) {
	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	output, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	p.cmd.Stdout, p.cmd.Stderr = output, output
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	return p, nil
}

// Runs is the name of the function in which a goroutine stays while a server runs. A
// check for leaked goroutines ignores it.
const Runs = "github.com/actorpool/actorpool/internal/servers.(*process).run"

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
	case <-time.After(bound):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not end within %v of %v; %s", p.cmd.Path, bound, sig, p.tail())
	}
}

// until waits until f returns nil. It gives up when the process has ended.
func (p *process) until(bound time.Duration, f func() error) error {
	deadline := time.Now().Add(bound)
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended with %v: %w; %s", p.cmd.Path, p.cmd.ProcessState, err, p.tail())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s, after %v: %w; %s", p.cmd.Path, bound, err, p.tail())
		}
	}
}

// tail returns the last lines of the log.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "its log ends: " + strings.Join(lines[max(0, len(lines)-10):], "\n")
}
