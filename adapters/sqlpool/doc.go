// Package sqlpool puts this pool under a *sql.DB. Everything above it stays: queries,
// transactions, prepared statements, and the libraries that want a *sql.DB. Which
// connection is opened, checked, lent and closed is decided by the pool instead of
// database/sql.
//
//	connector, err := mysql.NewConnector(mysqlConfig)
//	...
//	db, pool, err := sqlpool.OpenDB(connector, sqlpool.Config{Capacity: 16})
//	...
//	defer db.Close()
//
// database/sql keeps no idle connections and bounds nothing: [OpenDB] sets
// SetMaxIdleConns(-1) and leaves SetMaxOpenConns alone. Leave both, and the lifetimes of
// the *sql.DB, as they are. [Stats] says so where they were changed.
//
// The optional interfaces of the driver's connections and statements have the effect that
// they have without this package. Where database/sql behaves differently by the mere
// presence of an interface, it is present if the driver's own type has it.
package sqlpool
