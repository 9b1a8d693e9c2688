package appio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/appio-go/appio/store"
)

func TestGuardRefusesBombs(t *testing.T) {
	t.Parallel()
	deep := func(opens string, n int, inside string) []byte {
		return append(bytes.Repeat([]byte(opens), n), inside...)
	}
	for name, b := range map[string][]byte{
		"a list of four billion":                          {0xdd, 0xff, 0xff, 0xff, 0xff},
		"a map of four billion":                           {0xdf, 0xff, 0xff, 0xff, 0xff},
		"the list as a field":                             {0x81, 0xa1, 'd', 0xdd, 0xff, 0xff, 0xff, 0xff},
		"the list as a field that is not known":           {0x81, 0xa1, '?', 0xdd, 0xff, 0xff, 0xff, 0xff},
		"a list of 65,535":                                {0xdc, 0xff, 0xff},
		"a map of 65,535":                                 {0xde, 0xff, 0xff},
		"a map of 32,768, twice which is 0 in 16 bits":    {0xde, 0x80, 0x00},
		"text of four billion bytes":                      {0xdb, 0xff, 0xff, 0xff, 0xff},
		"four billion bytes":                              {0xc6, 0xff, 0xff, 0xff, 0xff},
		"8 MB of lists in lists":                          deep("\x91", 8<<20, "\xc0"),
		"8 MB of maps in maps":                            deep("\x81\x00", 4<<20, "\xc0"),
		"8 MB of lists of 16 bits":                        deep("\xdc\x00\x01", 8<<20/3, "\xc0"),
		"lists 10,000 deep":                               deep("\x91", 10_000, "\xc0"),
		"maps 10,000 deep":                                deep("\x81\xa1k", 10_000, "\xc0"),
		"maps 10,000 deep, in their keys":                 append(deep("\x81", 10_000, "\xc0"), bytes.Repeat([]byte{0xc0}, 10_000)...),
		"empty lists 10,000 deep in a field not known":    append([]byte{0x81, 0xa1, '?'}, deep("\x91", 10_000, "\x90")...),
		"a list of 65,536, all there":                     append([]byte{0xdd, 0, 1, 0, 0}, make([]byte, 1<<16)...),
		"a million nil work entries, two hundred MB each": append([]byte{0x81, 0xa1, 'd', 0xdd, 0, 0x0f, 0, 0}, bytes.Repeat([]byte{0xc0}, 0x0f0000)...),
	} {
		start := time.Now()
		grew := allocated(1<<20, func() { require.ErrorIs(t, guard(b), store.ErrCorrupt, name) })
		require.Less(t, time.Since(start), 5*time.Second, name)
		require.Less(t, grew, uint64(1<<20), name)
		for _, make := range recordKinds {
			require.ErrorIs(t, decode(b, make()), store.ErrCorrupt, name)
		}
	}
}

// allocated is about how much memory f asks for. Others may allocate meanwhile: more than most is looked at again.
func allocated(most uint64, f func()) (grew uint64) {
	for range 5 {
		s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
		metrics.Read(s)
		before := s[0].Value.Uint64()
		f()
		metrics.Read(s)
		if grew = s[0].Value.Uint64() - before; grew <= most {
			break
		}
	}
	return grew
}

func TestGuardDepth(t *testing.T) {
	t.Parallel()
	for n := range 2 * maxDepth {
		for _, opens := range []string{"\x91", "\xdc\x00\x01", "\x81\xa1k", "\xde\x00\x01\xa1k"} {
			err := guard(append(bytes.Repeat([]byte(opens), n), 0xc0))
			require.Equal(t, n < maxDepth, err == nil, "%d deep: %v", n, err)
		}
	}
}

// lengthCases are a value of each kind that has a length, with its length bytes apart from what follows.
func lengthCases() (cases []struct {
	code, length, rest []byte
}) {
	add := func(code byte, size int, n uint64, unit []byte) {
		length := binary.BigEndian.AppendUint64(nil, n)[8-size:]
		c := []byte{code}
		if size == 0 { // the length is in the code
			c, length = nil, []byte{code | byte(n)}
		}
		cases = append(cases, struct{ code, length, rest []byte }{c, length, bytes.Repeat(unit, int(n))})
	}
	for _, n := range []uint64{1, 2, 7, 14} {
		add(0x80, 0, n, []byte{0x01, 0xc0}) // map
		add(0x90, 0, n, []byte{0xc0})       // list
		add(0xa0, 0, n, []byte{'x'})        // text
	}
	for _, n := range []uint64{1, 31, 254} {
		add(0xc4, 1, n, []byte{0xff})
		add(0xd9, 1, n, []byte{'x'})
	}
	for _, n := range []uint64{1, 255, 256, 65534} {
		add(0xc5, 2, n, []byte{0xff})
		add(0xda, 2, n, []byte{'x'})
		add(0xdc, 2, n, []byte{0xc0})
		add(0xde, 2, n, []byte{0x01, 0xc0})
		add(0xc6, 4, n, []byte{0xff})
		add(0xdb, 4, n, []byte{'x'})
	}
	return cases
}

