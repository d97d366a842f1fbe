//go:build unix

package examples

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/integration/internal/servers"
	"github.com/actorpool/actorpool/internal/testkit"
)

// openShop starts the program and waits until it is ready.
func openShop(t *testing.T, variables []string, args ...string) *service {
	t.Helper()
	address := unusedAddress(t)
	s := &service{run(t, variables, "shop", append(args, "-listen", address)...), address}
	testkit.Eventually(t, func() error { return s.get("/ready") })
	return s
}

// buy places an order.
func (s *service) buy(product, count string) error {
	return answered(http.Post("http://"+s.address+"/orders", "application/x-www-form-urlencoded",
		strings.NewReader("product="+product+"&count="+count)))
}

// holders are the labels of those who hold a connection, by the page of the shop. The page has its sentence.
func (s *service) holders(t *testing.T) (labels []string, sentence string) {
	t.Helper()
	answer, err := http.Get("http://" + s.address + "/pools/json")
	require.NoError(t, err)
	defer answer.Body.Close()
	var said struct {
		Pools []struct {
			Verdict     struct{ Sentence string }
			Explanation struct{ Holders []struct{ Label string } }
		}
	}
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&said))
	require.Len(t, said.Pools, 1)
	for _, holder := range said.Pools[0].Explanation.Holders {
		labels = append(labels, holder.Label)
	}
	return labels, said.Pools[0].Verdict.Sentence
}

// drains ends the program by SIGTERM while a report is made, which must be finished. The label is that
// of the report.
func (s *service) drains(t *testing.T, label string) {
	t.Helper()
	report := make(chan error, 1)
	go func() { report <- s.get("/report?pause=500ms") }()
	testkit.Eventually(t, func() error {
		if labels, sentence := s.holders(t); !slices.Contains(labels, label) {
			return errors.New("the report has not begun: " + sentence)
		}
		return nil
	})
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-report)
	code, _ := s.ends(t, bound)
	assert.Zero(t, code)
}

// TestShop needs no server: the database is in a file.
func TestShop(t *testing.T) {
	folder := t.TempDir()
	inFolder := []string{"TMPDIR=" + folder}
	isEmpty := func(t *testing.T) {
		t.Helper()
		left, err := os.ReadDir(folder)
		require.NoError(t, err)
		assert.Empty(t, left)
	}

	t.Run("an order, and SIGTERM during a report", func(t *testing.T) {
		s := openShop(t, inFolder)
		require.NoError(t, s.buy("pot", "3"))
		assert.ErrorContains(t, s.buy("pot", "1"), "409 Conflict")
		assert.NoError(t, s.get("/metrics"))
		s.drains(t, "report")
		isEmpty(t)
	})

	t.Run("with a load, and Ctrl-C", func(t *testing.T) {
		s := openShop(t, inFolder, "-load", "8")
		testkit.Eventually(t, func() error {
			labels, sentence := s.holders(t)
			if len(labels) == 0 {
				return errors.New(sentence)
			}
			return nil
		})
		s.interrupt(t)
		code, _ := s.ends(t, bound)
		assert.Zero(t, code)
		isEmpty(t)
	})

	t.Run("a request that takes longer than -drain", func(t *testing.T) {
		s := openShop(t, inFolder, "-drain", "50ms")
		report := make(chan error, 1)
		go func() { report <- s.get("/report?pause=1m") }()
		testkit.Eventually(t, func() error {
			if labels, sentence := s.holders(t); len(labels) == 0 {
				return errors.New(sentence)
			}
			return nil
		})
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
		code, out := s.ends(t, bound)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "shop: context deadline exceeded")
		assert.Error(t, <-report)
		isEmpty(t)
	})

	t.Run("an address that is in use", func(t *testing.T) {
		s := openShop(t, inFolder)
		code, out := run(t, inFolder, "shop", "-listen", s.address).ends(t, bound)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "address already in use")
	})

	t.Run("a load that is no number", func(t *testing.T) {
		code, out := run(t, inFolder, "shop", "-load", "-1").ends(t, bound)
		assert.Equal(t, 2, code)
		assert.Contains(t, out, `invalid value "-1" for flag -load`)
	})
}

