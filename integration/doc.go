// Package integration tests the pool against real servers, PostgreSQL, Redis and
// OpenLDAP, and behind a proxy that breaks the wire. The tests start the servers
// themselves, on free ports of the loopback interface and in temporary folders,
// and stop them at the end; they need the programs only:
//
//	apt-get install postgresql redis-server slapd
//
// A test whose server is missing is skipped, and fails where CI=true. The flag
// -flap says for how long each server's wire comes and goes.
package integration
