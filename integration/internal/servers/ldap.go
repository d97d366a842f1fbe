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

	"github.com/actorpool/actorpool/integration/internal/directory"
	"github.com/actorpool/actorpool/internal/servers"
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
type LDAP struct{ *servers.Server }

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
	return servers.Find("slapd", "slapd", "/usr/sbin", "/usr/libexec", "/usr/lib/openldap")
}

// StartLDAP starts a server with the entries of an LDIF text and additional lines of
// configuration.
func StartLDAP(ldif string, settings ...string) (_ *LDAP, err error) {
	slapd, err := findLDAP()
	if err != nil {
		return nil, err
	}
	schema, err := servers.Lookup("core.schema", "/etc/ldap/schema", "/etc/openldap/schema")
	if err != nil {
		return nil, err
	}
	// The tests run a copy, because Debian's AppArmor profile lets /usr/sbin/slapd
	// read and write the system's folders only.
	program, err := os.ReadFile(slapd)
	if err != nil {
		return nil, err
	}
	server, err := servers.New("ldap", "openldap")
	if err != nil {
		return nil, err
	}
	s := &LDAP{server}
	defer servers.CloseOnError(&err, s)
	modules := "" // a slapd may have been built without modules
	if module, err := servers.Lookup("back_mdb.so", "/usr/lib/ldap", "/usr/lib*/openldap"); err == nil {
		modules = fmt.Sprintf("modulepath %s\nmoduleload back_mdb", filepath.Dir(module))
	}
	conf := strings.NewReplacer("{schema}", schema, "{modules}", modules, "{dir}", s.Dir, "{settings}", strings.Join(settings, "\n"))
	if err = errors.Join(
		os.WriteFile(s.Path("slapd"), program, 0o755),
		os.WriteFile(s.Path("slapd.conf"), []byte(conf.Replace(slapdConf)), 0o644),
		os.WriteFile(s.Path("entries.ldif"), []byte(ldif), 0o644),
		os.Mkdir(s.Path("data"), 0o755),
	); err != nil {
		return nil, err
	}
	if err = s.Own(s.Path("data")); err != nil {
		return nil, err
	}
	if err = s.Run(s.Path("slapd"), "-T", "add", "-f", s.Path("slapd.conf"), "-l", s.Path("entries.ldif")); err != nil {
		return nil, err
	}
	s.Program, s.Ping = s.Path("slapd"), s.ping
	s.Args = []string{"-d", "0", "-h", "ldap://" + s.Address, "-f", s.Path("slapd.conf")}
	return s, s.Start()
}

func (s *LDAP) ping(ctx context.Context) error {
	session, err := directory.Dial(ctx, s.Address)
	if err != nil {
		return err
	}
	return errors.Join(session.Ping(ctx), session.Close(ctx))
}

// Freeze suspends the server's process until Thaw: the system still accepts connections
// for it, but nothing answers.
func (s *LDAP) Freeze() error { return s.Signal(syscall.SIGSTOP) }

// Thaw resumes a frozen server.
func (s *LDAP) Thaw() error { return s.Signal(syscall.SIGCONT) }
