package boltstore

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// Backup writes a consistent copy of the store as of some moment during the call, a file that [Open] opens. The store may be
// in use meanwhile: the copy is first made beside the file, so that a slow writer holds up nothing.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	copied, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".backup-*")
	if err != nil {
		return fmt.Errorf("boltstore: backup: %w", pathless(err))
	}
	defer os.Remove(copied.Name())
	defer copied.Close()
	var size int64
	if err := s.view(func(tx *bolt.Tx) error {
		var err error
		size, err = tx.WriteTo(whileLive{ctx, copied})
		return err
	}); err != nil {
		return fmt.Errorf("boltstore: backup: %w", err)
	}
	if _, err := io.Copy(whileLive{ctx, w}, io.NewSectionReader(copied, 0, size)); err != nil {
		return fmt.Errorf("boltstore: backup: %w", pathless(err))
	}
	return nil
}

// whileLive writes until its context ends.
type whileLive struct {
	ctx context.Context
	w   io.Writer
}

func (l whileLive) Write(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	return l.w.Write(p)
}
