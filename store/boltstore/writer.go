package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/appio-go/appio/store"
)

// The bounds of what is written together; one call may be above them alone.
const (
	maxBatchChanges = 4096
	maxBatchBytes   = 8 << 20
)

// A request is a call of Commit, or work that the writer does between commits.
type request struct {
	changes []store.Change
	size    int
	work    func() error // instead of changes
	taken   atomic.Bool  // by the writer, or by the caller, who no longer waits
	errs    []error
	done    chan error
}

// Commit implements [store.Writer]. What arrives while a commit is being written is written together by the next one.
// A context that ends after writing has begun is not heeded.
func (s *Store) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if err := store.Check(changes); err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return nil, nil
	}
	r := &request{changes: changes, size: sizeOf(changes)}
	err := s.ask(ctx, r)
	return r.errs, err
}

// ask hands r to the writer and waits for the answer, or until ctx ends and the writer has not begun.
func (s *Store) ask(ctx context.Context, r *request) error {
	r.done = make(chan error, 1)
	if !s.queue.add(r) {
		return s.ready(context.Background())
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		if r.taken.CompareAndSwap(false, true) {
			return fmt.Errorf("%w: %w", store.ErrAborted, ctx.Err())
		}
		return <-r.done
	}
}

// write is the writer: the only goroutine that changes the file.
func (s *Store) write() {
	for range s.queue.wake {
		for batch := s.queue.take(); len(batch) > 0; batch = s.queue.take() {
			s.serve(batch)
		}
		if s.queue.isClosed() {
			return
		}
	}
}

// serve answers all requests of a batch.
func (s *Store) serve(batch []*request) {
	var err error
	switch {
	case s.down.Load() != nil:
		err = *s.down.Load()
	case batch[0].work != nil:
		err = batch[0].work()
	case s.stale.Load() != nil: // surely not applied
		err = fmt.Errorf("%w: %w", store.ErrAborted, *s.stale.Load())
	default:
		err = s.commit(batch)
	}
	if errors.Is(err, store.ErrFull) && len(batch) > 1 { // what asks for less may have room alone
		for _, r := range batch {
			r.errs = nil
			s.serve([]*request{r})
		}
		return
	}
	for _, r := range batch {
		if err != nil {
			r.errs = nil
		}
		r.done <- err
	}
}

// commit writes the changes of a batch in one transaction.
func (s *Store) commit(batch []*request) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	before := -1
	err := contain(func() error {
		tx, err := s.file.db.Begin(true)
		if err != nil {
			return err
		}
		before = tx.ID()
		s.file.db.MaxSize = s.opts.limit(batch)
		n, err := apply(tx, batch)
		if err != nil || n == 0 {
			return errors.Join(err, tx.Rollback())
		}
		return tx.Commit()
	})
	return s.explain(err, before)
}

// limit is how far the file may grow for a batch. What puts records leaves some room, so that in a full file records can still
// be deleted, which takes pages before it frees any.
func (o *Options) limit(batch []*request) int {
	room := max(o.MaxSize/16, 128<<10)
	for _, r := range batch {
		for i := range r.changes {
			if len(r.changes[i].Put) > 0 {
				return int(min(max(o.MaxSize-room, min(o.MaxSize, 1)), math.MaxInt))
			}
		}
	}
	return int(min(o.MaxSize, math.MaxInt))
}

// explain returns the contract's error for one of writing, and ends the use of the store that it must end.
func (s *Store) explain(err error, before int) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrCorrupt):
		s.shut(fmt.Errorf("%w: %w", store.ErrClosed, store.ErrCorrupt))
		return err
	case errors.Is(err, berrors.ErrMaxSizeReached):
		return fmt.Errorf("%w: MaxSize", store.ErrFull)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: %w", store.ErrFull, syscall.ENOSPC)
	default:
		failed := fmt.Errorf("%w: %w", store.ErrFailed, pathless(err))
		s.stale.CompareAndSwap(nil, &failed)
		return failed
	}
}

// apply makes the changes that do not conflict, in the order of their owners, and returns how many.
func apply(tx *bolt.Tx, batch []*request) (made int, err error) {
	type item struct {
		r *request
		i int
	}
	var items []item
	for _, r := range batch {
		for i := range r.changes {
			items = append(items, item{r, i})
		}
	}
	slices.SortStableFunc(items, func(a, b item) int {
		return cmpOwner(a.r.changes[a.i].Owner, b.r.changes[b.i].Owner)
	})
	owners := tx.Bucket(bucketOwners)
	for _, it := range items {
		c := &it.r.changes[it.i]
		rev := uint64(0)
		if b := owners.Get([]byte(c.Owner)); len(b) == 8 {
			rev = binary.BigEndian.Uint64(b)
		} else if b != nil {
			return 0, damaged("a revision")
		}
		if rev != c.Rev {
			if it.r.errs == nil {
				it.r.errs = make([]error, len(it.r.changes))
			}
			it.r.errs[it.i] = store.ErrConflict
			continue
		}
		if err := applyOne(tx, c); err != nil {
			return 0, err
		}
		made++
		if err := owners.Put([]byte(c.Owner), binary.BigEndian.AppendUint64(nil, rev+1)); err != nil {
			return 0, err
		}
	}
	return made, nil
}

func applyOne(tx *bolt.Tx, c *store.Change) error {
	records, due := tx.Bucket(bucketRecords), tx.Bucket(bucketDue)
	remove := func(place []byte) error {
		old := records.Get(place)
		if old == nil {
			return nil
		}
		var r store.Record
		if err := decodeRecord(&r, old); err != nil {
			return err
		}
		if r.Due.IsZero() {
			return nil
		}
		return due.Delete(append(appendDue(nil, r.Lane, dueOf(r.Due)), place...))
	}
	for _, k := range c.Delete {
		place := appendPlace(nil, c.Owner, k)
		if err := remove(place); err != nil {
			return err
		}
		if err := records.Delete(place); err != nil {
			return err
		}
	}
	for i := range c.Put {
		r := &c.Put[i]
		place := appendPlace(nil, c.Owner, r.Key)
		if err := remove(place); err != nil {
			return err
		}
		if err := records.Put(place, appendRecord(nil, r)); err != nil {
			return err
		}
		if d := dueOf(r.Due); d != 0 {
			if err := due.Put(append(appendDue(nil, r.Lane, d), place...), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func cmpOwner(a, b store.Owner) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func sizeOf(changes []store.Change) int {
	n := 0
	for i := range changes {
		for j := range changes[i].Put {
			n += len(changes[i].Put[j].Key) + len(changes[i].Put[j].Value)
		}
	}
	return n
}

// A queue is what waits for the writer.
type queue struct {
	mu     sync.Mutex
	waits  []*request
	closed bool
	wake   chan struct{}
}

// add reports false if the queue is closed.
func (q *queue) add(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waits = append(q.waits, r)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// take returns the next requests that are written together, or one of work.
func (q *queue) take() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	var batch []*request
	changes, size, n := 0, 0, 0
	for _, r := range q.waits {
		if len(batch) > 0 && (r.work != nil || changes+len(r.changes) > maxBatchChanges || size+r.size > maxBatchBytes) {
			break
		}
		n++
		if !r.taken.CompareAndSwap(false, true) {
			continue
		}
		batch = append(batch, r)
		if r.work != nil {
			break
		}
		changes += len(r.changes)
		size += r.size
	}
	q.waits = slices.Delete(q.waits, 0, n)
	return batch
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.wake)
	}
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}
