package boltstore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

func TestListIsASortedSlice(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	var l list[int]
	var want []int
	seek := func(n int) spot { return l.seek(func(x *int) bool { return *x < n }) }
	for range 5000 {
		n := r.IntN(3000)
		i, there := slices.BinarySearch(want, n)
		p := seek(n)
		if e := l.at(p); there != (e != nil && *e == n) {
			t.Fatalf("seek(%d) finds the wrong item", n)
		}
		switch {
		case !there:
			l.insert(p, n, 1)
			want = slices.Insert(want, i, n)
		case r.IntN(2) == 0:
			l.remove(p)
			want = slices.Delete(want, i, i+1)
		}
	}
	var forward, backward []int
	for p := (spot{}); l.at(p) != nil; p = l.after(p) {
		forward = append(forward, *l.at(p))
	}
	for p, ok := l.before(l.end()); ok; p, ok = l.before(p) {
		backward = append(backward, *l.at(p))
	}
	slices.Reverse(backward)
	require.Equal(t, want, forward)
	require.Equal(t, want, backward)
}

// awkward returns a name of few different bytes.
func awkward(r *rand.Rand) string {
	b := make([]byte, 1+r.IntN(5))
	for i := range b {
		b[i] = "\x00\x01a\xfe\xff"[r.IntN(5)]
	}
	return string(b)
}

func TestPlacesAreInTheOrderOfNames(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(2, 2))
	for range 20000 {
		o, p := store.Owner(awkward(r)), store.Owner(awkward(r))
		k, l := awkward(r), awkward(r)
		a, b := append(appendOwner(nil, o), k...), append(appendOwner(nil, p), l...)
		require.Equal(t, cmp.Or(cmp.Compare(o, p), cmp.Compare(k, l)), bytes.Compare(a, b), "%q %q and %q %q", o, k, p, l)
		got, key, ok := splitName(a[1:])
		require.True(t, ok)
		require.Equal(t, o, got)
		require.Equal(t, k, string(key))
		past := pastOwner(appendOwner(nil, o))
		require.Equal(t, o < p, bytes.Compare(past, b) < 0)

		i, j := item{uint64(r.IntN(3)), o, store.Key(k)}, item{uint64(r.IntN(3)), p, store.Key(l)}
		x, y := appendDue(nil, 1, i), appendDue(nil, 1, j)
		require.Equal(t, i.compare(&j), bytes.Compare(x, y))
		lane, it, ok := splitDue(x)
		require.True(t, ok && lane == 1 && it == i)
		require.Negative(t, bytes.Compare(a, x), "records come before lanes")
	}
}

func TestChangeIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 3))
	for range 500 {
		var changes []store.Change
		for i := range 1 + r.IntN(3) {
			c := store.Change{Owner: store.Owner(fmt.Sprint(awkward(r), i)), Rev: r.Uint64N(1 << 40)}
			for j := range r.IntN(5) {
				c.Put = append(c.Put, store.Record{Key: store.Key(fmt.Sprint(awkward(r), j)), Lane: store.Lane(r.Uint32()),
					Due: time.UnixMicro(r.Int64N(1 << 50)).UTC(), Value: []byte(strings.Repeat("v", r.IntN(3)*r.IntN(100)))})
			}
			for j := range r.IntN(3) {
				c.Delete = append(c.Delete, store.Key(fmt.Sprint(awkward(r), "deleted", j)))
			}
			changes = append(changes, c)
		}
		encoded, _ := encode(changes, nil)
		for _, want := range encoded {
			var got change
			header := want.frame[:binary.LittleEndian.Uint32(want.frame[4:])]
			require.NoError(t, got.decode(header))
			require.Equal(t, want.owner, got.owner)
			require.Equal(t, want.rev, got.rev)
			require.Equal(t, len(want.entries), len(got.entries))
			for i := range want.entries {
				require.Equal(t, want.entries[i], got.entries[i])
			}
			for range 20 {
				damaged := bytes.Clone(header)
				damaged[r.IntN(len(damaged))] ^= 1 << r.IntN(8)
				require.ErrorIs(t, new(change).decode(damaged), store.ErrCorrupt)
			}
		}
	}
}

