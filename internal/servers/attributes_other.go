//go:build !unix

package servers

import "syscall"

func attributes(*account) *syscall.SysProcAttr { return nil }
