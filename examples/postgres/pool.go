package main

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"github.com/actorpool/actorpool/client"
)

// tenant is the setting of a connection: the schema that it uses. A setting can be of any
// type that can be compared with ==.
type tenant string

// newPool makes the pool. It does not connect.
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
		// Connections that were idle for longer than a second are checked before they
		// are lent.
		Check: func(ctx context.Context, conn *pgx.Conn) error {
			return conn.Ping(ctx)
		},

		// Apply puts a tenant on a connection that has none, Unapply removes it. They run
		// only if the tenant of a connection must change.
		Apply: func(ctx context.Context, conn *pgx.Conn, setting any) error {
			_, err := conn.Exec(ctx, "SELECT set_config('search_path', $1, false)", string(setting.(tenant)))
			return err
		},
		Unapply: func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "RESET search_path")
			return err
		},
		// Reset runs after every lease. This one ends a transaction that was left open; if
		// there is none, it costs no round trip. An alternative is DISCARD ALL with
		// ResetWipesSetting: it also removes everything else that a holder can leave, but
		// with it the tenant, and the statements that pgx has prepared, each time.
		Reset: func(ctx context.Context, conn *pgx.Conn) error {
			if conn.PgConn().TxStatus() == 'I' { // idle: there is no transaction
				return nil
			}
			_, err := conn.Exec(ctx, "ROLLBACK")
			return err
		},

		// Shorter than the timeout of a Get, so that its error is the reason, and not only
		// that it took too long.
		ConnectTimeout: timeout / 2,
		// Warnings when connects fail; with -v every event.
		Logger: slog.Default(),
	})
}
