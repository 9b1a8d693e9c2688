package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/appio-go/appio/store"
)

// Options may be nil; so may every field be its zero value.
type Options struct {
	LockTimeout time.Duration // how long to wait for a file that is in use; 0: one second
	MaxSize     int64         // bytes of the file, which grows in steps; 1 MiB or more; a Commit beyond it is store.ErrFull; 0: no limit
}

// A Store is a [store.Store] in one file, which it holds locked. It may be used concurrently.
type Store struct {
	path string
	opts Options

	mu   sync.RWMutex // held for reading while file is used, for writing while it is replaced or closed
	file *file

	down  atomic.Pointer[error] // why no call can be served
	stale atomic.Pointer[error] // why no change can be made

	queue  queue
	writer sync.WaitGroup
}

// Open opens the file at path, or makes it with mode 0600. The error is [store.ErrLocked] if it is in use, also by this
// process; [store.ErrNewer] if a later version made it; [store.ErrCorrupt] if it is damaged, or is not a store's file.
func Open(path string, opts *Options) (*Store, error) {
	s := &Store{path: path}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.LockTimeout <= 0 {
		s.opts.LockTimeout = time.Second
	}
	if s.opts.MaxSize < 0 || s.opts.MaxSize > 0 && s.opts.MaxSize < 1<<20 {
		return nil, fmt.Errorf("%w: boltstore: MaxSize is 0, or 1 MiB or more", store.ErrInvalid)
	}
	f, err := openFile(path, &s.opts)
	if err != nil {
		return nil, fmt.Errorf("boltstore: open %s: %w", filepath.Base(path), err)
	}
	s.file = f
	s.queue.wake = make(chan struct{}, 1)
	s.writer.Go(s.write)
	return s, nil
}

// Close waits for calls under way; those still in the queue are answered with [store.ErrClosed].
func (s *Store) Close() error {
	if !s.shut(store.ErrClosed) {
		s.queue.close()
		s.writer.Wait()
		return nil
	}
	s.queue.close()
	s.writer.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.close()
}

// shut makes every later call fail with err, unless one does already.
func (s *Store) shut(err error) bool { return s.down.CompareAndSwap(nil, &err) }

// ready returns why a call cannot be served: the store is closed, or the context has ended.
func (s *Store) ready(ctx context.Context) error {
	if err := s.down.Load(); err != nil {
		return *err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrAborted, err)
	}
	return nil
}

// A file is an open bbolt file, and what is needed to let go of it when bbolt cannot.
type file struct {
	db *bolt.DB
	os *os.File
}

func openFile(path string, opts *Options) (*file, error) {
	f := &file{}
	err := contain(func() error { return f.open(path, opts) })
	if err != nil {
		f.abandon()
		return nil, err
	}
	return f, nil
}

// open has bbolt write its list of free pages: without it bbolt looks for them at opening in a goroutine of its own, where a
// damaged file would end the process.
func (f *file) open(path string, opts *Options) (err error) {
	f.db, err = bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         opts.LockTimeout,
		MaxSize:         int(min(opts.MaxSize, math.MaxInt)),
		InitialMmapSize: initialMap,
		FreelistType:    bolt.FreelistMapType,
		NoStatistics:    true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			o, err := os.OpenFile(name, flag, mode)
			f.os = o
			return o, err
		},
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return store.ErrLocked
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return fmt.Errorf("%w: not a bbolt file", store.ErrCorrupt)
	case err != nil:
		return pathless(err)
	}
	return f.format()
}

// format makes the buckets of a new file, and refuses a file that is not a store's, or of a later layout.
func (f *file) format() error {
	return f.db.Update(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucketMeta); b != nil {
			got := b.Get(keyFormat)
			switch {
			case len(got) != len(magic)+1 || string(got[:len(magic)]) != magic:
				return fmt.Errorf("%w: not a store", store.ErrCorrupt)
			case got[len(magic)] > layout:
				return store.ErrNewer
			}
			return nil
		}
		if name, _ := tx.Cursor().First(); name != nil {
			return fmt.Errorf("%w: not a store", store.ErrCorrupt)
		}
		for _, name := range [][]byte{bucketMeta, bucketOwners, bucketRecords, bucketDue} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keyFormat, append([]byte(magic), layout))
	})
}

func (f *file) close() error { return pathless(f.db.Close()) }

// abandon closes the file, and with it the lock, but leaves what bbolt holds of it in memory.
func (f *file) abandon() {
	if f.os != nil {
		f.os.Close()
	}
}

// initialMap is how many bytes of address space the file gets at once: growing beyond waits for all readers.
const initialMap = 1 << (30 + 6*(strconv.IntSize/64))

// pathless returns the error of a file operation without the name of the file.
func pathless(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
