package appio

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/mutate"
	"github.com/appio-go/appio/store"
)

// TestHostileBytes changes what the engine reads of a store, or is handed by callers, and lets its decoders read it.
func TestHostileBytes(t *testing.T) {
	w := readWorld(t)
	c := &codec{ring: w.ring}
	openers := w.openers(t, c)
	known := map[string]bool{}
	var values, payloads [][]byte
	for i := range w.dump {
		known[string(w.dump[i].Value)] = true
		values = append(values, w.dump[i].Value)
	}
	for _, p := range w.payloads(t) {
		payloads = append(payloads, p.payload)
	}
	kinds := slices.Sorted(maps.Keys(recordKinds))

	given := map[string]bool{"": true}
	var cursors, tokens [][]byte
	for i, key := range []string{"", "a", "01HZY3V7K8QZ4M5N6P7R8S9T0V"} {
		cur := sealedText(c.cursor, i, []byte("\x00"+key), "inbox")
		given[cur] = true
		cursors = append(cursors, []byte(cur))
	}
	var withdrawals [][]byte
	for i, id := range []ServiceID{"tari", "mensa"} {
		enc, err := encode(&withdrawal{Owner: "c/abc", Service: id, Channel: Email})
		require.NoError(t, err)
		withdrawals = append(withdrawals, bytes.Clone(enc.b))
		token := sealedText(c.token, i, enc.b, withdrawalPurpose)
		given[token] = true
		tokens = append(tokens, []byte(token))
	}
	only := func(err error, allowed ...error) error {
		if err == nil || slices.ContainsFunc(allowed, func(a error) bool { return errors.Is(err, a) }) {
			return nil
		}
		return err
	}
	mutate.Run(t, 0.02,
		mutate.Decoder{Name: "records", Seeds: payloads, Read: func(r *rand.Rand, b []byte) error {
			return only(decode(b, recordKinds[kinds[r.IntN(len(kinds))]]()), store.ErrCorrupt)
		}},
		mutate.Decoder{Name: "envelopes", Seeds: values, Read: func(r *rand.Rand, b []byte) error {
			rec := w.dump[r.IntN(len(w.dump))]
			rec.Value = b
			_, err := openers[rec.Owner].payload(&rec)
			if err == nil && !known[string(b)] && !(rec.Owner == ownerMeta && rec.Key == keyFormat) {
				return fmt.Errorf("a record opened that nobody sealed: %q", rec.Key)
			}
			return only(err, store.ErrCorrupt, store.ErrKey, store.ErrNewer)
		}},
		mutate.Decoder{Name: "cursors", Seeds: cursors, Read: func(_ *rand.Rand, b []byte) error {
			p, err := c.openCursor("inbox", Cursor(b))
			if (err == nil) != given[string(b)] {
				return fmt.Errorf("a cursor that no list gave: %v %w", p, err)
			}
			return only(err, ErrInvalid)
		}},
		mutate.Decoder{Name: "positions", Seeds: [][]byte{[]byte("1700000000000000 c/abc p/1"), []byte("")}, Read: func(_ *rand.Rand, b []byte) error {
			_, err := parsePosition(string(b))
			return only(err, ErrInvalid)
		}},
		mutate.Decoder{Name: "withdraw tokens", Seeds: tokens, Read: func(_ *rand.Rand, b []byte) error {
			_, err := c.openWithdrawal(string(b))
			if (err == nil) != (given[string(b)] && len(b) > 0) {
				return fmt.Errorf("a token that nobody gave: %w", err)
			}
			return only(err, ErrUnauthorized)
		}},
		mutate.Decoder{Name: "withdrawals", Seeds: withdrawals, Read: func(_ *rand.Rand, b []byte) error {
			_, err := c.openWithdrawal(sealedText(c.token, 9, b, withdrawalPurpose))
			return only(err, ErrUnauthorized)
		}},
		mutate.Decoder{Name: "key files", Seeds: [][]byte{[]byte(keyLine(1, 1)), []byte(keyLine(1, 1) + keyLine(2, 2))}, Read: func(_ *rand.Rand, b []byte) error {
			k, err := parseKeyFile(b)
			if err != nil {
				return nil
			}
			if id, key, err := k.Current(); err != nil || id == 0 || len(key) != keySize {
				return fmt.Errorf("current key %d of %d bytes: %w", id, len(key), err)
			}
			return nil
		}},
	)
}
