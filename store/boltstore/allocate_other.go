//go:build !linux

package boltstore

import (
	"errors"
	"os"
)

// allocate would make the disk keep room for a part of a file.
func allocate(f *os.File, from, to int64) error { return errors.ErrUnsupported }
