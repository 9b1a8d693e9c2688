package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/mutate"
	"github.com/appio-go/appio/store"
)

// TestHostileBytes changes what a file holds, gives it the checksum that it then has, and lets the store read it. It runs alone, as
// it looks at the memory of the process.
func TestHostileBytes(t *testing.T) {
	var frames, blocks, keys [][]byte
	changes, _ := encode([]store.Change{
		{Owner: "o", Put: []store.Record{{Key: "k", Value: []byte("v")}}, Delete: []store.Key{"d"}},
		{Owner: "other", Rev: 1 << 40, Put: []store.Record{{Key: "k", Lane: 7, Due: time.UnixMicro(5), Value: bytes.Repeat([]byte("v"), 300)}, {Key: "l"}}},
	}, nil)
	for _, c := range changes {
		frames = append(frames, c.frame[:binary.LittleEndian.Uint32(c.frame[4:])])
	}
	b := newRunBuilder(7, 1<<20, func(_ []byte, p []part) error {
		for i := range p {
			blocks, keys = append(blocks, p[i].block), append(keys, p[i].key)
		}
		return nil
	})
	for i := range 600 {
		require.NoError(t, b.add(append(appendOwner(nil, store.Owner(rune('a'+i/100))), byte(i)), []byte("payload")))
	}
	_, err := b.finish()
	require.NoError(t, err)
	found := func(err error) error {
		if err == nil || errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrNewer) {
			return nil
		}
		return err
	}
	mutate.Run(t, 0,
		mutate.Decoder{Name: "changes", Seeds: frames, Read: func(_ *rand.Rand, b []byte) error {
			if len(b) < headerStart {
				return nil
			}
			binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
			return found(new(change).decode(b))
		}},
		mutate.Decoder{Name: "states", Seeds: [][]byte{(&state{mark: pieceSize, runs: []*run{{id: 1, last: []byte("x")}, {id: 2, last: []byte("y")}}}).encode()[4:]},
			Read: func(_ *rand.Rand, b []byte) error {
				_, err := decodeState(seal(keyState, b))
				return found(err)
			}},
		mutate.Decoder{Name: "blocks", Seeds: blocks, Read: func(r *rand.Rand, b []byte) error {
			key := keys[r.IntN(len(keys))]
			if r.IntN(2) == 0 && len(b) > 4 { // with the checksum that it then has
				b = seal(key, b[4:])
			}
			return found(contain(func() error { // as all that reads the file
				k, err := readBlock(key, b)
				if err != nil {
					return err
				}
				var c blockCursor
				for ok := c.seek(&k, nil); ok; ok = c.next() {
					if _, err := decodeEntry(c.payload); err != nil {
						return err
					}
				}
				return nil
			}))
		}},
		mutate.Decoder{Name: "entries", Seeds: [][]byte{{1, 2, 3, 4, 5}, {0x80, 1, 0x80, 2}}, Read: func(_ *rand.Rand, b []byte) error {
			_, err := decodeEntry(b)
			_, err2 := decodeRevision(b)
			return errors.Join(found(err), found(err2))
		}},
		mutate.Decoder{Name: "names", Seeds: [][]byte{appendOwner(nil, "a\x00b"), appendDue(nil, 1, item{5, "o", "k"})}, Read: func(_ *rand.Rand, b []byte) error {
			_, _, _ = splitName(b)
			_, _, _ = splitDue(b)
			return nil
		}},
	)
}