func TestGuardLengthsOffByOne(t *testing.T) {
	t.Parallel()
	for _, c := range lengthCases() {
		value := func(delta int) []byte {
			length := bytes.Clone(c.length)
			length[len(length)-1] += byte(delta)
			if delta < 0 && c.length[len(c.length)-1] == 0 { // borrow
				length[len(length)-2]--
			}
			return slices.Concat(c.code, length, c.rest)
		}
		name := fmt.Sprintf("code %x length %x", c.code, c.length)
		require.NoError(t, guard(value(0)), name)
		require.ErrorIs(t, guard(value(+1)), store.ErrCorrupt, name)
		require.ErrorIs(t, guard(value(-1)), store.ErrCorrupt, name)
		require.ErrorIs(t, guard(value(0)[:len(value(0))-1]), store.ErrCorrupt, name)
		require.ErrorIs(t, guard(append(value(0), 0xc0)), store.ErrCorrupt, name)
		// The same inside a list, with something after it.
		require.NoError(t, guard(slices.Concat([]byte{0x92}, value(0), []byte{0x01})), name)
		require.ErrorIs(t, guard(slices.Concat([]byte{0x92}, value(+1))), store.ErrCorrupt, name)
	}
}

func TestGuardFixedSizes(t *testing.T) {
	t.Parallel()
	sizes := map[byte]int{0xc0: 0, 0xc2: 0, 0xc3: 0, 0xca: 4, 0xcb: 8, 0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8, 0xd0: 1, 0xd1: 2, 0xd2: 4, 0xd3: 8}
	for code, n := range sizes {
		for have := range 10 {
			err := guard(append([]byte{code}, make([]byte, have)...))
			require.Equal(t, have == n, err == nil, "%#x with %d bytes: %v", code, have, err)
		}
	}
	// Extensions and the code that is none are refused whatever follows.
	for _, code := range []byte{0xc1, 0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8} {
		for have := range 40 {
			require.ErrorIs(t, guard(append([]byte{code}, make([]byte, have)...)), store.ErrCorrupt, "%#x", code)
			require.ErrorIs(t, guard(append([]byte{0x81, code}, make([]byte, have)...)), store.ErrCorrupt, "%#x", code)
		}
	}
	require.ErrorIs(t, guard(nil), store.ErrCorrupt)
}

// payloads are what the world's records hold, in clear.
func (w *world) payloads(t testing.TB) (all []goldenPayload) {
	t.Helper()
	openers := w.openers(t, &codec{ring: w.ring})
	for i := range w.dump {
		r := &w.dump[i]
		if strings.HasPrefix(string(r.Key), prefixQuarantine) {
			continue
		}
		payload, err := openers[r.Owner].payload(r)
		if errors.Is(err, errShredded) { // of who is being erased
			continue
		}
		require.NoError(t, err, "%s %s", r.Owner, r.Key)
		all = append(all, goldenPayload{r, payload})
	}
	return all
}

type goldenPayload struct {
	record  *store.Record
	payload []byte
}

// openers open the world's records as who holds its engine key could, for each owner.
func (w *world) openers(t testing.TB, c *codec) map[store.Owner]*ownerCodec {
	t.Helper()
	for i := range w.dump {
		if r := &w.dump[i]; r.Owner == ownerMeta && r.Key == keyRoot {
			var root rootRecord
			require.NoError(t, c.of(ownerMeta).open(r, &root))
			c.useRoot(root.Secret)
		}
	}
	openers := map[store.Owner]*ownerCodec{}
	for i := range w.dump {
		r := &w.dump[i]
		if openers[r.Owner] == nil {
			openers[r.Owner] = c.of(r.Owner)
		}
		if r.Key == keyDataKey {
			var k dataKeyRecord
			require.NoError(t, openers[r.Owner].open(r, &k))
			openers[r.Owner].useDataKey(k)
		}
	}
	return openers
}

