// Package lockfree is a stub.
package lockfree
