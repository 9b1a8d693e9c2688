package store_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
)

// numbered returns n names of the given length, in order.
func numbered[S ~string](n, length int) []S {
	names := make([]S, n)
	for i := range names {
		names[i] = S(fmt.Sprintf("%0*d", length, i))
	}
	return names
}

func putAll(keys []store.Key, value []byte) (puts []store.Record) {
	for _, k := range keys {
		puts = append(puts, store.Record{Key: k, Value: value})
	}
	return puts
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const secret = "RSSMRA80A01H501U" // in each name and value: no error may tell it
	long := secret + strings.Repeat("x", store.MaxKey-len(secret))
	one := func(c store.Change) []store.Change {
		if c.Owner == "" {
			c.Owner = secret
		}
		return []store.Change{c}
	}
	key := func(k string) []store.Change { return one(store.Change{Put: []store.Record{{Key: store.Key(k)}}}) }
	due := func(due time.Time) []store.Change {
		return one(store.Change{Put: []store.Record{{Key: secret, Due: due}}})
	}
	value := func(size int) []store.Change {
		return one(store.Change{Put: []store.Record{{Key: secret, Value: bytes.Repeat([]byte("v"), size)}}})
	}
	// full is a change of that many bytes: an owner of one byte, four keys of one byte, and their values.
	full := func(owner store.Owner, size int) store.Change {
		c := store.Change{Owner: owner, Put: putAll([]store.Key{"a", "b", "c", "d"}, make([]byte, store.MaxValue-1))}
		size -= len(owner) + 4 + 3*(store.MaxValue-1)
		c.Put[3].Value = make([]byte, size)
		return c
	}
	many := func(n int) (changes []store.Change) {
		for _, o := range numbered[store.Owner](n, 5) {
			changes = append(changes, store.Change{Owner: o})
		}
		return changes
	}
	var call []store.Change // as large as can be
	for i := range store.MaxCommit / store.MaxChange {
		call = append(call, full(store.Owner(rune('a'+i)), store.MaxChange))
	}

	for name, test := range map[string]struct {
		changes []store.Change
		want    string // part of the error; "": none
	}{
		"no change":                {nil, ""},
		"an empty change":          {one(store.Change{}), ""},
		"most changes":             {many(store.MaxChanges), ""},
		"too many changes":         {many(store.MaxChanges + 1), "more than 4096 changes"},
		"no owner":                 {[]store.Change{{}}, "owner not of 1 to 512 bytes (change 0)"},
		"longest owner":            {one(store.Change{Owner: store.Owner(long)}), ""},
		"owner too long":           {one(store.Change{Owner: store.Owner(long + "x")}), "owner not of 1 to 512 bytes"},
		"owner twice":              {[]store.Change{{Owner: secret}, {Owner: "a"}, {Owner: secret}}, "two changes of one owner"},
		"no key":                   {key(""), "key of put 0 not of 1 to 512 bytes (change 0)"},
		"longest key":              {key(long), ""},
		"key too long":             {key(long + "x"), "key of put 0 not of 1 to 512 bytes"},
		"delete of no key":         {one(store.Change{Delete: []store.Key{"k", ""}}), "key of delete 1 not of 1 to 512 bytes"},
		"delete of a key too long": {one(store.Change{Delete: []store.Key{store.Key(long + "x")}}), "key of delete 0 not of"},
		"put twice":                {one(store.Change{Put: putAll([]store.Key{"b", "a", "b"}, nil)}), "a key named twice (change 0)"},
		"deleted twice":            {one(store.Change{Delete: []store.Key{"a", "a"}}), "a key named twice"},
		"put and deleted":          {one(store.Change{Put: putAll([]store.Key{"a", "b"}, nil), Delete: []store.Key{"c", "a"}}), "a key named twice"},
		"its own owner":            {one(store.Change{Put: []store.Record{{Owner: secret, Key: "k"}}}), ""},
		"another owner":            {one(store.Change{Put: []store.Record{{Owner: "a" + secret, Key: "k"}}}), "put 0 is of another owner"},
		"largest value":            {value(store.MaxValue), ""},
		"value too large":          {value(store.MaxValue + 1), "value of put 0 above 1048576 bytes"},
		"most records":             {one(store.Change{Put: putAll(numbered[store.Key](600, 4), nil), Delete: numbered[store.Key](400, 5)}), ""},
		"too many records":         {one(store.Change{Put: putAll(numbered[store.Key](600, 4), nil), Delete: numbered[store.Key](401, 5)}), "more than 1000 records"},
		"largest change":           {[]store.Change{full("o", store.MaxChange)}, ""},
		"change too large":         {[]store.Change{full("o", store.MaxChange+1)}, "above 4194304 bytes (change 0)"},
		"largest call":             {call, ""},
		"call too large":           {append(call, store.Change{Owner: "z"}), "changes above 67108864 bytes"},
		"not scheduled":            {due(time.Time{}), ""},
		"first due":                {due(time.UnixMicro(1)), ""},
		"due cut to zero":          {due(time.UnixMicro(0).Add(999)), "due of put 0 not of the years 1970 to 9999"},
		"due before 1970":          {due(time.Unix(-1, 999_999_999)), "due of put 0"},
		"last due":                 {due(time.Date(10000, 1, 1, 0, 0, 0, -1, time.UTC)), ""},
		"due in the year 10000":    {due(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)), "due of put 0"},
		"due by a zone after 9999": {due(time.Date(10000, 1, 1, 0, 30, 0, 0, time.FixedZone("", 3600))), ""},
		"due in the far future":    {due(time.Unix(1<<62, 0)), "due of put 0"},
	} {
		t.Run(name, func(t *testing.T) {
			err := store.Check(test.changes)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, store.ErrInvalid)
			require.ErrorIs(t, err, store.ErrAborted)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), secret)
		})
	}
}

