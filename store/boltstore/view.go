package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

// View implements [store.Store]. All snapshots of one call are of the same moment.
func (s *Store) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if err := store.CheckReads(reads); err != nil {
		return nil, err
	}
	snapshots := make([]store.Snapshot, len(reads))
	err := s.view(func(tx *bolt.Tx) error {
		for i := range reads {
			if err := read(tx, &reads[i], &snapshots[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return snapshots, nil
}

// Owners implements [store.Store].
func (s *Store) Owners(ctx context.Context, after store.Owner, limit int) (owners []store.Owner, err error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if err := store.CheckOwners(after, limit); err != nil {
		return nil, err
	}
	err = s.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketRecords).Cursor()
		for len(owners) < limit {
			var place []byte
			if after == "" {
				place, _ = c.First()
			} else {
				next := appendPlace(nil, after, "")
				next[len(next)-1] = 1
				place, _ = c.Seek(next)
			}
			if place == nil {
				return nil
			}
			o, _, err := splitPlace(place)
			if err != nil {
				return err
			}
			owners, after = append(owners, o), o
		}
		return nil
	})
	return owners, err
}

// view calls f with a transaction that reads; what f keeps of it must be copied.
func (s *Store) view(f func(tx *bolt.Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if down := s.down.Load(); down != nil {
		return *down
	}
	err := contain(func() error {
		tx, err := s.file.db.Begin(false)
		if err != nil {
			return err
		}
		return errors.Join(f(tx), tx.Rollback())
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrCorrupt):
		s.shut(fmt.Errorf("%w: %w", store.ErrClosed, store.ErrCorrupt))
		return err
	}
	return fmt.Errorf("boltstore: read: %w", pathless(err))
}

// read takes a snapshot of one owner.
func read(tx *bolt.Tx, r *store.Read, s *store.Snapshot) error {
	if b := tx.Bucket(bucketOwners).Get([]byte(r.Owner)); len(b) == 8 {
		s.Rev = binary.BigEndian.Uint64(b)
	} else if b != nil {
		return damaged("a revision")
	} else {
		return nil
	}
	records := tx.Bucket(bucketRecords)
	add := func(k store.Key, v []byte, keysOnly bool) error {
		rec := store.Record{Owner: r.Owner, Key: k}
		if err := decodeRecord(&rec, v); err != nil {
			return err
		}
		if rec.Value = bytes.Clone(rec.Value); keysOnly {
			rec.Value = nil
		}
		s.Records = append(s.Records, rec)
		return nil
	}
	for _, k := range r.Keys {
		if v := records.Get(appendPlace(nil, r.Owner, k)); v != nil {
			if err := add(k, v, false); err != nil {
				return err
			}
		}
	}
	q := &r.Range
	if q.Limit == 0 || q.To != "" && q.From >= q.To {
		return nil
	}
	prefix := appendPlace(nil, r.Owner, "")
	from := appendPlace(nil, r.Owner, q.From)
	to := appendPlace(nil, r.Owner, q.To)
	if q.To == "" {
		to[len(to)-1] = 1
	}
	c := records.Cursor()
	k, v := first(c, from, to, q.Descending)
	next := c.Next
	if q.Descending {
		next = c.Prev
	}
	for n := 0; n < q.Limit && k != nil; n++ {
		if bytes.Compare(k, from) < 0 || bytes.Compare(k, to) >= 0 {
			break
		}
		if err := add(store.Key(k[len(prefix):]), v, q.KeysOnly); err != nil {
			return err
		}
		k, v = next()
	}
	return nil
}

// first is the first entry of a range, or, descending, the last.
func first(c *bolt.Cursor, from, to []byte, descending bool) (k, v []byte) {
	if !descending {
		return c.Seek(from)
	}
	if k, _ = c.Seek(to); k == nil {
		return c.Last()
	}
	return c.Prev()
}
