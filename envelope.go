package appio

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"
	"time"

	"github.com/appio-go/appio/store"
)

// The record envelope, format 1. Every value in a store is
//
//	format (1) flags (1) key id (4, big endian) [nonce (12) if sealed] payload tag (16)
//
// The tag covers the header, the owner, the key, the lane and the due time beside the payload, so that a flipped bit, or a
// record put in the place of another, is store.ErrCorrupt and never a wrong answer.
const (
	envelopeFormat = 1

	flagSealed   = 1 << 0 // AES-256-GCM; otherwise the tag is the start of a SHA-256
	flagPersonal = 1 << 2 // the key is the owner's data key; otherwise it is derived from the engine key of that id
	flagsKnown   = flagSealed | flagPersonal

	headerSize = 6
	nonceSize  = 12
	tagSize    = 16
)

// A sealer makes and opens envelopes of one owner under one key.
type sealer struct {
	aead  cipher.AEAD // nil: checksums only
	flags byte
	id    uint32
}

// seal wraps payload as the value of a record with this owner, key, lane and due time.
func (s *sealer) seal(owner store.Owner, r *store.Record, payload []byte) []byte {
	size := headerSize + len(payload) + tagSize
	if s.aead != nil {
		size += nonceSize
	}
	out := make([]byte, headerSize, size)
	out[0], out[1] = envelopeFormat, s.flags
	binary.BigEndian.PutUint32(out[2:], s.id)
	w := sealings.Get().(*sealing)
	defer sealings.Put(w)
	w.aad = appendAAD(w.aad[:0], out[:headerSize], owner, r)
	if s.aead == nil {
		out = append(out, payload...)
		return append(out, checksum(w.aad, payload)...)
	}
	out = out[:headerSize+nonceSize]
	nonce := out[headerSize:]
	rand.Read(nonce)
	return s.aead.Seal(out, nonce, payload, w.aad)
}

// A sealing is memory, used again, for what a tag covers beside the payload.
type sealing struct{ aad []byte }

var sealings = sync.Pool{New: func() any { return new(sealing) }}

// A header is the part of an envelope that can be read without a key.
type header struct {
	flags byte
	id    uint32
}

func readHeader(value []byte) (header, error) {
	if len(value) < headerSize+tagSize {
		return header{}, fmt.Errorf("%w: record too short", store.ErrCorrupt)
	}
	if value[0] > envelopeFormat || value[0] == envelopeFormat && value[1]&^flagsKnown != 0 {
		return header{}, fmt.Errorf("%w: record format %d, flags %#x", store.ErrNewer, value[0], value[1])
	}
	if value[0] != envelopeFormat {
		return header{}, fmt.Errorf("%w: record format %d", store.ErrCorrupt, value[0])
	}
	return header{value[1], binary.BigEndian.Uint32(value[2:])}, nil
}

// open checks a record's envelope and returns its payload.
func (s *sealer) open(owner store.Owner, r *store.Record) ([]byte, error) {
	v := r.Value
	w := sealings.Get().(*sealing)
	defer sealings.Put(w)
	w.aad = appendAAD(w.aad[:0], v[:headerSize], owner, r)
	if s.aead == nil {
		payload, tag := v[headerSize:len(v)-tagSize], v[len(v)-tagSize:]
		if subtle.ConstantTimeCompare(checksum(w.aad, payload), tag) != 1 {
			return nil, errTag
		}
		return payload, nil
	}
	if len(v) < headerSize+nonceSize+tagSize {
		return nil, errTag
	}
	payload, err := s.aead.Open(nil, v[headerSize:headerSize+nonceSize], v[headerSize+nonceSize:], w.aad)
	if err != nil {
		return nil, errTag
	}
	return payload, nil
}

var errTag = fmt.Errorf("%w: a record's tag does not match", store.ErrCorrupt)

func appendAAD(b, header []byte, owner store.Owner, r *store.Record) []byte {
	b = append(b, header...)
	b = binary.AppendUvarint(b, uint64(len(owner)))
	b = append(b, owner...)
	b = binary.AppendUvarint(b, uint64(len(r.Key)))
	b = append(b, r.Key...)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Lane))
	var due int64
	if !r.Due.IsZero() {
		due = r.Due.UnixMicro()
	}
	return binary.BigEndian.AppendUint64(b, uint64(due))
}

func checksum(aad, payload []byte) []byte {
	h := sha256.New()
	h.Write(aad)
	h.Write(payload)
	return h.Sum(nil)[:tagSize]
}

func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the length is ours
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// derive makes a key for one purpose from a secret.
func derive(secret []byte, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, "appio 1 "+purpose, keySize)
	if err != nil {
		panic(err) // only for absurd lengths
	}
	return key
}

// A macer makes HMAC-SHA-256 with one key, many times: what the key alone decides is computed once.
type macer struct{ pool sync.Pool }

type macState struct {
	hash hash.Hash
	in   []byte
	out  [sha256.Size]byte
}

func newMacer(key []byte) *macer {
	return &macer{sync.Pool{New: func() any { return &macState{hash: hmac.New(sha256.New, key)} }}}
}

// sum is over the parts, each with its length.
func (m *macer) sum(parts ...string) [sha256.Size]byte {
	s := m.pool.Get().(*macState)
	defer m.pool.Put(s)
	s.in = s.in[:0]
	for _, p := range parts {
		s.in = binary.BigEndian.AppendUint32(s.in, uint32(len(p)))
		s.in = append(s.in, p...)
	}
	return s.end()
}

// raw is over text as it is.
func (m *macer) raw(text string) [sha256.Size]byte {
	s := m.pool.Get().(*macState)
	defer m.pool.Put(s)
	s.in = append(s.in[:0], text...)
	return s.end()
}

func (s *macState) end() [sha256.Size]byte {
	s.hash.Reset()
	s.hash.Write(s.in)
	s.hash.Sum(s.out[:0])
	return s.out
}

// micro is the time as a store keeps it.
func micro(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}
