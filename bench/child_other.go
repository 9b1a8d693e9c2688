//go:build unix && !linux

package main

import "syscall"

// childAttributes keep an interrupt from the terminal from a server: this process ends it.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// datasync makes what was written to f durable.
func datasync(fd uintptr) error { return syscall.Fsync(int(fd)) }
