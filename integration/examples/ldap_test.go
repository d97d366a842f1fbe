//go:build unix

package examples

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/integration/internal/directory"
	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/internal/testkit"
)

// TestLDAP runs the program in different ways, with one server.
func TestLDAP(t *testing.T) {
	names := []string{"ann", "bob", "cyd", "dan"}
	ldif := "dn: " + servers.LDAPSuffix + "\nobjectClass: organization\nobjectClass: dcObject\no: test\ndc: test\n"
	for _, name := range names {
		ldif += fmt.Sprintf("\ndn: %s\nobjectClass: person\ncn: %[2]s\nsn: %[2]s\nuserPassword: %[2]s's\n", dn(name), name)
	}
	server, err := servers.StartLDAP(ldif)
	need(t, server, err)
	root, err := directory.Dial(within(t, longTimeout), server.Address)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, root.Close(within(t, longTimeout))) })
	require.NoError(t, root.Bind(within(t, longTimeout), servers.LDAPRoot, servers.LDAPRootPassword))

	t.Run("each user is bound as itself, and without a user nobody is", func(t *testing.T) {
		p := run(t, users(t, names...), "ldap", "-address", server.Address)
		code, out := p.ends(t, longTimeout)
		assert.Zero(t, code)
		const gets = 4 * 25
		hits, switches := number(t, out, "setting hits"), number(t, out, "setting switches")
		assert.Equal(t, gets+1, number(t, out, "Gets"), "and the anonymous one")
		// It is also a switch if the Get for which a connection was bound got another one
		// meanwhile.
		assert.GreaterOrEqual(t, hits+switches, gets)
		assert.Positive(t, hits)
		assert.GreaterOrEqual(t, switches, 4, "there are fewer connections than users")
		assert.LessOrEqual(t, number(t, out, "connections"), 3)
		ldapIsEmpty(t, root)
	})

	t.Run("a wrong password", func(t *testing.T) {
		p := run(t, append(users(t, "ann"), `LDAP_USERS={"`+dn("ann")+`": "ann's", "`+dn("bob")+`": "secret"}`), "ldap", "-address", server.Address, "-rounds", "5")
		code, out := p.ends(t, longTimeout)
		assert.Equal(t, 1, code)
		assert.Equal(t, 5, strings.Count(out, "Invalid Credentials"), "ann's five and the anonymous one succeed")
		assert.NotContains(t, out, "secret")
		ldapIsEmpty(t, root)
	})

	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			p := run(t, users(t, names...), "ldap", "-address", server.Address, "-rounds", "5000")
			before := binds(t, root)
			testkit.Eventually(t, func() error {
				if n := binds(t, root) - before; n < 10 {
					return fmt.Errorf("%d binds", n)
				}
				return nil
			})
			require.NoError(t, server.Freeze()) // nothing that has begun can be finished
			defer func() { assert.NoError(t, server.Thaw()) }()
			require.NoError(t, p.cmd.Process.Signal(sig))
			code, out := p.ends(t, bound)
			assert.Equal(t, 1, code)
			assert.Contains(t, out, "ldap: "+sig.String())
		})
	}

	t.Run("a server that is frozen", func(t *testing.T) {
		require.NoError(t, server.Freeze())
		defer func() { assert.NoError(t, server.Thaw()) }()
		failsWithoutServer(t, users(t, names...), "ldap", []string{"-address", server.Address}, "context deadline exceeded")
	})
}

func TestLDAPAbsent(t *testing.T) {
	t.Run("no server listens", func(t *testing.T) {
		failsWithoutServer(t, users(t, "ann"), "ldap", []string{"-address", unusedAddress(t)}, "connection refused")
	})
	t.Run("the server does not answer", func(t *testing.T) {
		failsWithoutServer(t, users(t, "ann"), "ldap", []string{"-address", silentServer(t)}, "context deadline exceeded")
	})
	t.Run("no users", func(t *testing.T) {
		code, out := run(t, nil, "ldap", "-address", unusedAddress(t)).ends(t, bound)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "ldap: LDAP_USERS: ")
	})
}

func dn(name string) string { return "cn=" + name + "," + servers.LDAPSuffix }

// users returns the program's environment: users with their passwords.
func users(t *testing.T, names ...string) []string {
	t.Helper()
	passwords := make(map[string]string)
	for _, name := range names {
		passwords[dn(name)] = name + "'s"
	}
	text, err := json.Marshal(passwords)
	require.NoError(t, err)
	return []string{"LDAP_USERS=" + string(text)}
}

// binds returns how many binds the server has served.
func binds(t *testing.T, root *directory.Session) int {
	t.Helper()
	return monitored(t, root, "cn=Bind,cn=Operations,cn=Monitor", "monitorOpCompleted")
}

// ldapIsEmpty waits until the server has no connection but the test's.
func ldapIsEmpty(t *testing.T, root *directory.Session) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if n := monitored(t, root, "cn=Current,cn=Connections,cn=Monitor", "monitorCounter"); n != 1 {
			return fmt.Errorf("%d connections", n)
		}
		return nil
	})
}

// monitored returns a number that the server's monitor shows.
func monitored(t *testing.T, root *directory.Session, entry, attribute string) int {
	t.Helper()
	values, err := root.Read(within(t, longTimeout), entry, attribute)
	require.NoError(t, err)
	require.Len(t, values, 1)
	n, err := strconv.Atoi(values[0])
	require.NoError(t, err)
	return n
}
