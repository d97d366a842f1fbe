//go:build unix

package servers

import (
	"context"
	"errors"

	"github.com/actorpool/actorpool/integration/internal/resp"
	"github.com/actorpool/actorpool/internal/servers"
)

// Redis is a Redis server that stores nothing on disk.
type Redis struct{ *servers.Server }

func findRedis() (string, error) { return servers.Find("redis-server", "redis-server") }

// StartRedis starts a server with additional arguments.
func StartRedis(args ...string) (_ *Redis, err error) {
	program, err := findRedis()
	if err != nil {
		return nil, err
	}
	server, err := servers.New("redis", "")
	if err != nil {
		return nil, err
	}
	s := &Redis{server}
	defer servers.CloseOnError(&err, s)
	s.Program, s.Ping = program, s.ping
	s.Args = append([]string{
		"--bind", "127.0.0.1", "--port", s.Port(), "--dir", s.Dir, "--save", "", "--appendonly", "no", "--daemonize", "no",
	}, args...)
	return s, s.Start()
}

func (s *Redis) ping(ctx context.Context) error {
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
}
