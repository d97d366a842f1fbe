package server

import "syscall"

// attributes lets the kernel kill the server when the thread that has started it ends: no
// server outlives tests that are killed.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
