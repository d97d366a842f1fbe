package servers

import "syscall"

// attributes makes the system kill the server when the thread that started it ends. The
// server gets a process group of its own, so that an interrupt from the terminal reaches
// only the tests.
func attributes(a *account) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT, Credential: credential(a)}
}
