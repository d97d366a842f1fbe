//go:build unix

package servers

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/actorpool/actorpool/internal/servers"
)

// SSH is an SSH server, OpenSSH's sshd, for the user that runs the tests. Commands run without
// the user's own settings of the shell.
type SSH struct {
	*servers.Server
	// User is the only user who may log in.
	User string
	// Key is the file with the user's private key.
	Key string
	// KnownHosts is the file with the server's public key.
	KnownHosts string
}

const sshdConf = `
ListenAddress {address}
HostKey {dir}/host
AuthorizedKeysFile {dir}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
AllowUsers {user}
SetEnv HOME={dir}
{settings}
`

func findSSH() (string, error) {
	return servers.Find("sshd", "openssh-server", "/usr/sbin", "/usr/libexec")
}

// StartSSH starts a server with additional lines of configuration.
func StartSSH(settings ...string) (_ *SSH, err error) {
	program, err := findSSH()
	if err != nil {
		return nil, err
	}
	account, err := user.Current()
	if err != nil {
		return nil, err
	}
	server, err := servers.New("ssh", "")
	if err != nil {
		return nil, err
	}
	s := &SSH{Server: server, User: account.Username, Key: server.Path("user"), KnownHosts: server.Path("known_hosts")}
	defer servers.CloseOnError(&err, s)
	if os.Geteuid() == 0 {
		// A server that runs as root needs this empty folder; its place is compiled in. It is
		// there on a machine that has started a server since it was booted.
		if err = os.MkdirAll("/run/sshd", 0o755); err != nil {
			return nil, err
		}
	}
	host, err := newKey(s.Path("host"))
	if err != nil {
		return nil, err
	}
	conf := strings.NewReplacer("{address}", s.Address, "{dir}", s.Dir, "{user}", s.User, "{settings}", strings.Join(settings, "\n"))
	name := s.Path("sshd_config")
	if _, err = newKey(s.Key); err != nil {
		return nil, err
	}
	if err = errors.Join(
		os.WriteFile(name, []byte(conf.Replace(sshdConf)), 0o644),
		os.WriteFile(s.KnownHosts, []byte(knownhosts.Line([]string{s.Address}, host)+"\n"), 0o644),
	); err != nil {
		return nil, err
	}
	s.Program, s.Ping, s.Args = program, s.ping, []string{"-D", "-e", "-f", name}
	// Since version 9.8 the server refuses a client for a while if its connections have ended
	// badly before. Older versions do not know the option.
	if without := slices.Concat(s.Args, []string{"-o", "PerSourcePenalties=no"}); s.Run(program, append(without, "-t")...) == nil {
		s.Args = without
	}
	return s, s.Start()
}

// newKey makes a key pair. The public key goes to a file whose name ends in .pub.
func newKey(name string) (ssh.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	return key, errors.Join(
		os.WriteFile(name, pem.EncodeToMemory(block), 0o600),
		os.WriteFile(name+".pub", ssh.MarshalAuthorizedKey(key), 0o644),
	)
}

func (s *SSH) ping(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(line, "SSH-") {
		return fmt.Errorf("it says %q: %w", line, err)
	}
	return nil
}
