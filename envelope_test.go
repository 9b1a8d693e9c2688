package appio

import (
	"bytes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
)

// An envelope seals and opens one owner's records. The one in use is a sealer; the others have something left out.
type envelope interface {
	seal(owner store.Owner, r *store.Record, payload []byte) []byte
	open(owner store.Owner, r *store.Record) ([]byte, error)
}

// leaky is a sealer that looks at less: see makes of a place what it notices of it.
type leaky struct {
	sealer
	see func(owner store.Owner, r store.Record) (store.Owner, store.Record)
}

func (l *leaky) seal(owner store.Owner, r *store.Record, payload []byte) []byte {
	o, seen := l.see(owner, *r)
	return l.sealer.seal(o, &seen, payload)
}

func (l *leaky) open(owner store.Owner, r *store.Record) ([]byte, error) {
	if len(r.Value) < headerSize+tagSize {
		return nil, errTag
	}
	o, seen := l.see(owner, *r)
	return l.sealer.open(o, &seen)
}

// strict is the sealer in use, with the look at the header that comes before it.
type strict struct{ sealer }

func (s *strict) open(owner store.Owner, r *store.Record) ([]byte, error) {
	if _, err := readHeader(r.Value); err != nil {
		return nil, err
	}
	return s.sealer.open(owner, r)
}

// envelopeFlaws names what can be changed about a record without the envelope noticing.
func envelopeFlaws(e envelope, payload []byte) (flaws []string) {
	const owner store.Owner = "c/abc"
	rec := store.Record{Key: "q/w/1", Lane: 0x0107, Due: goldenTime}
	rec.Value = e.seal(owner, &rec, payload)
	seen := map[string]bool{}
	try := func(what string, owner store.Owner, r store.Record) {
		if _, err := e.open(owner, &r); err == nil && !seen[what] {
			seen[what] = true
			flaws = append(flaws, what)
		}
	}
	if got, err := e.open(owner, &rec); err != nil || !bytes.Equal(got, payload) {
		flaws = append(flaws, "it does not open")
	}
	for i := range rec.Value {
		for bit := range 8 {
			r := rec
			r.Value = bytes.Clone(rec.Value)
			r.Value[i] ^= 1 << bit
			what := "a payload's bit"
			if i < headerSize {
				what = "a header's bit"
			}
			try(what, owner, r)
		}
	}
	for n := range rec.Value {
		r := rec
		r.Value = rec.Value[:n]
		try("the end", owner, r)
		r.Value = rec.Value[n+1:]
		try("the beginning", owner, r)
	}
	for i := range 256 {
		r := rec
		r.Value = append(bytes.Clone(rec.Value), byte(i))
		try("one byte more", owner, r)
	}
	for bit := range 16 {
		r := rec
		r.Lane ^= 1 << bit
		try("the lane", owner, r)
	}
	for bit := range 50 {
		r := rec
		r.Due = time.UnixMicro(rec.Due.UnixMicro() ^ 1<<bit)
		try("the due time", owner, r)
	}
	for _, due := range []time.Time{{}, rec.Due.Add(time.Microsecond), rec.Due.Add(-time.Microsecond)} {
		r := rec
		r.Due = due
		try("the due time", owner, r)
	}
	for _, o := range []store.Owner{"", "c/abd", "c/ab", "c/abcd", "C/abc"} {
		try("the owner", o, rec)
	}
	for _, k := range []store.Key{"", "q/w/2", "q/w/", "q/w/11", "q/l/1"} {
		r := rec
		r.Key = k
		try("the key", owner, r)
	}
	// The same characters, divided otherwise.
	r := rec
	r.Key = "c" + rec.Key
	try("the border of owner and key", owner[:len(owner)-1], r)
	return flaws
}

