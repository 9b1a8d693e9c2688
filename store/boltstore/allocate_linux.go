package boltstore

import (
	"os"
	"syscall"
)

// allocate makes the disk keep room for a part of a file, which is then at least so long.
func allocate(f *os.File, from, to int64) error {
	return syscall.Fallocate(int(f.Fd()), 0, from, to-from)
}
