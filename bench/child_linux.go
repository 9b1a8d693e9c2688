package main

import "syscall"

// childAttributes make a server end when this process is killed. An interrupt from the terminal is for this process alone, which
// ends the server itself.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT, Setpgid: true}
}

// datasync makes what was written to f durable, without the times of the file.
func datasync(fd uintptr) error { return syscall.Fdatasync(int(fd)) }