func TestEnvelopeNoticesEveryChange(t *testing.T) {
	t.Parallel()
	aead := newAEAD(bytes.Repeat([]byte{1}, keySize))
	for _, s := range []sealer{
		{aead: aead, flags: flagSealed, id: 1},
		{aead: aead, flags: flagSealed | flagPersonal, id: 0xA1B2C3D4},
		{}, // checksums
		{flags: flagPersonal, id: 0xA1B2C3D4},
	} {
		t.Run(fmt.Sprintf("flags %#x", s.flags), func(t *testing.T) {
			t.Parallel()
			for _, payload := range []string{"", "x", "eleven and more bytes of a payload"} {
				require.Empty(t, envelopeFlaws(&strict{s}, []byte(payload)))
			}
		})
	}

	t.Run("one that looks at less is found out", func(t *testing.T) {
		t.Parallel()
		for what, see := range map[string]func(store.Owner, store.Record) (store.Owner, store.Record){
			"the owner":    func(o store.Owner, r store.Record) (store.Owner, store.Record) { return "", r },
			"the key":      func(o store.Owner, r store.Record) (store.Owner, store.Record) { r.Key = ""; return o, r },
			"the lane":     func(o store.Owner, r store.Record) (store.Owner, store.Record) { r.Lane = 0; return o, r },
			"the due time": func(o store.Owner, r store.Record) (store.Owner, store.Record) { r.Due = time.Time{}; return o, r },
			"the border of owner and key": func(o store.Owner, r store.Record) (store.Owner, store.Record) {
				r.Key = store.Key(o) + r.Key
				return "", r
			},
			"a header's bit": func(o store.Owner, r store.Record) (store.Owner, store.Record) {
				if len(r.Value) > headerSize {
					r.Value = bytes.Clone(r.Value)
					r.Value[0], r.Value[1] = envelopeFormat, flagSealed
					binary.BigEndian.PutUint32(r.Value[2:], 1)
				}
				return o, r
			},
		} {
			flaws := envelopeFlaws(&leaky{sealer{aead: aead, flags: flagSealed, id: 1}, see}, []byte("a payload"))
			require.Contains(t, flaws, what)
		}
		require.Contains(t, envelopeFlaws(untagged{}, []byte("a payload")), "a payload's bit")
	})
}

// untagged has a checksum and does not look at it.
type untagged struct{}

func (untagged) seal(owner store.Owner, r *store.Record, payload []byte) []byte {
	return (&sealer{}).seal(owner, r, payload)
}

func (untagged) open(_ store.Owner, r *store.Record) ([]byte, error) {
	if _, err := readHeader(r.Value); err != nil {
		return nil, err
	}
	return r.Value[headerSize : len(r.Value)-tagSize], nil
}

func TestEnvelopeSealsAnewEachTime(t *testing.T) {
	t.Parallel()
	s := &sealer{aead: newAEAD(bytes.Repeat([]byte{1}, keySize)), flags: flagSealed, id: 1}
	r := &store.Record{Key: "P"}
	seen := map[string]bool{}
	for range 100 {
		v := s.seal("c/abc", r, []byte("the same payload"))
		require.False(t, seen[string(v[headerSize:headerSize+nonceSize])], "a nonce came twice")
		seen[string(v[headerSize:headerSize+nonceSize])] = true
		require.NotContains(t, string(v), "payload")
	}
}

func TestEnvelopeOfALaterVersion(t *testing.T) {
	t.Parallel()
	s := &sealer{aead: newAEAD(bytes.Repeat([]byte{1}, keySize)), flags: flagSealed, id: 1}
	value := s.seal("c/abc", &store.Record{Key: "P"}, []byte("payload"))
	for format := range 256 {
		v := bytes.Clone(value)
		v[0] = byte(format)
		_, err := readHeader(v)
		switch {
		case format == 0:
			require.ErrorIs(t, err, store.ErrCorrupt)
		case format == envelopeFormat:
			require.NoError(t, err)
		default:
			require.ErrorIs(t, err, store.ErrNewer)
			require.NotErrorIs(t, err, store.ErrCorrupt)
		}
	}
	for flags := range 256 {
		v := bytes.Clone(value)
		v[1] = byte(flags)
		_, err := readHeader(v)
		if flags&^(flagSealed|flagPersonal) != 0 {
			require.ErrorIs(t, err, store.ErrNewer)
		} else {
			require.NoError(t, err)
		}
	}
	for n := range headerSize + tagSize {
		_, err := readHeader(value[:n])
		require.ErrorIs(t, err, store.ErrCorrupt)
	}
}

func TestDerivedSecretsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, secret := range []string{"one", "two"} {
		c := &codec{}
		c.useRoot([]byte(secret))
		used := func(aead cipher.AEAD) string { return string(aead.Seal(nil, make([]byte, nonceSize), nil, nil)) }
		for name, trace := range map[string]string{ // what a secret makes of nothing tells it from others
			"pseudonym": sumOf(c.pseudonym), "body": sumOf(c.body), "records": sumOf(newMacer(derive([]byte(secret), "records"))),
			"cursor": used(c.cursor), "token": used(c.token),
		} {
			require.Empty(t, seen[trace], "%s of %s", name, secret)
			seen[trace] = name
		}
	}
	// Parts are not run together.
	m := newMacer([]byte("k"))
	require.NotEqual(t, sumOf(m, "ab", "c"), sumOf(m, "a", "bc"))
	require.NotEqual(t, sumOf(m, "ab"), sumOf(m, "ab", ""))
	// It is HMAC, also when used again.
	h := hmac.New(sha256.New, []byte("k"))
	h.Write([]byte("text"))
	for range 3 {
		sum := m.raw("text")
		require.Equal(t, h.Sum(nil), sum[:])
	}
}

func sumOf(m *macer, parts ...string) string {
	sum := m.sum(parts...)
	return string(sum[:])
}
