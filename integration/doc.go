// Package integration tests the pool with real servers, PostgreSQL, Redis and OpenLDAP, and
// behind a proxy that breaks the network. The tests start the servers themselves, on free
// ports of the loopback interface and in temporary folders, and stop them at the end. They
// only need the programs:
//
//	apt-get install postgresql redis-server slapd
//
// A test whose server is not installed is skipped; with CI=true it fails. The flag -flap says
// how long the network is interrupted again and again, for each server.
package integration