func TestCheckReads(t *testing.T) {
	t.Parallel()
	longest := store.Key(strings.Repeat("k", store.MaxKey))
	of := func(r store.Range) []store.Read { return []store.Read{{Owner: "o", Range: r}} }
	many := func(n int) (reads []store.Read) {
		for _, o := range numbered[store.Owner](n, 5) {
			reads = append(reads, store.Read{Owner: o})
		}
		return reads
	}
	for name, test := range map[string]struct {
		reads []store.Read
		want  string
	}{
		"no read":             {nil, ""},
		"most reads":          {many(store.MaxReads), ""},
		"too many reads":      {many(store.MaxReads + 1), "more than 4096 reads"},
		"no owner":            {[]store.Read{{}}, "owner of read 0"},
		"owner too long":      {[]store.Read{{Owner: store.Owner(longest + "k")}}, "owner of read 0"},
		"owner twice":         {[]store.Read{{Owner: "b"}, {Owner: "a"}, {Owner: "b"}}, "two reads of one owner"},
		"key twice":           {[]store.Read{{Owner: "o", Keys: []store.Key{"a", "a"}}}, ""},
		"no key":              {[]store.Read{{Owner: "o", Keys: []store.Key{"a", ""}}}, "key 1 of read 0"},
		"key too long":        {[]store.Read{{Owner: "o", Keys: []store.Key{longest + "k"}}}, "key 0 of read 0"},
		"most keys":           {[]store.Read{{Owner: "o", Keys: slices.Repeat([]store.Key{"a"}, store.MaxRange)}}, ""},
		"too many keys":       {[]store.Read{{Owner: "o", Keys: slices.Repeat([]store.Key{"a"}, store.MaxRange+1)}}, "more than 10000 keys"},
		"highest limit":       {of(store.Range{Limit: store.MaxRange}), ""},
		"limit too high":      {of(store.Range{Limit: store.MaxRange + 1}), "limit of read 0 not 0 to 10000"},
		"limit below zero":    {of(store.Range{Limit: -1}), "limit of read 0"},
		"after the last key":  {of(store.Range{From: longest + "\x00", To: longest + "\x00"}), ""},
		"From too long":       {of(store.Range{From: longest + "kk"}), "range of read 0 above 513 bytes"},
		"To too long":         {of(store.Range{To: longest + "kk"}), "range of read 0 above 513 bytes"},
		"an end before start": {of(store.Range{From: "b", To: "a", Limit: 1}), ""},
	} {
		t.Run(name, func(t *testing.T) { requireInvalid(t, store.CheckReads(test.reads), test.want) })
	}
}

func requireInvalid(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" {
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, store.ErrInvalid)
	require.ErrorContains(t, err, want)
}

func TestCheckDue(t *testing.T) {
	t.Parallel()
	now := time.Now()
	long := strings.Repeat("k", store.MaxKey)
	in := func(p store.Position) store.DueQuery {
		return store.DueQuery{Lanes: []store.Lane{1}, Until: now, After: p, Limit: 1}
	}
	until := func(until time.Time) store.DueQuery {
		return store.DueQuery{Lanes: []store.Lane{1}, Until: until, Limit: 1}
	}
	var lanes []store.Lane
	for l := range 1 << 16 {
		lanes = append(lanes, store.Lane(l))
	}
	for name, test := range map[string]struct {
		q    store.DueQuery
		want string
	}{
		"no lane":               {store.DueQuery{Until: now, Limit: 1}, ""},
		"all lanes":             {store.DueQuery{Lanes: lanes, Until: now, Limit: store.MaxRange}, ""},
		"a lane twice":          {store.DueQuery{Lanes: append(lanes, 77), Until: now, Limit: 1}, "a lane named twice"},
		"no limit":              {store.DueQuery{Lanes: lanes, Until: now}, "limit of due not 1 to 10000"},
		"limit too high":        {store.DueQuery{Lanes: lanes, Until: now, Limit: store.MaxRange + 1}, "limit of due"},
		"until zero":            {until(time.Time{}), ""},
		"until before year 1":   {until(time.Time{}.Add(-1)), "until or after not of the years 1 to 9999"},
		"until the last moment": {until(time.Date(10000, 1, 1, 0, 0, 0, -1, time.UTC)), ""},
		"until too late":        {until(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)), "until or after"},
		"after a place":         {in(store.Position{Due: now, Owner: store.Owner(long), Key: store.Key(long)}), ""},
		"after a time":          {in(store.Position{Due: now}), ""},
		"after an owner only":   {in(store.Position{Owner: "o"}), ""},
		"after too late":        {in(store.Position{Due: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}), "until or after"},
		"after a long owner":    {in(store.Position{Due: now, Owner: store.Owner(long + "k")}), "after above 512 bytes"},
		"after a long key":      {in(store.Position{Due: now, Key: store.Key(long + "k")}), "after above 512 bytes"},
		"after in two lanes":    {store.DueQuery{Lanes: lanes[:2], Until: now, After: store.Position{Key: "k"}, Limit: 1}, "after with 2 lanes"},
		"after in no lane":      {store.DueQuery{Until: now, After: store.Position{Due: now}, Limit: 1}, "after with 0 lanes"},
	} {
		t.Run(name, func(t *testing.T) { requireInvalid(t, store.CheckDue(test.q), test.want) })
	}
}

