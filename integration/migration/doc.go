// Package migration runs the programs that the pages of docs/migration show before and after
// a migration.
package migration
