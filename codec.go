package appio

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

// A codec turns records into bytes and back. It is the only place that knows keys, names of owners and msgpack.
//
// Two kinds of secrets are used. The engine keys come from outside (Options.Keys) and seal records. The root secret is made
// with the store, is kept in it sealed by an engine key, and never changes: pseudonyms, cursors and tokens come from it.
type codec struct {
	ring  Keyring
	plain bool // checksums instead of sealing

	maxSkew time.Duration // leased work is due that much after its lease
	tallies bool          // what happens is counted

	pseudonym *macer // derived from the root secret
	body      *macer
	cursor    cipher.AEAD
	token     cipher.AEAD

	keys sync.Map // number of an engine key -> *engineKey
}

// The kinds of owners. A prefix never changes; "in/" is reserved for messages enqueued in a host's own transaction.
const (
	citizenOwner = "c/"
	serviceOwner = "s/"
	orgOwner     = "o/"
	keyOwner     = "k/"
	noticeOwner  = "p/"
	addressOwner = "e/"
	feedOwner    = "f/" // + day, and a part of all people
)

// statisticsOwner has how far days are counted; with the id of a service behind it, the service's figures.
const statisticsOwner store.Owner = "n/"

// ownerMeta has what kind of store this is.
const ownerMeta store.Owner = "m/"

func (c *codec) name(prefix, kind, id string) store.Owner {
	sum := c.pseudonym.sum(kind, id)
	return store.Owner(pseudonym(prefix, sum[:16]))
}

func (c *codec) citizen(code fiscalcode.Person) store.Owner {
	return c.name(citizenOwner, "citizen", string(code))
}

func (c *codec) organization(code fiscalcode.Organization) store.Owner {
	return c.name(orgOwner, "organization", string(code))
}

func (c *codec) apiKey(hash []byte) store.Owner { return c.name(keyOwner, "key", string(hash)) }

func (c *codec) notice(id pagopa.RPTID) store.Owner {
	return c.name(noticeOwner, "notice", id.String())
}

// service owners are named in clear: which services there are is public, and they are listed by id.
func service(id ServiceID) store.Owner { return serviceOwner + store.Owner(id) }

// short is a pseudonym within one owner.
func (c *codec) short(owner store.Owner, kind, id string) string {
	sum := c.pseudonym.sum(string(owner), kind, id)
	return pseudonym("", sum[:12])
}

func pseudonym(prefix string, sum []byte) string {
	var b [32]byte
	return string(base64.RawURLEncoding.AppendEncode(append(b[:0], prefix...), sum))
}

// An engineKey is what is made of an engine key. Records are sealed by shares of it, a part of the owners by each: what one AES key
// may safely seal with random nonces, 2^32 records (NIST SP 800-38D, 8.3), is then enough for 4 * 10^12.
type engineKey struct {
	id     uint32
	secret *macer
	api    *macer // makes API keys
	shares [ownerShares]atomic.Pointer[sealer]
}

const ownerShares = 1024

// share is the sealer of a part of the owners.
func (k *engineKey) share(owner store.Owner) *sealer {
	n := hash32(string(owner)) % ownerShares
	if s := k.shares[n].Load(); s != nil {
		return s
	}
	sum := k.secret.sum("share", strconv.Itoa(int(n)))
	s := &sealer{aead: newAEAD(sum[:]), flags: flagSealed, id: k.id}
	k.shares[n].Store(s)
	return s
}

// engineKey is what is made of an engine key; id 0 is the current one.
func (c *codec) engineKey(id uint32) (*engineKey, error) {
	var key []byte
	var err error
	if id == 0 {
		id, key, err = c.ring.Current()
	}
	if err != nil {
		return nil, err
	}
	if k, ok := c.keys.Load(id); ok {
		return k.(*engineKey), nil
	}
	if key == nil {
		if key, err = c.ring.Key(id); err != nil {
			return nil, err
		}
	}
	if len(key) != keySize || id == 0 {
		return nil, fmt.Errorf("%w: an engine key has a number from 1 and %d bytes", store.ErrKey, keySize)
	}
	k, _ := c.keys.LoadOrStore(id, &engineKey{id: id, secret: newMacer(derive(key, "records")), api: newMacer(derive(key, "api keys"))})
	return k.(*engineKey), nil
}

// An ownerCodec seals and opens the records of one owner.
type ownerCodec struct {
	*codec
	owner    store.Owner
	personal *sealer // under the person's data key; nil: there is none

	aliased ServiceID // whose pseudonym alias is: the last that was asked for
	alias   string
}

func (c *codec) of(owner store.Owner) *ownerCodec { return &ownerCodec{codec: c, owner: owner} }

