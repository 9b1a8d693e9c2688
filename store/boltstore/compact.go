package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

// compacted ends the name of the file that Compact makes beside the store's.
const compacted = ".compact"

// Compact rewrites the file without what is no longer in use: what was deleted or replaced is then gone from it. Changes wait
// meanwhile, and a file as large as what is in use is made beside this one. A crash leaves the old file or the new one, with
// the same records.
func (s *Store) Compact(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if s.opts.ReadOnly {
		return fmt.Errorf("boltstore: compact: %w", store.ErrReadOnly)
	}
	s.keeper.rivals.Add(1)
	select {
	case s.keeper.idle <- struct{}{}:
		s.keeper.rivals.Add(-1)
	case <-ctx.Done():
		s.keeper.rivals.Add(-1)
		return s.ready(ctx)
	}
	defer func() { <-s.keeper.idle }()
	if err := s.ask(ctx, &request{work: func() error { return s.compact(ctx) }}); err != nil {
		return fmt.Errorf("boltstore: compact: %w", pathless(full(err)))
	}
	return nil
}

// compact is done by the writer, while the keeper is not at work.
func (s *Store) compact(ctx context.Context) error {
	name := s.path + compacted
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	next, err := openContent(name, &s.opts)
	if err != nil {
		os.Remove(name)
		return err
	}
	c := copier{ctx: ctx, from: s, to: &next}
	if err = errors.Join(c.copy(), s.file.at("copied", false)); err == nil {
		err = os.Rename(name, s.path) // the file has been locked since it was made
	}
	if err != nil {
		return errors.Join(err, next.file.close(false), os.Remove(name))
	}
	if err := errors.Join(s.file.at("renamed", false), syncDir(filepath.Dir(s.path))); err != nil {
		return s.fail(err) // which file has the name after a crash is not known
	}
	s.mu.Lock()
	old := s.file
	s.content = next
	s.open.Store(next.file)
	s.hints.clear() // what the first table had due is below it now
	s.epoch++
	s.mu.Unlock()
	return old.close(false)
}

// A copier copies what is in use of a store to a new file.
type copier struct {
	ctx   context.Context
	from  *Store
	to    *content
	run   *runBuilder
	batch []copied
	size  int // of the values of batch
}

// A copied is a place and, if it is that of a record, what is needed to write its value anew.
type copied struct {
	place, payload []byte
	owner          store.Owner
	entry          entry
}

// copyAtOnce is how many bytes of values are copied in one transaction, about.
const copyAtOnce = 2 << 20

func (c *copier) copy() error {
	c.to.file.db.NoSync = true
	c.run = newRunBuilder(c.to.newRunID(), partsSize(c.from.opts.Memory), c.to.file.put)
	m := c.from.newMerger(c.from.tables, c.from.state.runs, true)
	defer m.close()
	if err := m.merge(c.add); err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	r, err := c.run.finish()
	if err != nil {
		return err
	}
	next := state{mark: c.to.nextSegment()}
	if r != nil {
		next.runs = []*run{r}
	}
	if err := c.to.turn(next, c.to.segments); err != nil {
		return err
	}
	c.to.state, c.to.cut, c.to.tables[0] = next, true, newTable()
	c.to.file.db.NoSync = c.from.opts.noSync
	if err := c.to.file.db.Sync(); err != nil {
		return err
	}
	// bbolt goes back by one transaction if its last meta page is damaged: that must not be to a file half made.
	return c.to.file.update(need{step: "settle"}, func(*bolt.Tx) error { return nil })
}

// add takes a place that is in use.
func (c *copier) add(place, payload []byte) error {
	x := copied{place: bytes.Clone(place), payload: bytes.Clone(payload)}
	if place[0] == placeOwner && payload[0]&flagPut != 0 {
		o, key, ok := splitName(place[1:])
		if !ok {
			return damaged("a place")
		}
		var err error
		if x.entry, err = decodeEntry(x.payload); err != nil {
			return err
		}
		x.owner, x.entry.key = o, store.Key(key)
	}
	c.batch = append(c.batch, x)
	c.size += int(x.entry.size)
	if c.size < copyAtOnce && len(c.batch) < copyAtOnce/64 {
		return nil
	}
	return c.flush()
}

// flush writes the values of the batch to the log, and then its places to the run.
func (c *copier) flush() error {
	if err := c.from.ready(c.ctx); err != nil {
		return err
	}
	moves, err := c.moves()
	if err != nil {
		return err
	}
	if len(moves) > 0 {
		if err := c.to.append(moves, noSpare); err != nil {
			return err
		}
	}
	for _, m := range moves {
		c.to.made(m, m.at+uint64(len(m.frame)))
	}
	for i := range c.batch {
		x := &c.batch[i]
		if x.entry.size > 0 {
			for len(moves[0].entries) == 0 {
				moves = moves[1:]
			}
			x.entry.addr = moves[0].at + moves[0].entries[0].addr
			moves[0].entries = moves[0].entries[1:]
			x.payload = appendEntry(x.payload[:0], &x.entry)
		}
		if err := c.run.add(x.place, x.payload); err != nil {
			return err
		}
	}
	c.batch, c.size = c.batch[:0], 0
	return nil
}

// moves returns changes with the values of the batch, in its order.
func (c *copier) moves() (moves []*change, err error) {
	err = c.from.view(func(tx *bolt.Tx) error {
		log := logReader{c: tx.Bucket(bucketLog).Cursor()}
		for i := 0; i < len(c.batch); {
			var puts []store.Record
			owner := c.batch[i].owner
			for ; i < len(c.batch) && c.batch[i].owner == owner && len(puts) < store.MaxRecords; i++ {
				x := &c.batch[i]
				if x.entry.size == 0 {
					continue
				}
				value, err := log.value(nil, owner, &x.entry)
				if err != nil {
					return err
				}
				puts = append(puts, store.Record{Key: x.entry.key, Lane: x.entry.lane, Due: timeOf(x.entry.due), Value: value})
			}
			if len(puts) > 0 {
				m := encodeMove(owner, puts)
				moves = append(moves, &m)
			}
		}
		return nil
	})
	return moves, err
}

// syncDir makes a rename in a directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // where a directory cannot be written to disk
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
