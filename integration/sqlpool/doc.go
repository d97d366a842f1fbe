// Package sqlpool tests the adapter for database/sql with real databases: MariaDB and
// PostgreSQL, which the tests start themselves, and SQLite, which is embedded.
package sqlpool
