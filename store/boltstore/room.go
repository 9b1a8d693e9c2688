package boltstore

import (
	"errors"
	"fmt"
	"syscall"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/appio-go/appio/store"
)

// A need is what a transaction needs of room in the file.
type need struct {
	step  string // what the transaction does
	bytes int    // that it writes, about
	spare share  // that it must leave
}

// A share of MaxSize is kept for others.
type share int64

const (
	noSpare     share = 0
	spareDelete share = 16 // a 16th, for the store's own work
	sparePut    share = 8  // an 8th, for that and for changes that only delete
)

const (
	overhead = 128 << 10 // bytes that any transaction may write beside its own

	leastGrowth = 256 << 10 // bytes by which the file grows at a time: a quarter of it, within these bounds
	mostGrowth  = 16 << 20
)

// grow returns store.ErrFull if there may be no room for a transaction: not in the file, or not on the disk. So little else
// can go wrong for want of room when it is committed.
func (f *file) grow(tx *bolt.Tx, n need) error {
	size := tx.Size()
	wanted := int64(n.bytes) + int64(n.bytes)/4 + overhead
	free := int64(f.db.Stats().FreePageN) * int64(f.db.Info().PageSize)
	if f.limit > 0 {
		limit := f.limit
		if n.spare > 0 {
			limit -= limit / int64(n.spare)
		}
		if size+wanted-free > limit {
			return fmt.Errorf("%w: MaxSize", store.ErrFull)
		}
	}
	more := min(max(size/4, leastGrowth), mostGrowth)
	if f.limit > 0 {
		wanted = min(wanted, f.limit-size)
		more = min(more, f.limit/64, f.limit-size-wanted)
	}
	if size+wanted <= f.room {
		return nil
	}
	for _, to := range []int64{size + wanted + more, size + wanted} {
		err := allocate(f.os, f.room, to)
		switch {
		case err == nil:
			f.room, f.lacking = to, 0
			return nil
		case !isFull(err): // the file system cannot: bbolt makes the file longer, and may find the disk full
			f.db.AllocSize = int(max(more, 0))
			return nil
		}
	}
	if f.free = free; free >= 2*wanted && free > f.lacking {
		return nil
	}
	return fmt.Errorf("%w: %w", store.ErrFull, syscall.ENOSPC)
}

// full returns store.ErrFull for an error that says that there is no room on the disk.
func full(err error) error {
	if isFull(err) && !errors.Is(err, store.ErrFull) {
		return fmt.Errorf("%w: %w", store.ErrFull, pathless(err))
	}
	return err
}

// isFull reports whether err says that a disk or a quota is full.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// settle returns the error of a commit, which is store.ErrFull only if the transaction that was before it is still the last.
func (f *file) settle(err error, number int) error {
	switch {
	case errors.Is(err, berrors.ErrMaxSizeReached): // before anything is written
		return fmt.Errorf("%w: MaxSize", store.ErrFull)
	case !isFull(err):
		return err
	}
	tx, err2 := f.db.Begin(false)
	if err2 != nil {
		return err
	}
	last := tx.ID()
	if err2 := tx.Rollback(); err2 != nil || last >= number {
		return fmt.Errorf("%w: %w", store.ErrFailed, pathless(err))
	}
	f.lacking = f.free // so much in pieces is not enough
	return full(err)
}
