package boltstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

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
	if s.opts.ReadOnly {
		return nil, store.ErrReadOnly
	}
	r := &request{frames: frames.Get().(*[]byte)}
	r.changes, *r.frames = encode(changes, *r.frames)
	if err := s.ask(ctx, r); err != nil {
		return nil, err
	}
	return r.errs, nil
}

// ask hands r to the writer and waits for the answer, or until ctx ends and the writer has not begun.
func (s *Store) ask(ctx context.Context, r *request) error {
	r.done = make(chan error, 1)
	if !s.queue.add(r) {
		return *s.down.Load()
	}
	select {
	case err := <-r.done:
		return err
	case <-s.broken:
	case <-ctx.Done():
		if r.taken.CompareAndSwap(false, true) {
			return fmt.Errorf("%w: %w", store.ErrAborted, ctx.Err())
		}
		select {
		case err := <-r.done:
			return err
		case <-s.broken:
		}
	}
	select {
	case err := <-r.done:
		return err
	case <-time.After(patience): // the writer waits for a lock of bbolt that is never released
		return fmt.Errorf("%w: bbolt does not answer", store.ErrCorrupt)
	}
}

// patience is how long to wait for goroutines that may be caught in bbolt after it has panicked.
const patience = time.Second

// write is the writer: the only goroutine that changes the file and the tables.
func (s *Store) write() {
	var batch []*request
	for range s.queue.wake {
		for {
			batch = s.queue.take(batch[:0], s.brimful() && s.refusal() == nil)
			if len(batch) == 0 {
				break
			}
			s.serve(batch)
			clear(batch)
		}
		if rest, closed := s.queue.rest(); closed {
			for _, r := range rest {
				r.done <- *s.down.Load()
			}
			return
		}
	}
}

// brimful reports whether changes must wait until the keeper has written a table to the file.
func (s *Store) brimful() bool {
	limit := s.opts.Memory
	if len(s.tables) > 1 {
		limit /= 2
	}
	return s.tables[0].weight() >= limit
}

// refusal returns why changes cannot be made, now or any more.
func (s *Store) refusal() error {
	if err := s.down.Load(); err != nil {
		return *err
	}
	if err := s.stale.Load(); err != nil {
		return *err
	}
	if err := s.stuck.Load(); err != nil && s.brimful() {
		return *err
	}
	return nil
}

// serve answers all requests of a batch.
func (s *Store) serve(batch []*request) {
	if work := batch[0].work; work != nil {
		err := s.refusal()
		if err == nil || errors.Is(err, store.ErrFull) {
			err = work()
		}
		batch[0].done <- err
		return
	}
	err := s.commit(batch)
	if errors.Is(err, store.ErrFull) {
		s.keeper.force.Store(true)
		signal(s.keeper.wake)
		for _, r := range batch { // a smaller one may have room
			r.errs, r.err = nil, nil
			if err := s.commit([]*request{r}); err != nil {
				r.err = err
			}
		}
		err = nil
	}
	for _, r := range batch {
		if r.err == nil {
			r.err = err
		}
		if r.err != nil {
			r.errs = nil
		}
		r.answer()
	}
}

// commit makes the changes of a batch that do not conflict: it appends them to the log, and then applies them.
func (s *Store) commit(batch []*request) error {
	if err := s.refusal(); err != nil {
		return err
	}
	made, err := s.judge(batch)
	if err != nil || len(made) == 0 {
		return err
	}
	spare := spareDelete
	for _, c := range made {
		if !c.deletes() {
			spare = sparePut
		}
	}
	if err := s.explain(s.append(made, spare)); err != nil {
		return err
	}
	s.apply(made)
	return nil
}

// judge returns the changes that do not conflict, and says in the requests which do.
func (s *Store) judge(batch []*request) (made []*change, err error) {
	revs := map[store.Owner]uint64{} // of owners that are not in the first table, or are changed in this batch
	if err := s.lookUp(batch, revs); err != nil {
		return nil, err
	}
	for _, r := range batch {
		if r.err != nil {
			continue
		}
		for i := range r.changes {
			c := &r.changes[i]
			rev, ok := revs[c.owner]
			if !ok {
				rev = s.tables[0].owners[c.owner].rev
			}
			if rev != c.rev {
				if r.errs == nil {
					r.errs = make([]error, len(r.changes))
				}
				r.errs[i] = store.ErrConflict
				continue
			}
			revs[c.owner] = rev + 1
			made = append(made, c)
		}
	}
	return made, nil
}

// lookUp finds the revisions of owners that the first table does not know. A request of whose owners one cannot be read is
// answered with that error.
func (s *Store) lookUp(batch []*request, revs map[store.Owner]uint64) error {
	var unknown []store.Owner
	for _, r := range batch {
		for i := range r.changes {
			o := r.changes[i].owner
			if x := s.tables[0].owners[o]; x != nil && !x.moved {
				continue
			}
			if rev, ok := s.revs.get(o, s.epoch); ok {
				revs[o] = rev
			} else {
				unknown = append(unknown, o)
			}
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	bad := map[store.Owner]error{}
	err := s.view(func(tx *bolt.Tx) error {
		v := s.snapshot(tx)
		var w ownerView
		for _, o := range unknown {
			v.owner(&w, o, nil)
			rev, _, err := w.rev()
			if err != nil {
				bad[o] = err
			}
			revs[o] = rev
		}
		v.release()
		return nil
	})
	for _, r := range batch {
		for i := range r.changes {
			if e := bad[r.changes[i].owner]; e != nil {
				r.err = e
			}
		}
	}
	return err
}

// apply makes visible what is in the log. A reader may see some changes before others.
func (s *Store) apply(made []*change) {
	for len(made) > 0 {
		n := min(len(made), 64)
		s.mu.Lock()
		for _, c := range made[:n] {
			s.made(c, c.at+uint64(len(c.frame)))
			s.tables[0].apply(c, s.segments.kill)
		}
		s.mu.Unlock()
		made = made[n:]
	}
	if s.tables[0].weight() >= s.opts.Memory/2 {
		signal(s.keeper.wake)
	}
}

// update calls f with a transaction that writes, and commits it. The writer calls it.
func (s *Store) update(n need, f func(tx *bolt.Tx) error) error {
	return s.explain(s.file.update(n, f))
}

// explain returns the contract's error for one of writing, and ends the use of the store that it must end.
func (s *Store) explain(err error) error {
	var panicked *panicError
	switch {
	case errors.As(err, &panicked):
		s.breakDown(err)
		return err
	case err == nil, errors.Is(err, store.ErrAborted), errors.Is(err, store.ErrCorrupt):
		return err
	}
	return s.fail(err)
}

// fail makes the store refuse changes from now on.
func (s *Store) fail(err error) error {
	if !errors.Is(err, store.ErrFailed) {
		err = fmt.Errorf("%w: %w", store.ErrFailed, pathless(err))
	}
	s.stale.CompareAndSwap(nil, &err)
	return err
}
