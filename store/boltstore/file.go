package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/appio-go/appio/internal/failpoint"
	"github.com/appio-go/appio/store"
)

// The buckets, and what they map.
var (
	bucketMeta     = []byte("meta")     // keyFormat -> magic and layout; keyState -> the state
	bucketLog      = []byte("log")      // number -> piece of the log
	bucketSegments = []byte("segments") // address -> segment of the log
	bucketRuns     = []byte("runs")     // number of a run, last place of a block -> block
	bucketFilters  = []byte("filters")  // number of a run, number of a piece -> piece of its filter
	bucketClock    = []byte("clock")    // has nothing in it; its sequence is the number of the last transaction

	buckets = [][]byte{bucketMeta, bucketLog, bucketSegments, bucketRuns, bucketFilters, bucketClock}

	keyFormat = []byte("format")
	keyState  = []byte("state")
)

const (
	magic  = "appio store\n"
	layout = 1
)

// A file is an open bbolt file, and what is needed to let go of it when bbolt cannot.
type file struct {
	db      *bolt.DB
	os      *os.File
	limit   int64 // bytes of the file; 0: none
	room    int64 // bytes of the file that the disk has room for
	free    int64 // bytes of the file that are free, when the disk was found to be full
	lacking int64 // of which so many were not enough; 0: none
	idle    int64 // bytes of the file that are free, as its inspection found
	hook    func(step string) error
}

// at is called at each step after which a process may die: done, if it is behind it. A test of one store has a hook; one of a
// whole process listens at failpoints.
func (f *file) at(step string, done bool) error {
	if f.hook == nil && !failpoint.On() {
		return nil
	}
	if done {
		step += " done"
	}
	if f.hook != nil {
		return f.hook(step)
	}
	return failpoint.Hit("boltstore/" + step)
}

// isAt reports whether f has the name path.
func (f *file) isAt(path string) bool {
	now, err := os.Stat(path)
	ours, err2 := f.os.Stat()
	return err == nil && err2 == nil && os.SameFile(now, ours)
}

// foreign returns the contract's error for one of opening a file. What is neither the contract's nor of the operating system
// is bbolt's opinion of the file.
func foreign(err error) error {
	var number syscall.Errno
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return store.ErrLocked
	case errors.As(err, &number), errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrNewer), errors.Is(err, store.ErrFull):
		return pathless(err)
	}
	return fmt.Errorf("%w: not a bbolt file", store.ErrCorrupt)
}

func (f *file) open(path string, opts *Options) (err error) {
	f.db, err = bolt.Open(path, 0o600, &bolt.Options{
		ReadOnly:        opts.ReadOnly,
		Timeout:         opts.LockTimeout,
		InitialMmapSize: initialMap(),
		MaxSize:         int(min(max(opts.MaxSize, 0), math.MaxInt)),
		NoFreelistSync:  true,
		FreelistType:    bolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			var err error
			f.os, err = os.OpenFile(name, flag, mode)
			return f.os, err
		},
	})
	if err != nil {
		return err
	}
	f.db.NoSync = opts.noSync
	f.db.AllocSize = leastGrowth // grow sees to more
	if opts.MaxSize > 0 {
		f.db.AllocSize = int(min(leastGrowth, opts.MaxSize/64))
		f.limit = opts.MaxSize - int64(f.db.AllocSize)
	}
	return f.format(path, opts.ReadOnly)
}

// newFile is the number of the last transaction in a file that bbolt has just made.
const newFile = 1

// format makes the buckets of a new file, and refuses a file that is not a store's, or of a later layout.
func (f *file) format(path string, readOnly bool) error {
	fresh := false
	err := f.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketMeta)
		if b == nil {
			if name, _ := tx.Cursor().First(); name != nil || readOnly {
				return fmt.Errorf("%w: not a store", store.ErrCorrupt)
			}
			if fresh = tx.ID() <= newFile; !fresh { // with a root page that is empty again
				return damaged("the root page")
			}
			return nil
		}
		got := b.Get(keyFormat)
		switch {
		case len(got) != len(magic)+1 || string(got[:len(magic)]) != magic:
			return fmt.Errorf("%w: not a store", store.ErrCorrupt)
		case got[len(magic)] > layout:
			return store.ErrNewer
		}
		return nil
	})
	if err != nil || !fresh {
		return err
	}
	if err := f.db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(setClock(tx), meta.Put(keyFormat, append([]byte(magic), layout)), meta.Put(keyState, (&state{}).encode()))
	}); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path)) // the file may be new
}

// update calls g with a transaction that writes, of so many bytes about, and commits it.
func (f *file) update(n need, g func(tx *bolt.Tx) error) error {
	return contain(func() error {
		tx, err := f.db.Begin(true)
		if err != nil {
			return err
		}
		number := tx.ID()
		if err = f.grow(tx, n); err == nil {
			err = g(tx)
		}
		if err == nil {
			err = setClock(tx)
		}
		if err == nil {
			err = f.at(n.step, false)
		}
		if err != nil {
			return errors.Join(err, tx.Rollback())
		}
		if err := f.settle(tx.Commit(), number); err != nil {
			return err
		}
		return f.at(n.step, true)
	})
}

// setClock writes the number of the transaction into the root page, which each transaction writes anew.
func setClock(tx *bolt.Tx) error { return tx.Bucket(bucketClock).SetSequence(uint64(tx.ID())) }

// checkClock finds a root page that is not of the last transaction: the disk did not write it, and with the page that was there
// before all may seem to be in order. (A backup has a second meta page that is one transaction behind.)
func checkClock(tx *bolt.Tx) error {
	if n := tx.Bucket(bucketClock).Sequence(); n != uint64(tx.ID()) && n != uint64(tx.ID())+1 {
		return damaged("the root page")
	}
	return nil
}

// close lets bbolt write which pages are free, if it is in order, so that the next Open need not find out.
func (f *file) close(inOrder bool) error {
	err := contain(func() error {
		if inOrder {
			f.db.NoFreelistSync = false
			_ = f.db.Update(setClock) // in vain if there is no room
		}
		return pathless(f.db.Close())
	})
	if err != nil {
		f.abandon()
	}
	return err
}

// abandon closes the file, and with it the lock, but leaves what bbolt holds of it in memory.
func (f *file) abandon() {
	if f.os != nil {
		unlock(f.os)
		f.os.Close()
	}
}

// initialMap returns how many bytes of address space the file gets at once: growing beyond waits for all readers.
func initialMap() int {
	if runtime.GOOS == "windows" { // where the file would become so large
		return 0
	}
	return 1 << (28 + 8*(strconv.IntSize/64))
}

// pathless returns the error of a file operation without the name of the file.
func pathless(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}