func TestCheckOwners(t *testing.T) {
	t.Parallel()
	long := store.Owner(strings.Repeat("o", store.MaxKey))
	require.NoError(t, store.CheckOwners("", 1))
	require.NoError(t, store.CheckOwners(long, store.MaxRange))
	for _, limit := range []int{-1, 0, store.MaxRange + 1} {
		require.ErrorIs(t, store.CheckOwners("", limit), store.ErrInvalid)
	}
	require.ErrorIs(t, store.CheckOwners(long+"o", 1), store.ErrInvalid)
}

// Whatever the number and order of names, one that is there twice is found, and no other.
func TestCheckFindsWhatIsNamedTwice(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{2, 3, 15, 16, 17, 100, 511, 512, 513, 1000, 2048, store.MaxChanges} {
		for range 5 {
			owners := numbered[store.Owner](n, 1+random.IntN(30))
			random.Shuffle(n, func(i, j int) { owners[i], owners[j] = owners[j], owners[i] })
			changes, reads := make([]store.Change, n), make([]store.Read, n)
			for i, o := range owners {
				changes[i].Owner, reads[i].Owner = o, o
			}
			require.NoError(t, store.Check(changes), "%d names", n)
			require.NoError(t, store.CheckReads(reads), "%d names", n)
			i := random.IntN(n)
			j := (i + 1 + random.IntN(n-1)) % n
			changes[i].Owner, reads[i].Owner = changes[j].Owner, reads[j].Owner
			require.Error(t, store.Check(changes), "%d names, %d as %d", n, i, j)
			require.Error(t, store.CheckReads(reads), "%d names, %d as %d", n, i, j)
		}
	}
}

func TestMicro(t *testing.T) {
	t.Parallel()
	require.Equal(t, time.Time{}, store.Micro(time.Time{}))
	require.Equal(t, time.Time{}, store.Micro(time.Time{}.In(time.FixedZone("", 3600))))
	rome := time.Date(2026, 3, 29, 3, 30, 0, 123456789, time.FixedZone("", 7200))
	require.Equal(t, time.Date(2026, 3, 29, 1, 30, 0, 123456000, time.UTC), store.Micro(rome))
	before := time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.UTC)
	require.Equal(t, before.Add(-999), store.Micro(before), "cut, not rounded, before 1970 too")
	now := time.Now()
	require.Equal(t, time.UnixMicro(now.UnixMicro()).UTC(), store.Micro(now), "without the monotonic clock")
}

// batch returns what an engine commits: n owners, three records each, one of them due.
func batch(n int) []store.Change {
	value := make([]byte, 300)
	changes := make([]store.Change, n)
	for i := range changes {
		changes[i] = store.Change{
			Owner: store.Owner(fmt.Sprintf("citizen/%032x", rand.Uint64())),
			Put: []store.Record{
				{Key: store.Key(fmt.Sprintf("m/%016x", i)), Value: value},
				{Key: store.Key(fmt.Sprintf("i/%016x", i)), Value: value},
				{Key: store.Key(fmt.Sprintf("q/%016x", i)), Value: value, Due: time.Unix(1e9, 0)},
			},
			Delete: []store.Key{"q/old"},
		}
	}
	return changes
}

func TestCheckDoesNotAllocate(t *testing.T) {
	for _, n := range []int{1, 64, store.MaxChanges} {
		changes := batch(n)
		require.Zero(t, testing.AllocsPerRun(5, func() {
			if store.Check(changes) != nil {
				panic("invalid")
			}
		}), "%d changes", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{1, 64, 512, store.MaxChanges} {
		changes := batch(n)
		b.Run(fmt.Sprintf("changes=%d", n), func(b *testing.B) {
			for b.Loop() {
				if err := store.Check(changes); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/change")
		})
	}
	keys := numbered[store.Key](store.MaxRecords, 20)
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	wide := []store.Change{{Owner: "o", Put: putAll(keys, nil)}}
	b.Run("changes=1,records=1000", func(b *testing.B) {
		for b.Loop() {
			if err := store.Check(wide); err != nil {
				b.Fatal(err)
			}
		}
	})
}
