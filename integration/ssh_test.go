package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/messages"
)

func needSSH(t *testing.T) *servers.SSH {
	t.Helper()
	server, err := sshOnce()
	s := need(t, server, err)
	eventually(t, func() error {
		n, err := s.Connections()
		return errors.Join(err, equal("connections", n, 0))
	})
	return s
}

// sshConfig is a pool of logins. A context ends what it bounds by closing the
// connection, since the protocol's library knows no contexts.
func sshConfig(s *servers.SSH, key ssh.Signer) client.Config[*ssh.Client] {
	login := &ssh.ClientConfig{
		User:            s.User,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: ssh.FixedHostKey(s.HostKey),
	}
	return client.Config[*ssh.Client]{
		Connect: func(ctx context.Context) (*ssh.Client, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", s.Address)
			if err != nil {
				return nil, err
			}
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			c, channels, requests, err := ssh.NewClientConn(conn, s.Address, login)
			if !stop() {
				err = errors.Join(ctx.Err(), err)
			}
			if err != nil {
				_ = conn.Close()
				return nil, err
			}
			return ssh.NewClient(c, channels, requests), nil
		},
		Disconnect: func(_ context.Context, c *ssh.Client) error {
			err := c.Close()
			_ = c.Wait()
			return err
		},
		Check: func(ctx context.Context, c *ssh.Client) error {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			_, _, err := c.SendRequest("keepalive@openssh.com", true, nil)
			return err
		},
		Capacity: 3,
		// Half of a server that is killed in a handshake may live on, and is silent.
		ConnectTimeout: 2 * time.Second,
		Backoff:        client.Backoff{Base: 20 * time.Millisecond, Cap: backoffCap},
	}
}

// run runs a command that prints word.
func run(word string) func(context.Context, *ssh.Client) error {
	return func(ctx context.Context, c *ssh.Client) error {
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		defer stop()
		session, err := c.NewSession()
		if err != nil {
			return err
		}
		defer session.Close()
		out, err := session.Output("echo " + word)
		if err != nil {
			return fmt.Errorf("echo: %w", err)
		}
		return equal("output", strings.TrimSpace(string(out)), word)
	}
}

func TestSSHUnderLoad(t *testing.T) {
	s := needSSH(t)
	pool, _ := start(t, sshConfig(s, s.Key))
	l := startLoad(t, 6, patience, func(ctx context.Context, worker int) error {
		return pool.Do(ctx, run(fmt.Sprint("worker", worker)))
	})
	l.progress(t, 5)
	l.halt()
	assert.Empty(t, l.failures())
	assert.LessOrEqual(t, pool.Stats().Connects, uint64(3))
	agrees(t, pool, s.Connections)

	err := pool.Do(within(t, patience), func(_ context.Context, c *ssh.Client) error {
		session, err := c.NewSession()
		if err != nil {
			return err
		}
		defer session.Close()
		return session.Run("exit 3")
	})
	var exit *ssh.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Zero(t, pool.Stats().Taints, "the command failed, not the connection")

	require.NoError(t, pool.Close(within(t, patience)))
	agrees(t, pool, s.Connections)
}

// The server's processes are killed, of logins that nobody uses.
func TestSSHKilled(t *testing.T) {
	s := needSSH(t)
	cfg := sshConfig(s, s.Key)
	cfg.CheckAfterIdle = time.Nanosecond
	cfg.MinIdle = 3
	pool, ledger := start(t, cfg)
	require.NoError(t, pool.Ready(within(t, patience)))
	agrees(t, pool, s.Connections)
	n, err := s.Kill()
	require.NoError(t, err)
	require.Equal(t, 3, n)
	borrowAll(t, pool, run("again"))
	assert.Zero(t, pool.Stats().Backoffs)
	assert.Empty(t, ledger.of(messages.CheckOutFailed))

	agrees(t, pool, s.Connections)
}

// A key that the server does not know.
func TestSSHRefusesKey(t *testing.T) {
	s := needSSH(t)
	stranger, err := servers.NewKey()
	require.NoError(t, err)
	pool, _ := start(t, sshConfig(s, stranger))
	_, err = pool.Get(within(t, patience))
	require.ErrorIs(t, err, messages.ErrConnectFailed)
	assert.ErrorContains(t, err, "unable to authenticate")
	assert.EqualValues(t, 1, pool.Stats().Backoffs)

	other := sshConfig(s, s.Key)
	other.Connect = sshConfig(&servers.SSH{Address: s.Address, User: s.User, HostKey: stranger.PublicKey()}, s.Key).Connect
	pool, _ = start(t, other)
	_, err = pool.Get(within(t, patience))
	require.ErrorIs(t, err, messages.ErrConnectFailed)
	assert.ErrorContains(t, err, "host key mismatch")
}