func TestGuardOnRealRecords(t *testing.T) {
	t.Parallel()
	all := newWorld(t, RandomKeys()).payloads(t)
	require.Greater(t, len(all), 50)
	for j, p := range all {
		require.NoError(t, guard(p.payload))
		for n := range p.payload {
			require.ErrorIs(t, guard(p.payload[:n]), store.ErrCorrupt, "%s cut at %d", p.record.Key, n)
		}
		require.ErrorIs(t, guard(append(bytes.Clone(p.payload), 0xc0)), store.ErrCorrupt)
		require.ErrorIs(t, guard(append(bytes.Clone(p.payload), p.payload...)), store.ErrCorrupt)
		for i := j % 5; i < len(p.payload); i += 5 { // no change makes it panic
			b := bytes.Clone(p.payload)
			b[i] ^= byte(1 << (i % 8))
			checkGuarded(t, b)
		}
	}
}

// checkGuarded checks what guard promises of any bytes: what it lets pass is one value whole, and decodes without panic and
// without more memory than its size explains; what it does not let pass is no such value.
func checkGuarded(t *testing.T, b []byte) {
	t.Helper()
	err := guard(b)
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		t.Fatalf("%v", err)
	}
	if err != nil && len(b) > 1<<16 {
		return // it may be too deep for msgpack
	}
	r := bytes.NewReader(b)
	skipped := msgpack.NewDecoder(r).Skip()
	whole := skipped == nil && r.Len() == 0
	switch {
	case err == nil && !whole:
		t.Fatalf("passed %x: msgpack skips it with %v and leaves %d bytes", b, skipped, r.Len())
	case err != nil && whole && usual(b):
		t.Fatalf("refused %x, which is one value", b)
	case err != nil:
		return
	}
	most := uint64(1<<20 + 2048*len(b))
	grew := allocated(most, func() {
		for kind, make := range recordKinds {
			if err := decode(b, make()); err != nil && !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("%s: %v", kind, err)
			}
		}
	})
	if grew > most {
		t.Fatalf("%d bytes take %d in memory", len(b), grew)
	}
}

// usual reports whether b has only what guard is meant to let pass: no extensions, no huge lists, no great depth. It reads a
// value that msgpack can skip.
func usual(b []byte) bool {
	d := msgpack.NewDecoder(bytes.NewReader(b))
	var look func(depth int) bool
	look = func(depth int) bool {
		if depth >= maxDepth {
			return false
		}
		code, err := d.PeekCode()
		if err != nil {
			return false
		}
		n := 0
		switch {
		case code == 0xdd || code == 0xdf || code == 0xc1 || code >= 0xc7 && code <= 0xc9 || code >= 0xd4 && code <= 0xd8:
			return false
		case code >= 0x90 && code <= 0x9f || code == 0xdc:
			n, err = d.DecodeArrayLen()
		case code >= 0x80 && code <= 0x8f || code == 0xde:
			n, err = d.DecodeMapLen()
			n *= 2
		default:
			return d.Skip() == nil
		}
		if err != nil || depth+1 >= maxDepth {
			return false
		}
		for range n {
			if !look(depth + 1) {
				return false
			}
		}
		return true
	}
	return look(0)
}

func FuzzGuard(f *testing.F) {
	for _, p := range readWorld(f).payloads(f) {
		f.Add(p.payload)
	}
	for _, c := range lengthCases() {
		if len(c.rest) < 1000 {
			f.Add(slices.Concat(c.code, c.length, c.rest))
		}
	}
	for _, b := range []string{"", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\x81\xa1d\xdc\x00\x03\xc0\xc0\xc0", "\xc7\x01\x02\x03", "\xd4\x01\x02"} {
		f.Add([]byte(b))
	}
	f.Add(append(bytes.Repeat([]byte{0x91}, maxDepth-1), 0xc0))
	f.Add(append(bytes.Repeat([]byte{0x91}, maxDepth), 0xc0))
	f.Fuzz(checkGuarded)
}

func TestGuardOnRandomBytes(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	// Codes that open something, lengths, and a little of everything.
	alphabet := []byte{0x80, 0x81, 0x82, 0x90, 0x91, 0x93, 0xa0, 0xa1, 0xa3, 0xc0, 0xc4, 0xc5, 0xd9, 0xdc, 0xde, 0xdd, 0xdf, 0xcc, 0xcf, 0, 1, 2, 3, 'd', 'o', 'c', 0xff}
	passed := 0
	for range 20_000 {
		b := make([]byte, r.IntN(24))
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
			if r.IntN(10) == 0 {
				b[i] = byte(r.Uint32())
			}
		}
		if guard(b) == nil {
			passed++
		}
		checkGuarded(t, b)
	}
	require.Greater(t, passed, 100)
}

