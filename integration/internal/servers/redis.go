//go:build unix

package servers

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/actorpool/actorpool/integration/internal/resp"
)

// Redis is a Redis server that stores nothing on disk.
type Redis struct {
	// Address is where the server listens.
	Address string

	path    string
	dir     string
	args    []string
	process *process
}

func findRedis() (string, error) { return find("redis-server", "redis-server") }

// StartRedis starts a server with additional arguments.
func StartRedis(args ...string) (_ *Redis, err error) {
	s := &Redis{}
	if s.path, err = findRedis(); err != nil {
		return nil, err
	}
	if s.dir, err = folder("redis", nil); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if s.Address, err = FreeAddress(); err != nil {
		return nil, err
	}
	s.args = append([]string{
		"--bind", "127.0.0.1", "--port", port(s.Address), "--dir", s.dir, "--save", "", "--appendonly", "no", "--daemonize", "no",
	}, args...)
	return s, s.Start()
}

// Start starts the server, always at the same address, and waits until it answers.
func (s *Redis) Start() (err error) {
	if s.process, err = start(nil, s.dir, s.path, s.args...); err != nil {
		return err
	}
	return s.process.serves(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn, err := resp.Dial(ctx, s.Address)
		if err != nil {
			return err
		}
		defer conn.Close()
		var refusal resp.Error
		if _, err = conn.Do(ctx, "PING"); errors.As(err, &refusal) && refusal.Code() == "NOAUTH" {
			return nil // it answers; the tests know the password
		}
		return err
	})
}

// Stop kills the server.
func (s *Redis) Stop() error { return s.process.stop(syscall.SIGKILL) }

// Close stops the server and removes its folder.
func (s *Redis) Close() error {
	var err error
	if s.process != nil {
		err = s.Stop()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
