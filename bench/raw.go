package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/internal/workload"
)

// rawBatch is how many messages one transaction of raw bbolt has.
const rawBatch = 500

var (
	rawMessages = []byte("messages")
	rawInbox    = []byte("inbox")
)

// raw writes the bytes of accepted messages into bbolt and does nothing else: one value in the order of time with content,
// decision and outcome, one key in the citizen's inbox. It is what bbolt itself can do with them, from one goroutine, set up as
// well as we know. It reads nothing, refuses nobody and delivers nothing.
func raw(ctx context.Context, dir string, s size) (res result, err error) {
	s.Senders = 1
	res.size = s
	db, err := openRaw(filepath.Join(dir, "raw.db"))
	if err != nil {
		return res, err
	}
	defer db.Close()
	// Pseudonyms, as they stand in front of an inbox key, are made beforehand.
	citizens := make([][16]byte, s.Citizens)
	for n := range citizens {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
		copy(citizens[n][:], sum[:])
	}
	p := workload.NewProgress("messages", s.Messages)
	before := used()
	start := time.Now()
	for from := 0; from < s.Messages; from += rawBatch {
		if err := ctx.Err(); err != nil {
			return res, err
		}
		to := min(from+rawBatch, s.Messages)
		err := db.Update(func(tx *bolt.Tx) error {
			messages, inbox := tx.Bucket(rawMessages), tx.Bucket(rawInbox)
			messages.FillPercent = 0.9
			for n := from; n < to; n++ {
				id := make([]byte, 16) // as a ULID: time first
				binary.BigEndian.PutUint64(id, uint64(n))
				value := append(content(workload.Message("", n)), record(decisionBytes+outcomeBytes)...)
				if err := messages.Put(id, value); err != nil {
					return err
				}
				who := citizens[rand.IntN(len(citizens))]
				if err := inbox.Put(append(who[:], id...), nil); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return res, err
		}
		p.Add(to - from)
	}
	took := time.Since(start)
	res.use(before)
	p.End()
	res.AcceptedPerS = float64(s.Messages) / took.Seconds()
	res.DeliveriesPerS = res.AcceptedPerS
	stored, err := countRaw(db)
	if err != nil {
		return res, err
	}
	return res, res.compare(counts{Accepted: s.Messages}, stored)
}

func openRaw(path string) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		NoFreelistSync: true, FreelistType: bolt.FreelistMapType, InitialMmapSize: 4 << 30, PageSize: 4096,
	})
	if err != nil {
		return nil, err
	}
	return db, db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{rawMessages, rawInbox} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// countRaw counts messages that are whole and in an inbox.
func countRaw(db *bolt.DB) (c counts, err error) {
	err = db.View(func(tx *bolt.Tx) error {
		messages := tx.Bucket(rawMessages)
		return tx.Bucket(rawInbox).ForEach(func(k, _ []byte) error {
			if len(messages.Get(k[16:])) == contentBytes+decisionBytes+outcomeBytes {
				c.Accepted++
			}
			return nil
		})
	})
	return c, err
}
