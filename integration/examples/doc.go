// Package examples tests the programs in examples/ that need a server: it builds them, starts
// a real server, and checks what they print and what they leave on the server. Besides those of
// package integration it needs sshd:
//
//	apt-get install openssh-server
//
// The mail server is a part of the tests.
package examples
