//go:build unix && !aix && !solaris

package boltstore

import (
	"os"
	"syscall"
)

// unlock releases bbolt's lock of a file, which closing the file does not while it is mapped into memory.
func unlock(f *os.File) { syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
