package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// small returns a stream of several frames, few enough bytes to damage each.
func small(tb testing.TB) []byte {
	tb.Helper()
	s := memstore.New()
	for _, o := range []store.Owner{"a", "b", "c"} {
		put(tb, s, o, putAll(numbered[store.Key](20, 3), []byte("v"))...)
	}
	return backup(tb, s)
}

func TestRestoreNoticesDamage(t *testing.T) {
	t.Parallel()
	sound := small(t)
	requireCorrupt := func(stream []byte, what string, args ...any) {
		t.Helper()
		_, err := restore(t, stream)
		require.ErrorIs(t, err, store.ErrCorrupt, what, args)
	}
	for n := range sound {
		requireCorrupt(sound[:n], "cut after %d bytes", n)
	}
	for i := range sound {
		for bit := range 8 {
			damaged := bytes.Clone(sound)
			damaged[i] ^= 1 << bit
			requireCorrupt(damaged, "bit %d of byte %d", bit, i)
		}
	}
	requireCorrupt(append(bytes.Clone(sound), 0), "a byte after the end")
	requireCorrupt(append(bytes.Clone(sound), sound...), "the same once more")

	frames := framesOf(sound)
	for i := range frames {
		join := func(f ...[]byte) []byte { return append(bytes.Clone(sound[:16]), bytes.Join(f, nil)...) }
		without := append(append([][]byte{}, frames[:i]...), frames[i+1:]...)
		requireCorrupt(join(without...), "without frame %d", i)
		requireCorrupt(join(append(without, frames[i], frames[i])...), "frame %d doubled", i)
		if i > 0 {
			swapped := append([][]byte{}, frames...)
			swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
			requireCorrupt(join(swapped...), "frames %d and %d swapped", i-1, i)
		}
	}
}

// framesOf cuts a stream.
func framesOf(stream []byte) (frames [][]byte) {
	for stream = stream[16:]; len(stream) > 0; {
		n := 8 + binary.BigEndian.Uint32(stream)
		frames, stream = append(frames, stream[:n]), stream[n:]
	}
	return frames
}

// streamOf makes a stream of that version, right in all that a checksum can tell.
func streamOf(version uint32, bodies ...[]byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	stream := binary.BigEndian.AppendUint32([]byte("appiobkp"), version)
	crc := crc32.Checksum(stream, table)
	stream = binary.BigEndian.AppendUint32(stream, crc)
	for _, body := range bodies {
		length := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
		crc = crc32.Update(crc32.Update(crc, table, length), table, body)
		stream = append(binary.BigEndian.AppendUint32(append(stream, length...), crc), body...)
	}
	return stream
}

// Whoever can compute a checksum still cannot make Restore put what no Backup wrote.
func TestRestoreNoticesNonsense(t *testing.T) {
	t.Parallel()
	const first, more, end = "O\x01a\x05", "M", "E"
	record := func(key string) string { return string(rune(len(key))) + key + "\x00\x00\x01v" }
	for name, test := range map[string]struct {
		bodies []string
		sound  bool
	}{
		"nothing":                   {[]string{end + "\x00\x00"}, true},
		"one owner":                 {[]string{first + record("k"), end + "\x01\x01"}, true},
		"two pages":                 {[]string{first + record("k"), more + record("l"), end + "\x01\x02"}, true},
		"an owner begun again":      {[]string{first + record("k"), more + record("l"), first + record("a"), end + "\x01\x03"}, true},
		"an owner emptied":          {[]string{first + record("k"), first, end + "\x01\x02"}, true},
		"no end":                    {[]string{first + record("k")}, false},
		"an empty frame":            {[]string{""}, false},
		"a wrong number of owners":  {[]string{first + record("k"), end + "\x02\x01"}, false},
		"a wrong number of frames":  {[]string{first + record("k"), end + "\x01\x02"}, false},
		"something in the end":      {[]string{end + "\x00\x00\x00"}, false},
		"half an end":               {[]string{end + "\x00"}, false},
		"something after the end":   {[]string{end + "\x00\x00", end + "\x00\x01"}, false},
		"a page of nobody":          {[]string{more + record("k"), end + "\x00\x01"}, false},
		"an unknown frame":          {[]string{"?", end + "\x00\x01"}, false},
		"an owner without a name":   {[]string{"O\x00\x05", end + "\x00\x01"}, false},
		"an owner too long":         {[]string{"O\x81\x04" + strings.Repeat("o", 513) + "\x05", end + "\x01\x01"}, false},
		"owners not in order":       {[]string{"O\x01b\x05", first, end + "\x02\x02"}, false},
		"owners not in order, one":  {[]string{"O\x01b\x05", first, end + "\x01\x02"}, false},
		"keys not in order":         {[]string{first + record("l") + record("k"), end + "\x01\x01"}, false},
		"a key twice":               {[]string{first + record("k") + record("k"), end + "\x01\x01"}, false},
		"a key twice, in two pages": {[]string{first + record("k"), more + record("k"), end + "\x01\x02"}, false},
		"a key without a name":      {[]string{first + record(""), end + "\x01\x01"}, false},
		"a lane too high":           {[]string{first + "\x01k\x80\x80\x04\x00\x00", end + "\x01\x01"}, false},
		"a due too late":            {[]string{first + "\x01k\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00", end + "\x01\x01"}, false},
		"a due of the year 10000":   {[]string{first + "\x01k\x00" + string(binary.AppendUvarint(nil, 253402300800_000000)) + "\x00", end + "\x01\x01"}, false},
		"a value beyond the frame":  {[]string{first + "\x01k\x00\x00\x02v", end + "\x01\x01"}, false},
		"a value too large":         {[]string{first + "\x01k\x00\x00\x81\x80\x40" + strings.Repeat("v", store.MaxValue+1), end + "\x01\x01"}, false},
		"a number without an end":   {[]string{first + "\x01k\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", end + "\x01\x01"}, false},
		"half a record":             {[]string{first + "\x01k", end + "\x01\x01"}, false},
	} {
		var bodies [][]byte
		for _, body := range test.bodies {
			bodies = append(bodies, []byte(body))
		}
		_, err := restore(t, streamOf(1, bodies...))
		if test.sound {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, store.ErrCorrupt, name)
		}
	}
	page := []byte(first)
	for _, k := range numbered[string](257, 3) {
		page = append(page, record(k)...)
	}
	_, err := restore(t, streamOf(1, page, []byte(end+"\x01\x01")))
	require.ErrorIs(t, err, store.ErrCorrupt, "a page of 257 records")
}

