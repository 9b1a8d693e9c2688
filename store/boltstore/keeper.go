package boltstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

// A keeper writes tables to the file and keeps the file in shape, beside commits: it prepares what is to be written, and has
// the writer write it, a part at a time.
type keeper struct {
	wake   chan struct{}
	idle   chan struct{} // has one in it while at work
	force  atomic.Bool   // there is no room: free what can be freed
	rivals atomic.Int32  // compactions that wait for idle
}

// errRival is returned when the keeper leaves its work as it is, for a compaction to begin.
var errRival = errors.New("boltstore: a compaction waits")

// retryFull is how long the keeper waits when there is no room.
const retryFull = 200 * time.Millisecond

func (s *Store) keep() {
	retry := time.NewTimer(retryFull)
	defer retry.Stop()
	for s.down.Load() == nil {
		select {
		case <-s.keeper.wake:
		case <-retry.C:
		}
		err := s.upkeep()
		switch {
		case err == nil:
			s.stuck.Store(nil)
		case errors.Is(err, errRival):
			signal(s.keeper.wake)
		case errors.Is(err, store.ErrFull):
			s.stuck.Store(&err)
			retry.Reset(retryFull)
		default:
			s.stuck.Store(&err)
			signal(s.queue.wake)
			return
		}
		signal(s.queue.wake)
	}
}

// upkeep does all there is to do.
func (s *Store) upkeep() error {
	s.keeper.idle <- struct{}{}
	defer func() { <-s.keeper.idle }()
	if err := s.sweep(); err != nil {
		return err
	}
	force := s.keeper.force.Swap(false)
	flushed, err := s.flush(force)
	if err != nil {
		return err
	}
	force = force && flushed
	if err := s.mergeRuns(force); err != nil {
		return err
	}
	return s.collect(force)
}

// do has the writer do some work, after which the keeper goes on.
func (s *Store) do(work func() error) error {
	return s.ask(context.Background(), &request{work: work})
}

// newRun begins a run whose blocks are written as they become full.
func (s *Store) newRun(after func() error) *runBuilder {
	return newRunBuilder(s.newRunID(), partsSize(s.opts.Memory), func(bucket []byte, parts []part) error {
		if err := s.do(func() error { return s.explain(s.file.put(bucket, parts)) }); err != nil {
			return err
		}
		return after()
	})
}

// runNoise bits of the number of a run are random. So a page that the disk did not write, and that still has a block of a run
// that was never finished and had the same count, does not pass for one of this run.
const runNoise = 24

func (c *content) newRunID() uint64 {
	c.runs++
	return (c.runs-1)<<runNoise | rand.Uint64N(1<<runNoise)
}

func partsNeed(parts []part) need {
	n := need{step: "blocks"}
	for _, p := range parts {
		n.bytes += len(p.key) + len(p.block)
	}
	return n
}

// put writes parts of a run.
func (f *file) put(bucket []byte, parts []part) error {
	return f.update(partsNeed(parts), func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		b.FillPercent = 1
		for _, p := range parts {
			if err := b.Put(p.key, p.block); err != nil {
				return err
			}
		}
		return nil
	})
}

// flush writes the first table to the file, as a run, if it has grown enough, or has anything and must.
func (s *Store) flush(must bool) (done bool, err error) {
	var t *table
	var mark uint64
	if err := s.do(func() error {
		if t := s.tables[0]; len(s.tables) == 1 && (t.weight() >= s.opts.Memory/2 || must && t.size > 0) {
			s.freeze()
		}
		if len(s.tables) > 1 {
			t, mark = s.tables[1], s.frozen
		}
		return nil
	}); err != nil || t == nil {
		return false, err
	}
	b := s.newRun(func() error { return nil })
	for place, payload := range t.places() {
		if err := b.add(place, payload); err != nil {
			return false, err
		}
	}
	r, err := b.finish()
	if err != nil {
		return false, err
	}
	return true, s.do(func() error {
		next := s.state
		next.mark, next.runs = mark, append(next.runs[:len(next.runs):len(next.runs)], r)
		return s.turn(next, s.segments, s.tables[:1:1])
	})
}

// breathe lets a table be written to the file in the midst of longer work, or has that given up.
func (s *Store) breathe() error {
	if s.keeper.rivals.Load() > 0 {
		return errRival
	}
	_, err := s.flush(false)
	return err
}

// freeze begins a new table, and a new segment of the log for its changes. The writer calls it.
func (s *Store) freeze() {
	s.frozen, s.cut = s.nextSegment(), true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hints.lower(s.tables[0])
	s.tables = []*table{newTable(), s.tables[0]}
	s.epoch++
}

// turn makes the store go on with a state and tables. The writer calls it.
func (s *Store) turn(next state, segs segments, tables []*table) error {
	if err := s.explain(s.content.turn(next, segs)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.tables = next, tables
	s.epoch++
	return nil
}
