// Package server runs a Prometheus server for tests, and asks it.
package server
