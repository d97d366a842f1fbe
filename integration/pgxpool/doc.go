// Package pgxpool tests the adapter adapters/pgxpool with real PostgreSQL servers, and
// with the tests of pgx's own pool.
package pgxpool
