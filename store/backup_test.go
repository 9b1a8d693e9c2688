package store_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// put commits records of one owner, whatever its revision.
func put(tb testing.TB, s store.Store, o store.Owner, puts ...store.Record) {
	tb.Helper()
	change(tb, s, store.Change{Owner: o, Put: puts})
}

func change(tb testing.TB, s store.Store, c store.Change) {
	tb.Helper()
	got, err := s.View(tb.Context(), []store.Read{{Owner: c.Owner}})
	require.NoError(tb, err)
	c.Rev = got[0].Rev
	errs, err := s.Commit(tb.Context(), []store.Change{c})
	require.NoError(tb, err)
	require.Nil(tb, errs)
}

// dump returns all records of all owners, no Value nil.
func dump(tb testing.TB, s store.Store) map[store.Owner][]store.Record {
	tb.Helper()
	all, after := map[store.Owner][]store.Record{}, store.Owner("")
	for {
		names, err := s.Owners(tb.Context(), after, 100)
		require.NoError(tb, err)
		if len(names) == 0 {
			return all
		}
		for _, name := range names {
			from := store.Key("")
			for {
				got, err := s.View(tb.Context(), []store.Read{{Owner: name, Range: store.Range{From: from, Limit: 5000}}})
				require.NoError(tb, err)
				for _, r := range got[0].Records {
					r.Value = append([]byte{}, r.Value...)
					all[name] = append(all[name], r)
				}
				if len(got[0].Records) < 5000 {
					break
				}
				from = got[0].Records[4999].Key + "\x00"
			}
		}
		after = names[len(names)-1]
	}
}

// requireSame fails if two stores hold other records, as require.Equal would, but a hundred times faster.
func requireSame(tb testing.TB, a, b store.Store) {
	tb.Helper()
	same := maps.EqualFunc(dump(tb, a), dump(tb, b), func(a, b []store.Record) bool {
		return slices.EqualFunc(a, b, func(a, b store.Record) bool {
			return a.Owner == b.Owner && a.Key == b.Key && a.Lane == b.Lane && a.Due == b.Due && bytes.Equal(a.Value, b.Value)
		})
	})
	require.True(tb, same, "the stores hold the same")
}

func backup(tb testing.TB, s store.Store) []byte {
	tb.Helper()
	var b bytes.Buffer
	require.NoError(tb, store.Backup(tb.Context(), s, &b))
	return b.Bytes()
}

func restore(tb testing.TB, stream []byte) (store.Store, error) {
	tb.Helper()
	s := memstore.New()
	return s, store.Restore(tb.Context(), bytes.NewReader(stream), s)
}

// varied returns a store with small and large owners, and all that a record can be.
func varied(tb testing.TB) store.Store {
	tb.Helper()
	s := memstore.New()
	random := rand.New(rand.NewPCG(3, 4))
	for _, o := range []store.Owner{"\x00", "a", "a\x00", "many", "\xff", store.Owner(strings.Repeat("\xff", store.MaxKey))} {
		for i := range 3 {
			put(tb, s, o,
				store.Record{Key: store.Key(fmt.Sprint(i)), Value: []byte{byte(i)}},
				store.Record{Key: store.Key(fmt.Sprint(i, "\xff\x00")), Value: make([]byte, random.IntN(3000)), Lane: store.Lane(random.Uint32()), Due: time.UnixMicro(1 + random.Int64N(1e15))},
				store.Record{Key: store.Key(strings.Repeat("\xff", store.MaxKey)), Lane: 0xffff, Due: time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC)},
			)
		}
	}
	for i := range 3 {
		put(tb, s, "many", putAll(numbered[store.Key](700, 4+i), []byte("value"))...)
	}
	for i := range 12 {
		put(tb, s, "large", store.Record{Key: store.Key(fmt.Sprint(i)), Value: bytes.Repeat([]byte{byte(i)}, store.MaxValue)})
	}
	return s
}

func TestBackupRestoresEqual(t *testing.T) {
	t.Parallel()
	s := varied(t)
	stream := backup(t, s)
	copied := memstore.New()
	require.NoError(t, store.Restore(t.Context(), iotest.HalfReader(bytes.NewReader(stream)), copied))
	requireSame(t, s, copied)

	due, err := copied.Due(t.Context(), store.DueQuery{Lanes: []store.Lane{0xffff}, Until: time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC), Limit: 100})
	require.NoError(t, err)
	require.Len(t, due, 6, "scheduled records are in their lanes")
}

func TestBackupOfNothing(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	put(t, s, "emptied", store.Record{Key: "k"})
	change(t, s, store.Change{Owner: "emptied", Delete: []store.Key{"k"}})
	copied, err := restore(t, backup(t, s))
	require.NoError(t, err)
	require.Empty(t, dump(t, copied))
}