// TestShopPostgres is the same with a server.
func TestShopPostgres(t *testing.T) {
	server, err := servers.StartPostgres("max_connections = 20")
	need(t, server, err)
	admin := superuser(t, server)
	// The role may do only what the program's documentation requires.
	_, err = admin.Exec(within(t, longTimeout), "CREATE ROLE app LOGIN; GRANT CREATE ON DATABASE postgres TO app")
	require.NoError(t, err)

	t.Run("orders, and SIGTERM during a report", func(t *testing.T) {
		s := openShop(t, nil, "-postgres", url(server, "app"))
		require.NoError(t, s.buy("tea", "2"))
		require.NoError(t, s.buy("pot", "3"))
		assert.ErrorContains(t, s.buy("pot", "1"), "409 Conflict")
		assert.NoError(t, s.get("/products"))
		assert.NoError(t, s.get("/metrics"))
		var sold int
		require.NoError(t, query(admin, &sold, "SELECT sum(count) FROM "+shopSchema(t, admin)+".orders"))
		assert.Equal(t, 2+3, sold)
		s.drains(t, "report")
		shopIsGone(t, admin)
	})

	t.Run("with a load, while sessions are ended", func(t *testing.T) {
		s := openShop(t, nil, "-postgres", url(server, "app"), "-load", "8")
		for range 5 {
			var ended int
			require.NoError(t, query(admin, &ended, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'"))
			testkit.Eventually(t, func() error { return errors.Join(s.get("/ready"), s.buy("cup", "1")) })
		}
		s.interrupt(t)
		code, _ := s.ends(t, bound)
		assert.Zero(t, code)
		shopIsGone(t, admin)
	})

	t.Run("a role that may not create schemas", func(t *testing.T) {
		_, err := admin.Exec(within(t, longTimeout), "CREATE ROLE guest LOGIN")
		require.NoError(t, err)
		code, out := run(t, nil, "shop", "-listen", unusedAddress(t), "-postgres", url(server, "guest")).ends(t, bound)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "permission denied for database")
	})
}

func TestShopWithoutPostgres(t *testing.T) {
	t.Run("no server listens", func(t *testing.T) {
		failsWithoutServer(t, nil, "shop", []string{"-listen", unusedAddress(t), "-postgres", "postgres://app:secret@" + unusedAddress(t) + "/postgres"},
			"connection refused")
	})
	t.Run("the server does not answer", func(t *testing.T) {
		failsWithoutServer(t, nil, "shop", []string{"-listen", unusedAddress(t), "-postgres", "postgres://app:secret@" + silentServer(t) + "/postgres"},
			"failed to connect")
	})
	t.Run("no address", func(t *testing.T) {
		code, out := run(t, nil, "shop", "-listen", unusedAddress(t), "-postgres", "postgres://app:secret@:port/").ends(t, bound)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "cannot parse")
		assert.NotContains(t, out, "secret")
	})
}

// shopSchema returns the name of the shop's schema.
func shopSchema(t *testing.T, admin *pgx.Conn) (name string) {
	t.Helper()
	require.NoError(t, admin.QueryRow(within(t, longTimeout), "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'shop_')").Scan(&name))
	return name
}

// shopIsGone checks that the program has left no schema and no connection.
func shopIsGone(t *testing.T, admin *pgx.Conn) {
	t.Helper()
	var schemas int
	require.NoError(t, query(admin, &schemas, "SELECT count(*) FROM pg_namespace WHERE starts_with(nspname, 'shop_')"))
	assert.Zero(t, schemas, "schemas left")
	testkit.Eventually(t, func() error {
		var n int
		err := query(admin, &n, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'")
		if err == nil && n > 0 {
			err = fmt.Errorf("%d connections left", n)
		}
		return err
	})
}
