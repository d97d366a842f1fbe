//go:build unix

package servers

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSH is an OpenSSH server which lets one user in with one key: the user that
// runs it.
type SSH struct {
	// Address is where the server listens.
	Address string
	// User and Key open the door.
	User string
	Key  ssh.Signer
	// HostKey is the server's.
	HostKey ssh.PublicKey

	dir     string
	path    string
	made    string // a folder that the server wants and that was not there
	process *process
}

const sshdConfig = `
ListenAddress %s
HostKey %s
AuthorizedKeysFile %s
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes

MaxStartups 100:30:200
LogLevel ERROR
`

// StartSSH starts a server.
func StartSSH() (_ *SSH, err error) {
	s := &SSH{}
	if s.path, err = find("sshd", "openssh-server", "/usr/sbin", "/usr/local/sbin"); err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	s.User = me.Username
	if s.dir, err = folder("sshd", nil); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if os.Geteuid() == 0 {
		// As root it separates privileges, and wants an empty folder for that.
		const separation = "/run/sshd"
		if err = os.Mkdir(separation, 0o755); err == nil {
			s.made = separation
		} else if !errors.Is(err, os.ErrExist) {
			return nil, err
		}
	}
	host, err := s.key("host")
	if err != nil {
		return nil, err
	}
	s.HostKey = host.PublicKey()
	if s.Key, err = s.key("user"); err != nil {
		return nil, err
	}
	authorized := filepath.Join(s.dir, "authorized_keys")
	if err = os.WriteFile(authorized, ssh.MarshalAuthorizedKey(s.Key.PublicKey()), 0o600); err != nil {
		return nil, err
	}
	if s.Address, err = FreeAddress(); err != nil {
		return nil, err
	}
	config := filepath.Join(s.dir, "config")
	text := fmt.Sprintf(sshdConfig, s.Address, filepath.Join(s.dir, "host"), authorized)
	if err = os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	// It insists on an absolute path, since it starts itself anew.
	if s.process, err = start(nil, s.dir, s.path, "-D", "-e", "-f", config); err != nil {
		return nil, err
	}
	return s, s.process.serves(func() error {
		conn, err := net.DialTimeout("tcp", s.Address, time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// key makes a key and writes it into the folder.
func (s *SSH) key(name string) (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, name)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}

// NewKey makes a key that no server knows.
func NewKey() (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}

// Connections says how many connections the server serves: it has a process for
// each.
func (s *SSH) Connections() (int, error) {
	own, _, err := children(s.process.cmd.Process.Pid)
	return len(own), err
}

// Kill kills the processes that serve connections, and says how many there were.
func (s *SSH) Kill() (int, error) {
	own, all, err := children(s.process.cmd.Process.Pid)
	if os.Geteuid() == 0 {
		all = own // a login of root has one process; others have one that watches another
	}
	for _, pid := range all {
		if e := syscall.Kill(pid, syscall.SIGKILL); e != nil && !errors.Is(e, syscall.ESRCH) {
			err = errors.Join(err, e)
		}
	}
	return len(own), err
}

// Close stops the server and removes its folder.
func (s *SSH) Close() error {
	var err error
	if s.process != nil {
		_, err = s.Kill()
		err = errors.Join(err, s.process.stop(syscall.SIGTERM))
	}
	if s.made != "" {
		err = errors.Join(err, os.Remove(s.made))
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
