package boltstore

import "github.com/appio-go/appio/store"

// Size implements [store.Sizer]. Free is what [Store.Compact] gives back at least: values that are no longer in use take room
// beside, until their part of the log is collected.
func (s *Store) Size() (size store.Size, err error) {
	f := s.open.Load()
	if f == nil {
		return size, store.ErrClosed
	}
	info, err := f.os.Stat()
	if err != nil {
		return size, pathless(err)
	}
	size = store.Size{Bytes: info.Size(), Free: f.idle}
	if !s.opts.ReadOnly { // bbolt reads which pages are free
		stats := f.db.Stats()
		size.Free = int64(stats.FreePageN+stats.PendingPageN) * int64(f.db.Info().PageSize)
	}
	return size, nil
}