func (c *ownerCodec) engineSealer(id uint32) (*sealer, error) {
	if c.plain && id == 0 {
		return &sealer{}, nil
	}
	k, err := c.engineKey(id)
	if err != nil {
		return nil, err
	}
	return k.share(c.owner), nil
}

// newDataKey makes the person's data key and returns the record that keeps it, sealed by the engine key.
func (c *ownerCodec) newDataKey() (store.Record, error) {
	d := dataKeyRecord{Key: make([]byte, keySize)}
	rand.Read(d.Key)
	var id [4]byte
	for d.ID == 0 {
		rand.Read(id[:])
		d.ID = binary.BigEndian.Uint32(id[:])
	}
	c.useDataKey(d)
	return c.seal(store.Record{Key: keyDataKey}, &d)
}

func (c *ownerCodec) useDataKey(d dataKeyRecord) {
	if c.plain {
		c.personal = &sealer{flags: flagPersonal, id: d.ID}
		return
	}
	c.personal = &sealer{aead: newAEAD(d.Key), flags: flagSealed | flagPersonal, id: d.ID}
}

// seal encodes v as the value of r under the engine key, sealPersonal under the person's data key.
func (c *ownerCodec) seal(r store.Record, v any) (store.Record, error) {
	s, err := c.engineSealer(0)
	if err != nil {
		return r, err
	}
	return c.sealWith(s, r, v)
}

func (c *ownerCodec) sealPersonal(r store.Record, v any) (store.Record, error) {
	if c.personal == nil {
		return r, errors.New("appio: no data key") // a programming error: callers make one first
	}
	return c.sealWith(c.personal, r, v)
}

func (c *ownerCodec) sealWith(s *sealer, r store.Record, v any) (store.Record, error) {
	e, err := encode(v)
	if err != nil {
		return r, err
	}
	r.Owner, r.Due = c.owner, micro(r.Due)
	r.Value = s.seal(c.owner, &r, e.b)
	e.release()
	return r, nil
}

// open checks and decodes a record into v. A record sealed with a data key that is gone is errShredded.
func (c *ownerCodec) open(r *store.Record, v any) error {
	payload, err := c.payload(r)
	if err != nil {
		return err
	}
	return decode(payload, v)
}

var errShredded = fmt.Errorf("%w: the person's data key is gone", store.ErrCorrupt)

func (c *ownerCodec) payload(r *store.Record) ([]byte, error) {
	h, err := readHeader(r.Value)
	if err != nil {
		return nil, err
	}
	var s *sealer
	switch {
	case h.flags&flagPersonal != 0:
		if c.personal == nil {
			return nil, errShredded
		}
		// An erasure leaves nothing that a later life of the person could come upon: another number is damage.
		if c.personal.id != h.id {
			return nil, errTag
		}
		s = c.personal
	case h.flags&flagSealed == 0:
		s = &sealer{}
	default:
		if h.id == 0 {
			return nil, errTag
		}
		if s, err = c.engineSealer(h.id); err != nil {
			return nil, err
		}
	}
	// Who can write to the store must not be able to take sealing off. The format record is read, and the mark of a restored
	// store written, before there is a key.
	open := c.plain || c.owner == ownerMeta && (r.Key == keyFormat || r.Key == keyRestored)
	if sealed := h.flags&flagSealed != 0; sealed != (s.aead != nil) || !sealed && !open {
		return nil, errTag
	}
	return s.open(c.owner, r)
}

// encode is msgpack with compact integers, in e.b until e is released.
func encode(v any) (e *encoder, err error) {
	e = encoders.Get().(*encoder)
	if p, ok := v.(packer); ok {
		e.b = p.pack(e.b[:0])
		return e, nil
	}
	e.b = e.b[:0]
	e.enc.Reset(e)
	e.enc.UseCompactInts(true)
	e.enc.SetSortMapKeys(true)
	if err := e.enc.Encode(v); err != nil {
		return nil, fmt.Errorf("appio: encode: %w", err)
	}
	return e, nil
}

func (e *encoder) release() {
	if cap(e.b) <= 64<<10 {
		encoders.Put(e)
	}
}

// An encoder is also what enc writes to.
type encoder struct {
	b   []byte
	enc *msgpack.Encoder
}

func (e *encoder) Write(p []byte) (int, error) {
	e.b = append(e.b, p...)
	return len(p), nil
}

func (e *encoder) WriteByte(c byte) error {
	e.b = append(e.b, c)
	return nil
}

var encoders = sync.Pool{New: func() any { return &encoder{enc: msgpack.NewEncoder(nil)} }}

// decode reads msgpack that guard has passed. Unknown fields are left out, so that a newer version may add some.
func decode(payload []byte, v any) error {
	if err := guard(payload); err != nil {
		return err
	}
	if p, ok := v.(unpacker); ok {
		u := unpacking{rest: string(payload)}
		if p.unpack(&u); u.bad || u.rest != "" {
			return errFields
		}
		return nil
	}
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	d.r.Reset(payload)
	d.dec.Reset(&d.r)
	if err := d.dec.Decode(v); err != nil {
		return errFields
	}
	return nil
}