// What passes a checksum by chance, or by intent, must still not harm.
func FuzzDecode(f *testing.F) {
	c, _ := encode([]store.Change{{Owner: "o", Put: []store.Record{{Key: "k", Value: []byte("v")}}, Delete: []store.Key{"d"}}}, nil)
	f.Add(c[0].frame)
	f.Add((&state{runs: []*run{{id: 1, last: []byte("x")}}}).encode()[4:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= headerStart {
			sealed := bytes.Clone(b)
			binary.LittleEndian.PutUint32(sealed, crc32.Checksum(sealed[4:], castagnoli))
			_ = new(change).decode(sealed)
		}
		_, _ = decodeState(seal(keyState, b))
		_, _ = decodeEntry(b)
		_, _ = decodeRevision(b)
		_, _, _ = splitName(b)
		_, _, _ = splitDue(b)
	})
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 4))
	var places [][]byte
	for i := range 5000 {
		places = append(places, append(appendOwner(nil, store.Owner(fmt.Sprint(i/20))), awkward(r)...))
	}
	slices.SortFunc(places, bytes.Compare)
	places = slices.CompactFunc(places, bytes.Equal)
	var parts []part
	w := newRunBuilder(7, 1<<20, func(bucket []byte, p []part) error {
		if bytes.Equal(bucket, bucketRuns) {
			parts = append(parts, p...)
		}
		return nil
	})
	for i, p := range places {
		require.NoError(t, w.add(p, fmt.Appendf(nil, "payload %d", i)))
	}
	made, err := w.finish()
	require.NoError(t, err)
	require.Equal(t, places[len(places)-1], made.last)
	require.EqualValues(t, 250, made.owners)
	require.Greater(t, len(parts), 5)

	i, high := 0, []byte(nil)
	for _, p := range parts {
		k, err := readBlock(p.key, p.block)
		require.NoError(t, err)
		require.Equal(t, string(high), string(k.low))
		high = k.high
		var c blockCursor
		for ok := c.seek(&k, nil); ok; ok = c.next() {
			require.Equal(t, places[i], c.place)
			require.Equal(t, fmt.Sprintf("payload %d", i), string(c.payload))
			require.True(t, k.holds(c.place))
			var again blockCursor
			require.True(t, again.seek(&k, places[i]))
			require.Equal(t, places[i], again.place)
			i++
		}
		for range 50 {
			damaged := bytes.Clone(p.block)
			damaged[r.IntN(len(damaged))] ^= 1 << r.IntN(8)
			_, err := readBlock(p.key, damaged)
			require.ErrorIs(t, err, store.ErrCorrupt)
		}
	}
	require.Equal(t, len(places), i)
}

func TestFilter(t *testing.T) {
	t.Parallel()
	name := func(i int) []byte { return appendName(nil, store.Owner(fmt.Sprint("owner ", i))) }
	for _, n := range []int{0, 1, 100, 50000} {
		f := newFilter(n)
		for i := range n {
			f.mark(hash(name(i)))
		}
		wrong := 0
		for i := range n {
			require.True(t, f.has(hash(name(i))))
			if f.has(hash(name(n + i))) {
				wrong++
			}
		}
		require.LessOrEqual(t, wrong, n/30, "of %d", n)
	}
}

func TestMergeable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sizes []uint64
		left  int
		ok    bool
	}{
		{nil, 0, false},
		{[]uint64{10}, 0, false},
		{[]uint64{1, 1, 1}, 0, false},
		{[]uint64{1, 1, 1, 1}, 0, true},
		{[]uint64{100, 1, 1, 1}, 1, false},
		{[]uint64{100, 1, 1, 1, 1}, 1, true},
		{[]uint64{100, 8, 1, 1, 1, 1}, 1, true},
		{[]uint64{24, 8, 1, 1, 1, 1}, 0, true},
		{[]uint64{1000, 100, 8, 1, 1}, 3, false},
	} {
		var runs []*run
		for _, size := range c.sizes {
			runs = append(runs, &run{size: size})
		}
		left, ok := mergeable(runs)
		require.Equal(t, c.ok, ok, "%d", c.sizes)
		if ok {
			require.Equal(t, c.left, left, "%d", c.sizes)
		}
	}
}

// What is appended to the log is read as it was written, however much at a time, and each segment has its pieces alone.
func TestLog(t *testing.T) {
	t.Parallel()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "file"), 0o600, &bolt.Options{NoSync: true})
	require.NoError(t, err)
	defer db.Close()
	r := rand.New(rand.NewPCG(6, 6))
	var last tail
	var want []byte
	var segments []uint64
	large := 0
	for range 60 {
		require.NoError(t, db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucketLog)
			require.NoError(t, err)
			x := extent{piece: last.piece, b: bytes.Clone(last.b)}
			for range r.IntN(20) {
				if r.IntN(8) == 0 {
					x.cut()
					segments = append(segments, x.end()/pieceSize)
				}
				frame := make([]byte, frameHead+r.IntN(1+r.IntN(1+r.IntN(100_000))))
				for i := range frame {
					frame[i] = byte(r.Uint32())
				}
				x.frame(frame)
			}
			want = append(want[:last.piece*pieceSize], x.b...)
			if last, err = x.write(b, len(last.b) > 0); err != nil {
				return err
			}
			again, err := readTail(b, 0)
			require.Equal(t, last.end(), again.end())
			require.Equal(t, string(last.b), string(again.b))
			return err
		}))
		require.NoError(t, db.View(func(tx *bolt.Tx) error {
			log := logReader{c: tx.Bucket(bucketLog).Cursor()}
			for range 100 {
				at := r.IntN(len(want) + 1)
				n := r.IntN(min(len(want)-at, 200_000) + 1)
				got, err := log.read(nil, uint64(at), n)
				require.NoError(t, err)
				require.True(t, bytes.Equal(want[at:at+n], got))
			}
			_, err := log.read(nil, uint64(len(want)), 1)
			require.ErrorIs(t, err, store.ErrCorrupt)
			return tx.Bucket(bucketLog).ForEach(func(k, v []byte) error {
				end := binary.BigEndian.Uint64(k) + 1
				if len(v) > pieceSize {
					large++
				}
				start := end - uint64(len(v)+pieceSize-1)/pieceSize
				for _, s := range segments {
					require.False(t, start < s && s < end, "a chunk is of two segments")
				}
				return nil
			})
		}))
	}
	require.Positive(t, large)
}
