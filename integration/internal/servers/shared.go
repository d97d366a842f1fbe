//go:build unix

package servers

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/actorpool/actorpool/internal/servers"
)

// What the tests of this module use of the package for all modules.
const (
	Runs      = servers.Runs
	Smart     = servers.Smart
	Fast      = servers.Fast
	Immediate = servers.Immediate
)

// Postgres is a PostgreSQL server.
type Postgres = servers.Postgres

// StartPostgres makes a new cluster and starts a server with additional settings, each
// written "name=value".
func StartPostgres(settings ...string) (*Postgres, error) {
	return servers.StartPostgres(func(ctx context.Context, dsn string) error {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}, settings...)
}

// Require ends a test whose server could not be started. If the server is not installed, the
// test is skipped, except with CI=true. err may be nil.
func Require(t testing.TB, err error) {
	t.Helper()
	servers.Require(t, err)
}

// FreeAddress returns an address of the loopback interface on which nothing listens.
func FreeAddress() (string, error) { return servers.FreeAddress() }

// Missing returns an error for each server that is not installed.
func Missing() []error {
	return servers.Missing(servers.FindPostgres, findMariaDB, findRedis, findLDAP, findSSH)
}
