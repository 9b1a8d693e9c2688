package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// Compact rewrites the file without its free pages; what was deleted is then gone from it. Commits wait meanwhile. A crash
// leaves the old file or the new one, with the same records.
func (s *Store) Compact(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.ask(ctx, &request{work: func() error { return s.compact(ctx) }}); err != nil {
		return fmt.Errorf("boltstore: compact: %w", err)
	}
	return nil
}

// compact is called by the writer.
func (s *Store) compact(ctx context.Context) error {
	temporary := s.path + ".compact"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return pathless(err)
	}
	next, err := openFile(temporary, &s.opts)
	if err != nil {
		return err
	}
	if err = s.replace(ctx, next, temporary); err != nil {
		next.close()
		os.Remove(temporary)
	}
	return err
}

// replace fills next with what the file holds, and uses it instead. It is locked before it gets the file's name.
func (s *Store) replace(ctx context.Context, next *file, temporary string) error {
	next.db.NoSync = true
	for _, name := range [][]byte{bucketOwners, bucketRecords, bucketDue} {
		for after, more := []byte(nil), true; more; {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.view(func(from *bolt.Tx) error {
				return next.db.Update(func(to *bolt.Tx) (err error) {
					after, err = copyPart(to.Bucket(name), from.Bucket(name).Cursor(), after)
					more = after != nil
					return err
				})
			}); err != nil {
				return err
			}
		}
	}
	next.db.NoSync = false
	if err := next.db.Sync(); err != nil {
		return err
	}
	if err := os.Rename(temporary, s.path); err != nil {
		return pathless(err)
	}
	s.mu.Lock()
	old := s.file
	s.file = next
	s.mu.Unlock()
	old.close()
	return syncDir(filepath.Dir(s.path))
}

// copyPart copies some entries after a key, and returns the last of them, nil if there was none.
func copyPart(to *bolt.Bucket, from *bolt.Cursor, after []byte) (last []byte, err error) {
	to.FillPercent = 1
	k, v := from.First()
	if after != nil {
		from.Seek(after)
		k, v = from.Next()
	}
	for size := 0; k != nil && size < 4<<20; k, v = from.Next() {
		if err := to.Put(k, v); err != nil {
			return nil, err
		}
		last, size = append(last[:0], k...), size+len(k)+len(v)
	}
	return last, nil
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return pathless(err)
	}
	defer d.Close()
	return pathless(d.Sync())
}
