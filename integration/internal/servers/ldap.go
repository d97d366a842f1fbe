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

// The names of an LDAP server: where its entries are, and who may do everything.
const (
	LDAPSuffix       = "dc=test"
	LDAPRoot         = "cn=root," + LDAPSuffix
	LDAPRootPassword = "root's"
)

// LDAP is an LDAP server, OpenLDAP's slapd. Everybody sees every entry, but
// descriptions only of himself; and the root sees cn=Monitor.
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

// StartLDAP starts a server that has the entries of an LDIF text, with these
// lines in its configuration.
func StartLDAP(ldif string, settings ...string) (_ *LDAP, err error) {
	slapd, err := find("slapd", "slapd", "/usr/sbin", "/usr/libexec", "/usr/lib/openldap")
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
	modules := "" // it may have been built without
	if module, err := lookup("back_mdb.so", "/usr/lib/ldap", "/usr/lib*/openldap"); err == nil {
		modules = fmt.Sprintf("modulepath %s\nmoduleload back_mdb", filepath.Dir(module))
	}
	// A copy, since Debian's rules for AppArmor let /usr/sbin/slapd read and write
	// its system's own folders only.
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

// Start starts the server, at the same address as before, and waits until it
// serves.
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

// Freeze stops the server in the middle of whatever it does, until Thaw: the
// system still takes connections for it, and nobody answers.
func (s *LDAP) Freeze() error { return s.process.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *LDAP) Thaw() error { return s.process.cmd.Process.Signal(syscall.SIGCONT) }

// Close stops the server and removes its folder.
func (s *LDAP) Close() error {
	var err error
	if s.process != nil {
		err = s.Stop()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
