//go:build unix

package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/actorpool/actorpool/integration/internal/directory"
)

// The suffix of all entries of an LDAP server, and the name and password of its
// administrator.
const (
	LDAPSuffix       = "dc=test"
	LDAPRoot         = "cn=root," + LDAPSuffix
	LDAPRootPassword = "root's"
)

// LDAP is an LDAP server, OpenLDAP's slapd. Every user sees all entries, but only its
// own description. Only the administrator sees cn=Monitor.
type LDAP struct {
	// Address is where the server listens.
	Address string

	dir     string
	account *account
	process *process
}

const slapdConf = `
include {schema}
{modules}
pidfile {dir}/pid
{settings}
database mdb
suffix "` + LDAPSuffix + `"
rootdn "` + LDAPRoot + `"
rootpw "` + LDAPRootPassword + `"
directory {dir}/data
maxsize 16777216
dbnosync
access to attrs=userPassword by anonymous auth by * none
access to attrs=description by self read by * none
access to * by * read
database monitor
access to * by dn.exact="` + LDAPRoot + `" read by * none
`

func findLDAP() (string, error) {
	return find("slapd", "slapd", "/usr/sbin", "/usr/libexec", "/usr/lib/openldap")
}

// StartLDAP starts a server with the entries of an LDIF text and additional lines of
// configuration.
func StartLDAP(ldif string, settings ...string) (_ *LDAP, err error) {
	slapd, err := findLDAP()
	if err != nil {
		return nil, err
	}
	schema, err := lookup("core.schema", "/etc/ldap/schema", "/etc/openldap/schema")
	if err != nil {
		return nil, err
	}
	s := &LDAP{}
	if s.account, err = unprivileged("openldap"); err != nil {
		return nil, err
	}
	if s.dir, err = folder("ldap", s.account); err != nil {
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
	modules := "" // a slapd may have been built without modules
	if module, err := lookup("back_mdb.so", "/usr/lib/ldap", "/usr/lib*/openldap"); err == nil {
		modules = fmt.Sprintf("modulepath %s\nmoduleload back_mdb", filepath.Dir(module))
	}
	// The tests run a copy, because Debian's AppArmor profile lets /usr/sbin/slapd
	// read and write the system's folders only.
	program, err := os.ReadFile(slapd)
	if err != nil {
		return nil, err
	}
	conf := strings.NewReplacer("{schema}", schema, "{modules}", modules, "{dir}", s.dir, "{settings}", strings.Join(settings, "\n"))
	if err = errors.Join(
		os.WriteFile(s.path("slapd"), program, 0o755),
		os.WriteFile(s.path("slapd.conf"), []byte(conf.Replace(slapdConf)), 0o644),
		os.WriteFile(s.path("entries.ldif"), []byte(ldif), 0o644),
		os.Mkdir(s.path("data"), 0o755),
	); err != nil {
		return nil, err
	}
	if s.account != nil {
		if err = os.Chown(s.path("data"), s.account.uid, s.account.gid); err != nil {
			return nil, err
		}
	}
	out, err := command(s.account, s.dir, s.path("slapd"), "-T", "add", "-f", s.path("slapd.conf"), "-l", s.path("entries.ldif")).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("slapadd: %w: %s", err, out)
	}
	return s, s.Start()
}

func (s *LDAP) path(name string) string { return filepath.Join(s.dir, name) }

// Start starts the server, always at the same address, and waits until it answers.
func (s *LDAP) Start() (err error) {
	s.process, err = start(s.account, s.dir, s.path("slapd"), "-d", "0", "-h", "ldap://"+s.Address, "-f", s.path("slapd.conf"))
	if err != nil {
		return err
	}
	return s.process.serves(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		session, err := directory.Dial(ctx, s.Address)
		if err != nil {
			return err
		}
		return errors.Join(session.Ping(ctx), session.Close(ctx))
	})
}

// Stop kills the server.
func (s *LDAP) Stop() error { return s.process.stop(syscall.SIGKILL) }

// Freeze suspends the server's process until Thaw: the system still accepts connections
// for it, but nothing answers.
func (s *LDAP) Freeze() error { return s.process.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw resumes a frozen server.
func (s *LDAP) Thaw() error { return s.process.cmd.Process.Signal(syscall.SIGCONT) }

// Close stops the server and removes its folder.
func (s *LDAP) Close() error {
	var err error
	if s.process != nil {
		err = s.Stop()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
