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
// database/sql bounds nothing: leave SetMaxOpenConns alone. What it keeps between two uses
// is a handle without a connection: that is borrowed when a caller gets the handle, and
// returned when the caller is done. [Stats] says so where that cannot work.
//
// The optional interfaces of the driver's connections and statements have the effect that
// they have without this package. Where database/sql behaves differently by the mere
// presence of an interface, it is present if the driver's own type has it.
package sqlpool
