package boltstore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/store"
)

// Options may be nil; so may every field be its zero value.
type Options struct {
	LockTimeout time.Duration // how long to wait for a file that is in use; 0: one second
	MaxSize     int64         // bytes of the file, 1 MiB or more; a Commit beyond it is store.ErrFull; 0: no limit
	Memory      int           // bytes for what is not yet in the sorted part of the file, about; 0: 128 MiB

	// BackupRate is how many bytes a second a Backup writes at most; 0: as fast as it can and leave the disk to changes most of the
	// time.
	BackupRate int64

	// ReadOnly opens a file that is there, changes nothing of it, and may do so beside others that only read. Open then looks at
	// all of the file's structure. A change is store.ErrReadOnly.
	ReadOnly bool

	// Of tests: hook is called where a process may die, its error is that of the step; looked between the moment that a read is of and
	// its looking below the first table; noSync is for tests that no crash ends.
	hook   func(step string) error
	looked func()
	noSync bool
}

// A Store is a [store.Store] in one file, which it holds locked. It may be used concurrently.
type Store struct {
	path string
	opts Options

	mu      sync.RWMutex // held for writing while content changes
	content              // tables and state may be read by who holds mu, the rest by the writer
	epoch   uint64       // counts the changes of what is below the first table

	open   atomic.Pointer[file] // that of content, until it is closed
	broken chan struct{}        // closed when bbolt has panicked
	breaks sync.Once

	down  atomic.Pointer[error] // why no call can be served
	stale atomic.Pointer[error] // why no change can be made
	stuck atomic.Pointer[error] // why there is no room to write tables to the file

	queue  queue
	keeper keeper
	revs   revisions
	hints  hints
	ends   sync.WaitGroup // of the writer and the keeper
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
	if s.opts.Memory <= 0 {
		s.opts.Memory = 128 << 20
	}
	if s.opts.BackupRate < 0 {
		return nil, fmt.Errorf("%w: boltstore: BackupRate is 0 or more", store.ErrInvalid)
	}
	if s.opts.MaxSize < 0 || s.opts.MaxSize > 0 && s.opts.MaxSize < 1<<20 {
		return nil, fmt.Errorf("%w: boltstore: MaxSize is 0, or 1 MiB or more", store.ErrInvalid)
	}
	if s.opts.MaxSize > 0 {
		s.opts.Memory = int(min(int64(s.opts.Memory), s.opts.MaxSize/8))
	}
	var err error
	if s.content, err = openContent(path, &s.opts); err != nil {
		return nil, fmt.Errorf("boltstore: open %s: %w", filepath.Base(path), err)
	}
	s.open.Store(s.file)
	s.broken = make(chan struct{})
	s.keeper.idle = make(chan struct{}, 1)
	s.queue.wake = make(chan struct{}, 1)
	s.keeper.wake = make(chan struct{}, 1)
	if s.opts.ReadOnly {
		return s, nil
	}
	os.Remove(path + compacted) // of a compaction that came to nothing
	signal(s.keeper.wake)
	s.ends.Go(s.write)
	s.ends.Go(s.keep)
	return s, nil
}

// Close waits for calls under way; changes still in the queue are answered with [store.ErrClosed]. A second one does nothing.
func (s *Store) Close() error {
	s.shut(store.ErrClosed)
	s.queue.close()
	signal(s.keeper.wake)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.ends.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.content = content{}
	}()
	select {
	case <-ended:
	case <-s.broken:
		select {
		case <-ended:
		case <-time.After(patience):
		}
	}
	f := s.open.Swap(nil)
	if f == nil {
		return nil
	}
	select {
	case <-s.broken:
		f.abandon()
		return nil
	default:
		return f.close(s.stale.Load() == nil && !s.opts.ReadOnly)
	}
}

// shut makes every later call fail with err, unless one does already.
func (s *Store) shut(err error) bool { return s.down.CompareAndSwap(nil, &err) }

// breakDown closes the store after a panic in bbolt, which may have left locks held.
func (s *Store) breakDown(err error) {
	s.shut(fmt.Errorf("%w: %w", store.ErrClosed, err))
	s.breaks.Do(func() { close(s.broken) })
}

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