func TestDecodeOfOtherTypes(t *testing.T) {
	t.Parallel()
	for _, b := range [][]byte{{0x81, 0xa1, 'd', 0xa1, 'x'}, {0x91, 0xc0}, {0x01}, {0xa1, 'x'}, {0x81, 0x91, 0xc0, 0xc0}} {
		require.NoError(t, guard(b))
		require.ErrorIs(t, decode(b, &workRecord{}), store.ErrCorrupt, "%x", b)
	}
}

func TestSealingCannotBeTakenOff(t *testing.T) {
	t.Parallel()
	for _, p := range newWorld(t, RandomKeys()).payloads(t) {
		r := *p.record
		c := &codec{ring: &keyMap{current: 1, keys: map[uint32][]byte{1: bytes.Repeat([]byte{1}, keySize)}}}
		oc := c.of(r.Owner)
		oc.useDataKey(dataKeyRecord{ID: 7, Key: bytes.Repeat([]byte{2}, keySize)})
		for _, s := range []*sealer{{}, {id: 1}, {id: 7}, {flags: flagPersonal, id: 7}, {flags: flagPersonal}} {
			planted, err := oc.sealWith(s, store.Record{Key: r.Key, Lane: r.Lane, Due: r.Due}, msgpack.RawMessage(p.payload))
			require.NoError(t, err)
			_, err = oc.payload(&planted)
			if r.Owner == ownerMeta && r.Key == keyFormat && s.flags == 0 {
				require.NoError(t, err, "the format is read before there is a key")
				continue
			}
			require.ErrorIs(t, err, store.ErrCorrupt, "%s %s, flags %#x", r.Owner, r.Key, s.flags)
			require.NotErrorIs(t, err, errShredded)
		}
	}
}

func TestDataKeys(t *testing.T) {
	t.Parallel()
	c := &codec{ring: RandomKeys()}
	c.useRoot([]byte("root"))
	owner := c.citizen(goldenPerson)

	first := c.of(owner)
	kept, err := first.newDataKey()
	require.NoError(t, err)
	r, err := first.sealPersonal(store.Record{Key: keyProfile}, &profileRecord{Version: 1})
	require.NoError(t, err)

	t.Run("the record that keeps it gives it back", func(t *testing.T) {
		oc := c.of(owner)
		var k dataKeyRecord
		require.NoError(t, oc.open(&kept, &k))
		oc.useDataKey(k)
		var p profileRecord
		require.NoError(t, oc.open(&r, &p))
		require.Equal(t, 1, p.Version)
	})
	t.Run("without it nothing opens", func(t *testing.T) {
		require.ErrorIs(t, c.of(owner).open(&r, &profileRecord{}), errShredded)
	})
	t.Run("under the key of a later life it is damage", func(t *testing.T) {
		oc := c.of(owner)
		_, err := oc.newDataKey()
		require.NoError(t, err)
		err = oc.open(&r, &profileRecord{})
		require.ErrorIs(t, err, store.ErrCorrupt)
		require.NotErrorIs(t, err, errShredded, "a record that a list leaves out")
	})
	t.Run("under another key of the same number it is damage", func(t *testing.T) {
		var k dataKeyRecord
		oc := c.of(owner)
		require.NoError(t, oc.open(&kept, &k))
		k.Key = bytes.Repeat([]byte{3}, keySize)
		oc.useDataKey(k)
		require.ErrorIs(t, oc.open(&r, &profileRecord{}), store.ErrCorrupt)
	})
	t.Run("no two are the same", func(t *testing.T) {
		seen := map[string]bool{}
		for range 100 {
			oc := c.of(owner)
			kept, err := oc.newDataKey()
			require.NoError(t, err)
			var k dataKeyRecord
			require.NoError(t, oc.open(&kept, &k))
			require.Len(t, k.Key, keySize)
			require.NotZero(t, k.ID)
			require.False(t, seen[string(k.Key)])
			seen[string(k.Key)] = true
		}
	})
	t.Run("sealing without one is refused", func(t *testing.T) {
		_, err := c.of(owner).sealPersonal(store.Record{Key: keyProfile}, &profileRecord{})
		require.Error(t, err)
	})
}

