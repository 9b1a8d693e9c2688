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
// in use meanwhile: the copy is first made beside the file, as large as it, so that a slow w holds up nothing.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.backup(ctx, w); err != nil {
		return fmt.Errorf("boltstore: backup: %w", pathless(full(err)))
	}
	return nil
}

func (s *Store) backup(ctx context.Context, w io.Writer) error {
	made, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".backup-*")
	if err != nil {
		return err
	}
	defer made.Close()
	if os.Remove(made.Name()) != nil { // some systems cannot while it is open
		defer os.Remove(made.Name())
	}
	size, err := s.copyTo(ctx, made)
	if err != nil {
		return err
	}
	_, err = io.Copy(&whileLive{ctx: ctx, w: w}, io.NewSectionReader(made, 0, size))
	return err
}

// copyTo writes the file as it is, in one transaction.
func (s *Store) copyTo(ctx context.Context, made *os.File) (size int64, err error) {
	w := &whileLive{ctx: ctx, w: made}
	s.mu.RLock()
	locked := true
	defer func() {
		if locked {
			s.mu.RUnlock()
		}
	}()
	err = s.view(func(tx *bolt.Tx) error {
		s.mu.RUnlock()
		locked = false
		size, err = tx.WriteTo(w)
		return err
	})
	if w.err != nil { // of which bbolt tells the text only
		err = w.err
	}
	return size, err
}

// A whileLive writes until its context ends, and keeps its error.
type whileLive struct {
	ctx context.Context
	w   io.Writer
	err error
}

func (l *whileLive) Write(p []byte) (n int, err error) {
	if l.err = l.ctx.Err(); l.err == nil {
		n, l.err = l.w.Write(p)
	}
	return n, l.err
}
