// Package pgxpool is actorpool with the names of [github.com/jackc/pgx/v5/pgxpool]: a
// program that uses pgx's pool changes one import line.
//
//	import "github.com/actorpool/actorpool/adapters/pgxpool" // was "github.com/jackc/pgx/v5/pgxpool"
//
//	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
//	...
//	defer pool.Close()
//	err = pool.QueryRow(ctx, "SELECT name FROM customers WHERE id = $1", id).Scan(&name)
//
// Everything that pgx's package exports exists here with the same name and meaning.
// [Config] is pgx's own type; pgx.Conn, pgx.Tx and pgx.Rows are pgx's. [Pool], [Conn],
// [Tx] and [Stat] are types of this package, so a library that wants a *pgxpool.Pool of
// pgx cannot be given one of these.
//
// There is more than in pgx's package:
//
//   - [WithSetting]: connections with a role, a search_path or another run-time parameter,
//     for as long as they are lent.
//   - [Pool.Func] and [Pool.InTx], whose contexts let the pool recognise a deadlock.
//   - After a failover, each old connection is closed before it fails a second caller.
//   - Errors that explain a wait, [Pool.Explain], [Pool.Measure] and [Pool.Health].
//   - [Pool.SetCapacity] while the program runs; [LeakAfter], [Reserve] and more as an
//     [Option] of [NewWithConfig].
//   - [Pool.Underlying], the pool of package client below.
//
// docs/pgxpool.md in the repository lists the differences.
package pgxpool