// The format is one that later versions can read.
func TestBackupFormat(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	put(t, s, "one", store.Record{Key: "a", Value: []byte("first")})
	put(t, s, "one", store.Record{Key: "b", Lane: 300, Due: time.UnixMicro(1e15), Value: []byte("second")})
	put(t, s, "two", store.Record{Key: "c"})
	const want = "617070696f626b70" + "00000001" + "b62da7ea" + // magic, version, crc
		"00000023" + "0ae82270" + "4f" + "036f6e65" + "02" + // length, crc, kind, owner, revision
		"0161" + "00" + "00" + "056669727374" + // key, lane, due, value
		"0162" + "ac02" + "80809aa6eaafe301" + "067365636f6e64" +
		"0000000b" + "8c962ed4" + "4f" + "0374776f" + "01" +
		"0163" + "00" + "00" + "00" +
		"00000003" + "7750f462" + "45" + "02" + "02" // owners, frames
	require.Equal(t, want, hex.EncodeToString(backup(t, s)))
}

// paged notes how records are read, and calls before each View.
type paged struct {
	store.Store
	before func()
	most   int
}

func (p *paged) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if p.before != nil {
		p.before()
	}
	for _, r := range reads {
		p.most = max(p.most, r.Range.Limit)
	}
	return p.Store.View(ctx, reads)
}

func TestBackupReadsALargeOwnerInPages(t *testing.T) {
	t.Parallel()
	s := &paged{Store: memstore.New()}
	for part := range slices.Chunk(numbered[store.Key](100_000, 6), 1000) {
		put(t, s.Store, "large", putAll(part, []byte("value"))...)
	}
	copied, err := restore(t, backup(t, s))
	require.NoError(t, err)
	requireSame(t, s.Store, copied)
	require.Equal(t, 256, s.most)
}

func TestBackupOfAnOwnerThatChanges(t *testing.T) {
	t.Parallel()
	large := func(t *testing.T) *paged {
		s := &paged{Store: memstore.New()}
		put(t, s, "a", store.Record{Key: "k"})
		put(t, s, "b", putAll(numbered[store.Key](900, 4), []byte("old"))...)
		put(t, s, "c", store.Record{Key: "k"})
		return s
	}
	t.Run("it is copied as it was at one moment", func(t *testing.T) {
		for at := range 12 {
			s, views := large(t), 0
			s.before = func() {
				if views++; views%4 == at%4 && views <= at {
					put(t, s.Store, "b", putAll(numbered[store.Key](900, 4), fmt.Appendf(nil, "new %d", views))...)
				}
			}
			stream := backup(t, s)
			s.before = nil
			copied, err := restore(t, stream)
			require.NoError(t, err)
			values := map[string]bool{}
			for _, r := range dump(t, copied)["b"] {
				values[string(r.Value)] = true
			}
			require.Len(t, values, 1, "all of one revision")
			require.Len(t, dump(t, copied)["b"], 900)
			require.Len(t, dump(t, copied), 3)
		}
	})
	t.Run("records deleted meanwhile are not in the copy", func(t *testing.T) {
		s, views := large(t), 0
		s.before = func() {
			if views++; views == 4 { // two pages of b were copied
				change(t, s.Store, store.Change{Owner: "b", Delete: numbered[store.Key](900, 4)[10:]})
			}
		}
		copied, err := restore(t, backup(t, s))
		require.NoError(t, err)
		requireSame(t, s.Store, copied)
		require.Len(t, dump(t, copied)["b"], 10)
	})
	t.Run("an owner deleted meanwhile is not in the copy", func(t *testing.T) {
		for _, at := range []int{1, 2, 3, 4} {
			s, views := large(t), 0
			s.before = func() {
				if views++; views == at {
					change(t, s.Store, store.Change{Owner: "b", Delete: numbered[store.Key](900, 4)})
				}
			}
			copied, err := restore(t, backup(t, s))
			require.NoError(t, err)
			requireSame(t, s.Store, copied)
			require.Len(t, dump(t, copied), 2)
		}
	})
	t.Run("it is given up when it never stands still", func(t *testing.T) {
		s := large(t)
		s.before = func() { put(t, s.Store, "b", store.Record{Key: "k"}) }
		require.ErrorIs(t, store.Backup(t.Context(), s, io.Discard), store.ErrConflict)
	})
}

// own is a store with a backup of its own, wrapper one around it.
type own struct{ store.Store }

func (own) Backup(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, "its own")
	return err
}

type wrapper struct{ store.Store }

func (w wrapper) Unwrap() store.Store { return w.Store }

func TestBackupByTheStoreItself(t *testing.T) {
	t.Parallel()
	require.Equal(t, "its own", string(backup(t, own{})))
	require.Equal(t, "its own", string(backup(t, wrapper{wrapper{own{memstore.New()}}})))
	require.Equal(t, backup(t, memstore.New()), backup(t, wrapper{wrapper{memstore.New()}}))
}
