package main

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"github.com/actorpool/actorpool/client"
)

// tenant is the setting of a connection: the schema that it sees. Any type will
// do that can be compared with ==. One of your own says what a setting means.
type tenant string

// newPool makes the pool. It does not connect yet.
func newPool(url string) (*client.Pool[*pgx.Conn], error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	return client.New(client.Config[*pgx.Conn]{
		Name:     "postgres",
		Capacity: capacity,

		Connect: func(ctx context.Context) (*pgx.Conn, error) {
			return pgx.ConnectConfig(ctx, config)
		},
		Disconnect: func(ctx context.Context, conn *pgx.Conn) error {
			return conn.Close(ctx)
		},
		// Connections that were idle for a second are tried before they are lent.
		Check: func(ctx context.Context, conn *pgx.Conn) error {
			return conn.Ping(ctx)
		},

		// Apply puts a tenant on a clean connection, Unapply cleans it. Both are
		// called only where a connection's tenant must change.
		Apply: func(ctx context.Context, conn *pgx.Conn, setting any) error {
			_, err := conn.Exec(ctx, "SELECT set_config('search_path', $1, false)", string(setting.(tenant)))
			return err
		},
		Unapply: func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "RESET search_path")
			return err
		},
		// Reset cleans up after every holder. This one ends a transaction that was
		// left open, and costs no round trip otherwise. DISCARD ALL, together with
		// ResetWipesSetting, forgets everything: then nothing is ever found as it
		// was left, neither the tenant nor the statements that pgx has prepared.
		Reset: func(ctx context.Context, conn *pgx.Conn) error {
			if conn.PgConn().TxStatus() == 'I' { // idle: in no transaction
				return nil
			}
			_, err := conn.Exec(ctx, "ROLLBACK")
			return err
		},

		// Shorter than the patience of those who wait, so that they are told what
		// went wrong, not just that it took too long.
		ConnectTimeout: patience / 2,
		// Warnings when connects fail; with -v every event.
		Logger: slog.Default(),
	})
}
