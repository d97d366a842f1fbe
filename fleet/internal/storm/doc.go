// Package storm tests the fleet with real processes, on a real etcd and a real PostgreSQL.
package storm