func TestARecordIsOfItsOwner(t *testing.T) {
	t.Parallel()
	c := &codec{ring: RandomKeys()}
	r, err := c.of("c/one").seal(store.Record{Key: "d/1"}, &decisionRecord{})
	require.NoError(t, err)
	require.NoError(t, c.of("c/one").open(&r, &decisionRecord{}))
	own, err := c.of("c/one").engineSealer(0)
	require.NoError(t, err)
	same, others := 0, map[*sealer]bool{}
	for i := range 20_000 {
		other := store.Owner(fmt.Sprint("c/", i))
		require.ErrorIs(t, c.of(other).open(&r, &decisionRecord{}), store.ErrCorrupt, "%s", other)
		s, err := c.of(other).engineSealer(0)
		require.NoError(t, err)
		if s == own { // the tag alone tells owners of one share apart
			same++
			continue
		}
		if others[s] = true; len(others) < 100 {
			_, err = s.open("c/one", &r)
			require.ErrorIs(t, err, store.ErrCorrupt, "another share's key")
		}
	}
	require.NotZero(t, same)
	require.Len(t, others, ownerShares-1)
}

func TestPseudonyms(t *testing.T) {
	t.Parallel()
	c, other := &codec{}, &codec{}
	c.useRoot([]byte("one"))
	other.useRoot([]byte("two"))
	require.Equal(t, c.citizen(goldenPerson), c.citizen(goldenPerson))
	require.NotEqual(t, c.citizen(goldenPerson), c.citizen(anna))
	require.NotEqual(t, c.citizen(goldenPerson), other.citizen(goldenPerson))
	require.NotContains(t, string(c.citizen(goldenPerson)), string(goldenPerson))
	// The same text under another kind, or under another owner, has another name.
	require.NotEqual(t, c.name("", "citizen", "x"), c.name("", "organization", "x"))
	require.NotEqual(t, c.short("a", "service", "x"), c.short("b", "service", "x"))
	require.NotEqual(t, c.short("a", "service", "x"), c.short("a", "key", "x"))
	require.NotEqual(t, c.of("a").repeatKey("s", "tx"), c.of("a").repeatKey("st", "x"))
	require.NotEqual(t, c.of("a").preferenceKey("s"), c.of("a").preferenceKey("t"))
}

