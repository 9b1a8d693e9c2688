//go:build linux && !arm

package boltstore

import (
	"os"
	"syscall"
)

// writeOut has the disk write what was written to f so far, and waits for it. Nothing is promised of it after a crash, and so the
// file system's journal, which commits wait for, is left alone.
func writeOut(f *os.File) error {
	const wait = 1 | 2 | 4 // SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE, _WAIT_AFTER
	err := syscall.SyncFileRange(int(f.Fd()), 0, 0, wait)
	if err == syscall.ESPIPE || err == syscall.EINVAL || err == syscall.ENOSYS { // no file of a disk
		return nil
	}
	return err
}
