package servers

import "syscall"

// attributes makes a server die with its starter, in a process group of its own
// so that an interrupt at the terminal reaches only the tests.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}
