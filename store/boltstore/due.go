package boltstore

import (
	"bytes"
	"context"

	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

// Due implements [store.Store]. All lanes of one call are of the same moment.
func (s *Store) Due(ctx context.Context, q store.DueQuery) (due []store.Record, err error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if err := store.CheckDue(q); err != nil {
		return nil, err
	}
	err = s.view(func(tx *bolt.Tx) error {
		for _, lane := range q.Lanes {
			if due, err = appendLane(due, tx, lane, &q); err != nil {
				return err
			}
		}
		return nil
	})
	return due, err
}

func appendLane(due []store.Record, tx *bolt.Tx, lane store.Lane, q *store.DueQuery) ([]store.Record, error) {
	records := tx.Bucket(bucketRecords)
	from := appendPlace(appendDue(nil, lane, dueOf(q.After.Due)), q.After.Owner, q.After.Key)
	end := appendDue(nil, lane, dueOf(q.Until)+1)
	c := tx.Bucket(bucketDue).Cursor()
	k, _ := c.Seek(from)
	if bytes.Equal(k, from) {
		k, _ = c.Next()
	}
	for n := 0; n < q.Limit && k != nil && bytes.Compare(k, end) < 0; n++ {
		place := k[len(end):]
		o, key, err := splitPlace(place)
		if err != nil {
			return due, err
		}
		r := store.Record{Owner: o, Key: key}
		if err := decodeRecord(&r, records.Get(place)); err != nil {
			return due, err
		}
		r.Value = bytes.Clone(r.Value)
		due = append(due, r)
		k, _ = c.Next()
	}
	return due, nil
}