func TestBodyHash(t *testing.T) {
	t.Parallel()
	c := &codec{}
	c.useRoot([]byte("one"))
	hash := func(m Message) string {
		b, err := c.bodyHash(&m, nil)
		require.NoError(t, err)
		return string(b)
	}
	whole := Message{
		To: anna, Subject: "s", Markdown: "m", Due: goldenTime, SecureChannels: true, TimeToLive: time.Hour, Key: "k",
		Payment:  &Notice{Number: "301000000000000123", Amount: 1, Payee: goldenOrg, InvalidAfterDue: true},
		Language: "it", Translations: []Translation{{Language: "en", Subject: "s", Markdown: "m"}}, Template: TemplateRef{ID: "t", Version: 1},
		Remote: &RemoteContent{ID: "r", Configuration: "c", OriginalSender: "o", ReceivedAt: goldenTime, Attachments: true, Text: true, Precondition: Once, Summary: "b"},
	}
	change := map[string]func(*Message){
		"Subject":     func(m *Message) { m.Subject += "x" },
		"Markdown":    func(m *Message) { m.Markdown += "x" },
		"both":        func(m *Message) { m.Subject, m.Markdown = "sm", "" },
		"Language":    func(m *Message) { m.Language = "de" },
		"its tag":     func(m *Message) { m.Translations = []Translation{{Language: "fr", Subject: "s", Markdown: "m"}} },
		"its subject": func(m *Message) { m.Translations = []Translation{{Language: "en", Subject: "sx", Markdown: "m"}} },
		"its text":    func(m *Message) { m.Translations = []Translation{{Language: "en", Subject: "s", Markdown: "mx"}} },
		"no other":    func(m *Message) { m.Translations = nil },
		"template":    func(m *Message) { m.Template.ID = "u" },
		"version":     func(m *Message) { m.Template.Version = 2 },
		"Due":         func(m *Message) { m.Due = m.Due.Add(time.Microsecond) },
		"no Due":      func(m *Message) { m.Due = time.Time{} },
		"Secure":      func(m *Message) { m.SecureChannels = false },
		"TTL":         func(m *Message) { m.TimeToLive++ },
		"Payment":     func(m *Message) { m.Payment = nil },
		"Number":      func(m *Message) { m.Payment.Number = "301000000000000124" },
		"Amount":      func(m *Message) { m.Payment.Amount++ },
		"Payee":       func(m *Message) { m.Payment.Payee = "" },
		"Invalid":     func(m *Message) { m.Payment.InvalidAfterDue = false },
		"Premium":     func(m *Message) { m.Premium = true },
		"NRE":         func(m *Message) { m.Prescription = &Prescription{NRE: "n"} },
		"IUP":         func(m *Message) { m.Prescription = &Prescription{NRE: "n", IUP: "i"} },
		"Prescriber":  func(m *Message) { m.Prescription = &Prescription{NRE: "n", Prescriber: "p"} },
		"no Remote":   func(m *Message) { m.Remote = nil },
		"remote id":   func(m *Message) { m.Remote.ID = "s" },
		"where":       func(m *Message) { m.Remote.Configuration = "d" },
		"by whom":     func(m *Message) { m.Remote.OriginalSender = "" },
		"received":    func(m *Message) { m.Remote.ReceivedAt = time.Time{} },
		"documents":   func(m *Message) { m.Remote.Attachments = false },
		"text":        func(m *Message) { m.Remote.Text = false },
		"shown first": func(m *Message) { m.Remote.Precondition = "" },
		"summary":     func(m *Message) { m.Remote.Summary = "" },
	}
	seen := map[string]string{hash(whole): "whole"}
	for name, f := range change {
		m := whole
		n, r := *whole.Payment, *whole.Remote
		m.Payment, m.Remote = &n, &r
		f(&m)
		require.Empty(t, seen[hash(m)], name)
		seen[hash(m)] = name
	}
	// Every field of a message and of its payment is one of them, or is where the hash is kept.
	require.Equal(t, 15, reflect.TypeFor[Message]().NumField())
	require.Equal(t, 3, reflect.TypeFor[Prescription]().NumField())
	require.Equal(t, 9, reflect.TypeFor[RemoteContent]().NumField()) // of which the engine sets one
	require.Equal(t, 4, reflect.TypeFor[Notice]().NumField())
	m := whole
	m.Key, m.To = "other", bruno
	require.Equal(t, hash(whole), hash(m))
}

// FuzzOpenRecord opens bytes that somebody put where a record was. Nothing but what was sealed there opens, and where there is
// only a checksum, which anybody can make, what is inside is an error or a record.
func FuzzOpenRecord(f *testing.F) {
	w := readWorld(f) // the same in each process
	c := &codec{ring: w.ring}
	openers := w.openers(f, c)
	type place struct {
		owner, key string
		lane       uint16
		due        int64
		value      string
	}
	known := map[place]bool{}
	for i := range w.dump {
		r := &w.dump[i]
		known[place{string(r.Owner), string(r.Key), uint16(r.Lane), toMicro(r.Due), string(r.Value)}] = true
		f.Add(string(r.Owner), string(r.Key), uint16(r.Lane), toMicro(r.Due), r.Value)
		if payload, err := openers[r.Owner].payload(r); err == nil {
			f.Add(string(r.Owner), string(r.Key), uint16(r.Lane), toMicro(r.Due), payload)
		}
	}
	f.Fuzz(func(t *testing.T, owner, key string, lane uint16, due int64, value []byte) {
		r := store.Record{Owner: store.Owner(owner), Key: store.Key(key), Lane: store.Lane(lane), Due: fromMicro(due), Value: value}
		oc := openers[r.Owner]
		if oc == nil {
			oc = c.of(r.Owner)
		}
		_, err := oc.payload(&r)
		switch {
		case err == nil:
			if !known[place{owner, key, lane, due, string(value)}] && !(r.Owner == ownerMeta && r.Key == keyFormat) {
				t.Fatalf("a record opened that nobody sealed: %q %q", owner, key)
			}
		case !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrKey) && !errors.Is(err, store.ErrNewer):
			t.Fatal(err)
		}
		plain := (&codec{ring: RandomKeys(), plain: true}).of(r.Owner)
		plain.useDataKey(dataKeyRecord{ID: 7})
		for _, s := range []*sealer{{}, plain.personal} {
			r.Value = s.seal(r.Owner, &r, value)
			for kind, make := range recordKinds {
				if err := plain.open(&r, make()); err != nil && !errors.Is(err, store.ErrCorrupt) {
					t.Fatalf("%s: %v", kind, err)
				}
			}
		}
	})
}
