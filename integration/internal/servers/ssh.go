//go:build unix

package servers

import (
	"bufio"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSH is an SSH server, OpenSSH's sshd, for the user that runs the tests. Commands run without
// the user's own settings of the shell.
type SSH struct {
	// Address is where the server listens.
	Address string
	// User is the only user who may log in.
	User string
	// Key is the file with the user's private key.
	Key string
	// KnownHosts is the file with the server's public key.
	KnownHosts string

	path    string
	dir     string
	args    []string
	process *process
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

func findSSH() (string, error) { return find("sshd", "openssh-server", "/usr/sbin", "/usr/libexec") }

// StartSSH starts a server with additional lines of configuration.
func StartSSH(settings ...string) (_ *SSH, err error) {
	s := &SSH{}
	if s.path, err = findSSH(); err != nil {
		return nil, err
	}
	account, err := user.Current()
	if err != nil {
		return nil, err
	}
	s.User = account.Username
	if s.dir, err = folder("ssh", nil); err != nil {
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
	if os.Geteuid() == 0 {
		// A server that runs as root needs this empty folder; its place is compiled in. It is
		// there on a machine that has started a server since it was booted.
		if err = os.MkdirAll("/run/sshd", 0o755); err != nil {
			return nil, err
		}
	}
	s.Key, s.KnownHosts = filepath.Join(s.dir, "user"), filepath.Join(s.dir, "known_hosts")
	host, err := newKey(filepath.Join(s.dir, "host"))
	if err != nil {
		return nil, err
	}
	conf := strings.NewReplacer("{address}", s.Address, "{dir}", s.dir, "{user}", s.User, "{settings}", strings.Join(settings, "\n"))
	name := filepath.Join(s.dir, "sshd_config")
	if _, err = newKey(s.Key); err != nil {
		return nil, err
	}
	if err = errors.Join(
		os.WriteFile(name, []byte(conf.Replace(sshdConf)), 0o644),
		os.WriteFile(s.KnownHosts, []byte(knownhosts.Line([]string{s.Address}, host)+"\n"), 0o644),
	); err != nil {
		return nil, err
	}
	s.args = []string{"-D", "-e", "-f", name}
	// Since version 9.8 the server refuses a client for a while if its connections have ended
	// badly before. Older versions do not know the option.
	if without := slices.Concat(s.args, []string{"-o", "PerSourcePenalties=no"}); command(nil, s.dir, s.path, append(without, "-t")...).Run() == nil {
		s.args = without
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

// Start starts the server, always at the same address, and waits until it answers.
func (s *SSH) Start() (err error) {
	if s.process, err = start(nil, s.dir, s.path, s.args...); err != nil {
		return err
	}
	return s.process.serves(func() error {
		conn, err := net.DialTimeout("tcp", s.Address, time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(line, "SSH-") {
			return fmt.Errorf("it says %q: %w", line, err)
		}
		return nil
	})
}

// Log returns what the server has logged so far.
func (s *SSH) Log() (string, error) {
	text, err := os.ReadFile(s.process.log)
	return string(text), err
}

// Stop kills the server. Its connections stay: each has a process of its own.
func (s *SSH) Stop() error { return s.process.stop(syscall.SIGKILL) }

// Close stops the server and removes its folder.
func (s *SSH) Close() error {
	var err error
	if s.process != nil {
		err = s.Stop()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