func TestRestoreDoesNotTrustALength(t *testing.T) { // alone: it measures memory
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := restore(t, append(streamOf(1), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0))
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, store.ErrCorrupt, "a frame of 4 GiB")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20))
}

// counting notes how much is committed at once.
type counting struct {
	store.Store
	commits, changes, size int
}

func (c *counting) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	size := 0
	for _, change := range changes {
		for _, r := range change.Put {
			size += len(r.Value)
		}
	}
	c.commits, c.changes, c.size = c.commits+1, max(c.changes, len(changes)), max(c.size, size)
	return c.Store.Commit(ctx, changes)
}

func TestRestoreCommitsManyOwnersAtOnce(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	for i, o := range numbered[store.Owner](2500, 5) {
		put(t, s, o, store.Record{Key: "k", Value: make([]byte, 1000+i/2000*50_000)})
	}
	copied := &counting{Store: memstore.New()}
	require.NoError(t, store.Restore(t.Context(), bytes.NewReader(backup(t, s)), copied))
	requireSame(t, s, copied)
	require.Less(t, copied.commits, 20)
	require.Equal(t, 512, copied.changes)
	require.LessOrEqual(t, copied.size, 8<<20)
}

func TestRestoreOfAnotherVersion(t *testing.T) {
	t.Parallel()
	_, err := restore(t, streamOf(2, []byte("whatever")))
	require.ErrorIs(t, err, store.ErrNewer)
	_, err = restore(t, streamOf(0, []byte("E\x00\x00")))
	require.ErrorIs(t, err, store.ErrCorrupt)
}

func TestRestoreNeedsAnEmptyStore(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	put(t, s, "o", store.Record{Key: "k"})
	before := dump(t, s)
	require.ErrorIs(t, store.Restore(t.Context(), bytes.NewReader(small(t)), s), store.ErrInvalid)
	require.Equal(t, before, dump(t, s))

	used := memstore.New()
	put(t, used, "b", store.Record{Key: "k"})
	change(t, used, store.Change{Owner: "b", Delete: []store.Key{"k"}})
	require.ErrorIs(t, store.Restore(t.Context(), bytes.NewReader(small(t)), used), store.ErrInvalid, "an owner keeps its revision")
}

type failing struct{ left int }

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

var errDisk = errors.New("disk")

func TestBackupAndRestorePassErrorsOn(t *testing.T) {
	t.Parallel()
	s := varied(t)
	for _, left := range []int{0, 10, 100_000, 1_000_000} {
		require.ErrorIs(t, store.Backup(t.Context(), s, &failing{left}), errDisk)
	}
	sound := small(t)
	for n := range sound {
		r := io.MultiReader(bytes.NewReader(sound[:n]), iotest.ErrReader(errDisk))
		err := store.Restore(t.Context(), r, memstore.New())
		require.ErrorIs(t, err, errDisk)
		require.NotErrorIs(t, err, store.ErrCorrupt, "what cannot be read may be sound")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, store.Backup(cancelled, s, io.Discard), context.Canceled)
	require.ErrorIs(t, store.Restore(cancelled, bytes.NewReader(sound), memstore.New()), context.Canceled)
	require.NoError(t, s.Close())
	require.ErrorIs(t, store.Backup(t.Context(), s, io.Discard), store.ErrClosed)
}

// FuzzRestore gives Restore a stream of any bytes, and one whose frames have any bytes but right checksums. What it takes
// can be copied, and the copy is equal.
func FuzzRestore(f *testing.F) {
	sound := small(f)
	f.Add(false, sound)
	bodies := []byte{}
	for _, frame := range framesOf(sound) {
		bodies = append(binary.BigEndian.AppendUint16(bodies, uint16(len(frame)-8)), frame[8:]...)
	}
	f.Add(true, bodies)
	f.Add(true, []byte("\x00\x08O\x01a\x05\x01k\x00\x00\x00\x08O\x01a\x05\x01j\x00\x00\x00\x03E\x01\x02"))
	f.Fuzz(func(t *testing.T, framed bool, data []byte) {
		stream := data
		if framed {
			var bodies [][]byte
			for len(data) >= 2 {
				n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
				bodies, data = append(bodies, data[2:2+n]), data[2+n:]
			}
			stream = streamOf(1, bodies...)
		}
		s, err := restore(t, stream)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrNewer) {
				t.Fatalf("Restore of any bytes into an empty store: %v; want ErrCorrupt or ErrNewer", err)
			}
			return
		}
		copied, err := restore(t, backup(t, s))
		require.NoError(t, err)
		requireSame(t, s, copied)
	})
}