var errFields = fmt.Errorf("%w: a record's fields are of other types", store.ErrCorrupt)

type decoder struct {
	r   bytes.Reader
	dec *msgpack.Decoder
}

var decoders = sync.Pool{New: func() any { return &decoder{dec: msgpack.NewDecoder(nil)} }}

// maxDepth is how deep msgpack may be nested; our records use six.
const maxDepth = 32

var errMalformed = fmt.Errorf("%w: a record is not well-formed", store.ErrCorrupt)

// guard checks that b is one well-formed msgpack value: no declared length exceeds the bytes that are left, and nesting has
// an end. Without it the decoder asks for as much memory as five hostile bytes say, or recurses until the process dies. A list
// has at most 65,535 items, more than a record has room for: one byte can stand for an item that takes two hundred in memory.
func guard(b []byte) error {
	var stack [maxDepth]uint64 // values still to come at each depth
	depth := 0
	stack[0] = 1
	for {
		for stack[depth] == 0 {
			if depth == 0 {
				if len(b) != 0 {
					return errMalformed
				}
				return nil
			}
			depth--
		}
		stack[depth]--
		if len(b) == 0 {
			return errMalformed
		}
		code := b[0]
		b = b[1:]
		var skip, children uint64 // bytes of content; values inside
		nest, short := false, false
		length := func(n int) uint64 {
			if len(b) < n {
				short = true
				return 0
			}
			var v uint64
			for _, x := range b[:n] {
				v = v<<8 | uint64(x)
			}
			b = b[n:]
			return v
		}
		switch {
		case code <= 0x7f || code >= 0xe0: // small integers
		case code <= 0x8f:
			children, nest = 2*uint64(code&0x0f), true
		case code <= 0x9f:
			children, nest = uint64(code&0x0f), true
		case code <= 0xbf:
			skip = uint64(code & 0x1f)
		default:
			switch code {
			case 0xc0, 0xc2, 0xc3: // nil, booleans
			case 0xc4, 0xd9:
				skip = length(1)
			case 0xc5, 0xda:
				skip = length(2)
			case 0xc6, 0xdb:
				skip = length(4)
			case 0xcc, 0xd0:
				skip = 1
			case 0xcd, 0xd1:
				skip = 2
			case 0xca, 0xce, 0xd2:
				skip = 4
			case 0xcb, 0xcf, 0xd3:
				skip = 8
			case 0xdc:
				children, nest = length(2), true
			case 0xde:
				children, nest = 2*length(2), true
			default: // 0xc1 is no code; extensions, and lists and maps of 65,536 or more (0xdd, 0xdf), are not used
				return errMalformed
			}
		}
		if short || skip > uint64(len(b)) {
			return errMalformed
		}
		b = b[skip:]
		if nest {
			if children > uint64(len(b)) || depth+1 == maxDepth {
				return errMalformed
			}
			depth++
			stack[depth] = children
		}
	}
}

// bodyHash identifies what a message says, for its idempotency key. A document that was put again is the same.
func (c *codec) bodyHash(m *Message, docs []documentRecord) ([]byte, error) {
	r := newMessageRecord("", m, 0)
	docs = slices.Clone(docs)
	for i := range docs {
		docs[i].ID, docs[i].Key = "", nil
	}
	r.attach(r.remote(), docs)
	e, err := encode(r)
	if err != nil {
		return nil, err
	}
	defer e.release()
	sum := c.body.sum(string(e.b))
	return sum[:16], nil
}

// keyHash is how an API key is kept: keys are 256 random bits, so one round of SHA-256 is enough.
func keyHash(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:]
}

// derivedKey is the API key of a service's slot in a generation. It comes from an engine key, 0 for the current one, and from the store's root
// secret: who has only one of them, as who copies a file or runs another store with the same keys, cannot make it.
func (c *codec) derivedKey(id uint32, service ServiceID, k KeySlot, generation uint64) (key string, of uint32, err error) {
	if c.plain {
		return "", 0, fmt.Errorf("%w: a plain store has no engine key to derive keys from", ErrUnsupported)
	}
	e, err := c.engineKey(id)
	if err != nil {
		return "", 0, err
	}
	root := c.pseudonym.sum("api key", string(service), strconv.Itoa(int(k)), strconv.FormatUint(generation, 10))
	sum := e.api.sum(string(root[:]))
	return hex.EncodeToString(sum[:]), e.id, nil
}

// newAPIKey is 256 random bits as text.
func newAPIKey() string {
	var b [32]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
