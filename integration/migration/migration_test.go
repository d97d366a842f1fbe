//go:build unix

package migration

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/actorpool/actorpool/integration/internal/servers"
)

// bound is how long a program may take, with its compilation.
const bound = 4 * time.Minute

// accounts is what the programs for databases find.
const accounts = "DROP TABLE IF EXISTS accounts; CREATE TABLE accounts AS SELECT 1 AS id, 500 AS cents"

func TestPgxpool(t *testing.T) {
	server, err := servers.StartPostgres()
	servers.Require(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Close()) })
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	admin, err := pgx.Connect(ctx, server.DSN("postgres", ""))
	require.NoError(t, err)
	defer admin.Close(ctx)
	bothRun(t, "pgxpool.md", "400\n", "DATABASE_URL="+server.DSN("postgres", ""), func() {
		_, err := admin.Exec(ctx, accounts)
		require.NoError(t, err)
	})
}

func TestDatabaseSQL(t *testing.T) {
	file := filepath.Join(t.TempDir(), "accounts.db")
	bothRun(t, "database-sql.md", "400\n", "DATABASE_FILE="+file, func() {
		db, err := sql.Open("sqlite", file)
		require.NoError(t, err)
		_, err = db.Exec(accounts)
		require.NoError(t, err)
		require.NoError(t, db.Close())
	})
}

func TestPuddle(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { // until the program closes the connection
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					fmt.Fprintln(conn, "answer to", lines.Text())
				}
			})
		}
	})
	bothRun(t, "puddle.md", "answer to ping\n", "ADDRESS="+listener.Addr().String(), func() {})
	require.NoError(t, listener.Close())
	serving.Wait()
}

// bothRun runs both programs of the diff on a page, each after prepare, with a variable in its
// environment. Both must print the same.
func bothRun(t *testing.T, page, prints, variable string, prepare func()) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "migration", page))
	require.NoError(t, err)
	diff := regexp.MustCompile("(?s)```diff\n(.*?)```").FindSubmatch(text)
	require.NotNil(t, diff)
	var before, after strings.Builder
	for line := range strings.Lines(string(diff[1])) {
		if line[0] != '+' {
			before.WriteString(line[1:])
		}
		if line[0] != '-' {
			after.WriteString(line[1:])
		}
	}
	require.NotEqual(t, before.String(), after.String())
	for _, program := range []string{before.String(), after.String()} {
		prepare()
		folder, err := os.MkdirTemp(".", "program-") // inside this module, for its dependencies
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, os.RemoveAll(folder)) })
		main := filepath.Join(folder, "main.go")
		require.NoError(t, os.WriteFile(main, []byte(program), 0o644))
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		t.Cleanup(cancel)
		cmd := exec.CommandContext(ctx, "go", "run", "./"+main)
		cmd.Env = append(os.Environ(), variable)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", program, out)
		assert.Equal(t, prints, string(out))
	}
}
