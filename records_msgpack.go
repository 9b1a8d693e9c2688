package appio

import (
	"encoding/binary"
	"math"
	"time"
)

// The records of each message are written, and those that it is decided by read, field by field here: through the library that
// is for the others they took a tenth of all time. The tags say what the fields are called, and the library is the judge of every
// byte: TestRecordsAreWrittenAsTheirTagsSay.

// A packer is a record that is written field by field.
type packer interface {
	pack(b []byte) []byte
}

// fields appends the fields of one record, of which there are less than sixteen, to b.
type fields struct {
	b     []byte
	start int
	n     byte
}

func begin(b []byte) fields { return fields{b: append(b, 0), start: len(b)} }

func (f *fields) end() []byte {
	f.b[f.start] = 0x80 | f.n
	return f.b
}

func (f *fields) name(name string) {
	f.n++
	f.b = appendText(f.b, name)
}

func (f *fields) text(name, v string) {
	f.name(name)
	f.b = appendText(f.b, v)
}

func (f *fields) optionalText(name, v string) {
	if v != "" {
		f.text(name, v)
	}
}

// bytes is of less than 256 bytes.
func (f *fields) bytes(name string, v []byte) {
	f.name(name)
	if v == nil {
		f.b = append(f.b, codeNil)
		return
	}
	f.b = append(append(f.b, codeBytes8, byte(len(v))), v...)
}

func (f *fields) unsigned(name string, v uint64) {
	f.name(name)
	f.b = appendUnsigned(f.b, v)
}

func (f *fields) number(name string, v int64) {
	f.name(name)
	f.b = appendNumber(f.b, v)
}

func (f *fields) optionalNumber(name string, v int64) {
	if v != 0 {
		f.number(name, v)
	}
}

func (f *fields) optionalFlag(name string, v bool) {
	if v {
		f.name(name)
		f.b = append(f.b, codeTrue)
	}
}

func (f *fields) record(name string, v packer) {
	f.name(name)
	f.b = v.pack(f.b)
}

func list[T any, P interface {
	*T
	packer
}](f *fields, name string, vs []T) {
	f.name(name)
	f.b = appendListLen(f.b, len(vs), vs == nil)
	for i := range vs {
		f.b = P(&vs[i]).pack(f.b)
	}
}

func texts[T ~string](f *fields, name string, vs []T) {
	f.name(name)
	f.b = appendListLen(f.b, len(vs), vs == nil)
	for _, v := range vs {
		f.b = appendText(f.b, string(v))
	}
}

func appendListLen(b []byte, n int, none bool) []byte {
	switch {
	case none:
		return append(b, codeNil)
	case n < 16:
		return append(b, 0x90|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, codeList16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, codeList32), uint32(n))
}

func optionalList[T any, P interface {
	*T
	packer
}](f *fields, name string, vs []T) {
	if len(vs) > 0 {
		list[T, P](f, name, vs)
	}
}

// The codes of msgpack that are not part of another byte.
const (
	codeNil     = 0xc0
	codeFalse   = 0xc2
	codeTrue    = 0xc3
	codeBytes8  = 0xc4 // 16 and 32 follow
	codeUint8   = 0xcc // 16, 32 and 64 follow
	codeInt8    = 0xd0 // 16, 32 and 64 follow
	codeText8   = 0xd9 // 16 and 32 follow
	codeList16  = 0xdc
	codeList32  = 0xdd
	codeMap16   = 0xde
	mostInline  = 0x7f // the largest number that is its own code
	leastInline = -32  // the smallest
)

func appendText(b []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n <= math.MaxUint8:
		b = append(b, codeText8, byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, codeText8+1), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, codeText8+2), uint32(n))
	}
	return append(b, s...)
}

func appendNumber(b []byte, v int64) []byte {
	switch {
	case v >= 0:
		return appendUnsigned(b, uint64(v))
	case v >= leastInline:
		return append(b, byte(v))
	case v >= math.MinInt8:
		return append(b, codeInt8, byte(v))
	case v >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(b, codeInt8+1), uint16(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(b, codeInt8+2), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, codeInt8+3), uint64(v))
}

func appendUnsigned(b []byte, v uint64) []byte {
	switch {
	case v <= mostInline:
		return append(b, byte(v))
	case v <= math.MaxUint8:
		return append(b, codeUint8, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, codeUint8+1), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, codeUint8+2), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, codeUint8+3), v)
}

func (r *noticeRecord) pack(b []byte) []byte {
	f := begin(b)
	f.text("n", r.Number)
	f.number("a", r.Amount)
	f.optionalText("p", r.Payee)
	f.optionalFlag("i", r.Invalid)
	return f.end()
}

func (r *messageRecord) pack(b []byte) []byte {
	f := begin(b)
	f.text("n", string(r.Service))
	f.number("t", r.At)
	f.text("s", r.Subject)
	f.text("b", r.Markdown)
	f.optionalNumber("d", r.Due)
	if r.Payment != nil {
		f.record("p", r.Payment)
	}
	f.optionalFlag("c", r.Secure)
	f.optionalNumber("l", int64(r.TTL))
	f.optionalText("g", r.Language)
	optionalList(&f, "x", r.Translations)
	f.optionalText("m", r.Template)
	f.optionalNumber("v", int64(r.TemplateVersion))
	f.optionalFlag("e", r.Premium)
	if r.Prescription != nil {
		f.record("r", r.Prescription)
	}
	if r.Attached != nil {
		f.record("a", r.Attached)
	}
	return f.end()
}

func (r *prescriptionRecord) pack(b []byte) []byte {
	f := begin(b)
	f.text("n", r.NRE)
	f.optionalText("i", r.IUP)
	f.optionalText("p", r.Prescriber)
	return f.end()
}

func (r *attachedRecord) pack(b []byte) []byte {
	f := begin(b)
	if r.Remote != nil {
		f.record("r", r.Remote)
	}
	optionalList(&f, "f", r.Documents)
	return f.end()
}

func (r *documentRecord) pack(b []byte) []byte {
	f := begin(b)
	f.text("i", string(r.ID))
	f.text("n", r.Name)
	f.text("t", r.Type)
	f.number("z", r.Size)
	f.bytes("s", r.Sum)
	f.bytes("k", r.Key)
	return f.end()
}

func (r *remoteRecord) pack(b []byte) []byte {
	f := begin(b)
	f.text("i", r.ID)
	f.text("o", r.Organization)
	f.text("c", string(r.Configuration))
	f.text("p", string(r.Precondition))
	f.optionalText("s", r.Sender)
	f.optionalNumber("t", r.Received)
	f.optionalText("b", r.Summary)
	f.optionalFlag("a", r.Attachments)
	f.optionalFlag("x", r.Text)
	return f.end()
}

func (r *translationRecord) pack(b []byte) []byte {
	f := begin(b)
	f.text("g", r.Language)
	f.text("s", r.Subject)
	f.text("b", r.Markdown)
	return f.end()
}

func (r *decisionRecord) pack(b []byte) []byte {
	f := begin(b)
	f.text("n", string(r.Service))
	f.number("t", r.At)
	f.number("v", int64(r.RuleSet))
	f.record("f", &r.Facts)
	f.text("s", string(r.Status))
	f.text("r", string(r.Rule))
	optionalList(&f, "c", r.Channels)
	f.optionalText("g", string(r.Digest))
	f.optionalFlag("e", r.Premium)
	return f.end()
}

func (r *channelRuleEntry) pack(b []byte) []byte {
	f := begin(b)
	f.text("n", r.Name)
	f.optionalNumber("c", int64(r.Content))
	f.optionalFlag("d", r.Digest)
	f.optionalText("r", string(r.Rule))
	f.optionalNumber("a", int64(r.After))
	f.optionalText("f", r.For)
	return f.end()
}

func (r *factsRecord) pack(b []byte) []byte {
	f := begin(b)
	f.optionalNumber("f", int64(r.Flags))
	f.optionalText("m", string(r.Mode))
	f.optionalText("c", string(r.Category))
	f.optionalText("a", string(r.Activation))
	f.optionalNumber("g", int64(r.Age))
	f.optionalText("q", r.QuietBasis)
	f.optionalNumber("u", int64(r.Due))
	optionalList(&f, "n", r.Channels)
	return f.end()
}

func (r *channelFactsRec) pack(b []byte) []byte {
	f := begin(b)
	f.text("n", r.Name)
	f.optionalNumber("w", int64(r.Switch))
	f.optionalNumber("p", int64(r.Preference))
	f.optionalNumber("s", int64(r.Secure))
	f.optionalNumber("f", int64(r.Flags))
	f.optionalNumber("q", int64(r.Quiet))
	f.optionalNumber("d", int64(r.Digest))
	f.optionalText("o", r.Of)
	f.optionalNumber("a", int64(r.After))
	return f.end()
}

func (r *workRecord) pack(b []byte) []byte {
	f := begin(b)
	f.text("n", string(r.Service))
	f.optionalFlag("s", r.Secure)
	f.number("e", r.Expires)
	if r.Lease != nil {
		f.record("l", r.Lease)
	}
	list(&f, "d", r.Entries)
	optionalList(&f, "o", r.Done)
	if r.Digest != nil {
		f.record("g", r.Digest)
	}
	f.optionalNumber("r", int64(r.Replay))
	return f.end()
}

func (r *gathered) pack(b []byte) []byte {
	f := begin(b)
	texts(&f, "m", r.Messages)
	f.number("l", int64(r.Longest))
	return f.end()
}

func (r *leaseRecord) pack(b []byte) []byte {
	f := begin(b)
	f.text("p", r.Process)
	f.text("b", r.Boot)
	f.unsigned("n", r.Number)
	f.number("u", r.Until)
	return f.end()
}

func (r *workEntry) pack(b []byte) []byte {
	f := begin(b)
	f.text("i", string(r.ID))
	f.text("c", r.Channel)
	f.optionalText("a", r.Address)
	f.optionalNumber("n", int64(r.Attempts))
	f.optionalNumber("k", int64(r.Claims))
	f.number("t", r.Next)
	f.optionalFlag("h", r.Held)
	f.optionalText("e", r.Cause)
	f.optionalText("r", string(r.Reminder))
	f.optionalText("b", r.Bill)
	f.optionalNumber("x", r.Expires)
	f.optionalFlag("q", r.Quiet)
	f.optionalText("f", r.Fallback)
	f.optionalNumber("p", r.Paused)
	f.optionalFlag("y", r.Replayed)
	return f.end()
}

func (r *outcomeItem) pack(b []byte) []byte {
	f := begin(b)
	f.text("i", string(r.ID))
	f.text("c", r.Channel)
	f.text("r", string(r.Result))
	f.number("t", r.At)
	f.optionalNumber("n", int64(r.Attempts))
	f.optionalText("e", r.Cause)
	f.optionalFlag("l", r.Late)
	f.optionalText("q", r.Basis)
	if r.Without != nil {
		texts(&f, "w", *r.Without)
	}
	return f.end()
}

func (r *outcomeRecord) pack(b []byte) []byte {
	f := begin(b)
	f.text("n", string(r.Service))
	list(&f, "o", r.Items)
	f.optionalNumber("f", int64(r.First))
	return f.end()
}

func (r *withdrawal) pack(b []byte) []byte {
	f := begin(b)
	f.text("o", r.Owner)
	f.text("n", string(r.Service))
	f.text("c", r.Channel)
	return f.end()
}

// An unpacker is a record that is read field by field.
type unpacker interface {
	unpack(r *unpacking)
}

// An unpacking takes values from the front of rest, which guard has passed. What is of another type than is asked for makes bad
// true, and reads as nothing; nothing reads as nothing of any type. Texts are cut out of one string that they keep in memory together.
type unpacking struct {
	rest string
	bad  bool
}

// fields calls read with the name of each field. A field that read does not know it reports as such, and its value is left out.
func (u *unpacking) fields(read func(name string) (known bool)) {
	for n := u.mapLen(); n > 0 && !u.bad; n-- {
		if !read(u.text()) {
			u.skip()
		}
	}
}

func (u *unpacking) fail() {
	u.rest, u.bad = "", true
}

// code takes the first byte of a value.
func (u *unpacking) code() byte {
	if u.rest == "" {
		u.fail()
		return codeNil
	}
	c := u.rest[0]
	u.rest = u.rest[1:]
	return c
}

// size takes a number of so many bytes, big endian.
func (u *unpacking) size(bytes int) (v uint64) {
	if len(u.rest) < bytes {
		u.fail()
		return 0
	}
	for i := range bytes {
		v = v<<8 | uint64(u.rest[i])
	}
	u.rest = u.rest[bytes:]
	return v
}

func (u *unpacking) take(n uint64) string {
	if n > uint64(len(u.rest)) {
		u.fail()
		return ""
	}
	s := u.rest[:n]
	u.rest = u.rest[n:]
	return s
}

func (u *unpacking) mapLen() int {
	switch c := u.code(); {
	case c&0xf0 == 0x80:
		return int(c & 0x0f)
	case c == codeMap16:
		return int(u.size(2))
	case c != codeNil:
		u.fail()
	}
	return 0
}

func (u *unpacking) listLen() int {
	switch c := u.code(); {
	case c&0xf0 == 0x90:
		return int(c & 0x0f)
	case c == codeList16:
		return int(u.size(2))
	case c != codeNil:
		u.fail()
	}
	return 0
}

// text is of text or of bytes.
func (u *unpacking) text() string {
	switch c := u.code(); {
	case c&0xe0 == 0xa0:
		return u.take(uint64(c & 0x1f))
	case c >= codeText8 && c < codeText8+3:
		return u.take(u.size(1 << (c - codeText8)))
	case c >= codeBytes8 && c < codeBytes8+3:
		return u.take(u.size(1 << (c - codeBytes8)))
	case c != codeNil:
		u.fail()
	}
	return ""
}

func (u *unpacking) bytes() []byte {
	if u.rest != "" && u.rest[0] == codeNil {
		u.code()
		return nil
	}
	return []byte(u.text())
}

func (u *unpacking) number() int64 {
	switch c := u.code(); {
	case c <= mostInline:
		return int64(c)
	case c >= 0xe0:
		return int64(int8(c))
	case c >= codeUint8 && c < codeUint8+4:
		v := u.size(1 << (c - codeUint8))
		if v > math.MaxInt64 {
			u.fail()
			return 0
		}
		return int64(v)
	case c >= codeInt8 && c < codeInt8+4:
		bytes := 1 << (c - codeInt8)
		unused := 64 - 8*bytes
		return int64(u.size(bytes)<<unused) >> unused
	case c != codeNil:
		u.fail()
	}
	return 0
}

// upTo is a number from 0 to most.
func (u *unpacking) upTo(most int64) int64 {
	v := u.number()
	if v < 0 || v > most {
		u.fail()
		return 0
	}
	return v
}

func (u *unpacking) flag() bool {
	switch u.code() {
	case codeTrue:
		return true
	case codeFalse, codeNil:
	default:
		u.fail()
	}
	return false
}

// skip leaves a value out, and what is in it.
func (u *unpacking) skip() {
	for left := 1; left > 0 && !u.bad; left-- {
		switch c := u.rest; {
		case c == "":
			u.fail()
		case c[0]&0xf0 == 0x80 || c[0] == codeMap16:
			left += 2 * u.mapLen()
		case c[0]&0xf0 == 0x90 || c[0] == codeList16:
			left += u.listLen()
		case c[0]&0xe0 == 0xa0 || c[0] >= codeText8 && c[0] < codeText8+3 || c[0] >= codeBytes8 && c[0] < codeBytes8+3:
			u.text()
		case c[0] == codeFalse || c[0] == codeTrue:
			u.flag()
		case c[0] == codeUint8+3: // above what number reads, or not
			u.take(9)
		case c[0] == 0xca || c[0] == 0xcb: // floats of 4 and 8 bytes
			u.take(1 + 4<<(c[0]-0xca))
		default:
			u.number()
		}
	}
}

func (r *dataKeyRecord) unpack(u *unpacking) {
	u.fields(func(name string) bool {
		switch name {
		case "i":
			r.ID = uint32(u.upTo(math.MaxUint32))
		case "k":
			r.Key = u.bytes()
		default:
			return false
		}
		return true
	})
}

func (r *profileRecord) unpack(u *unpacking) {
	u.fields(func(name string) bool {
		switch name {
		case "f":
			r.Code = u.text()
		case "m":
			r.Mode = Mode(u.text())
		case "s":
			r.SettingsVersion = int(u.number())
		case "i":
			r.Inbox = u.flag()
		case "c":
			r.Channels = u.channels()
		case "a":
			n := u.listLen()
			r.Addresses = make([]addressRecord, n)
			for i := range r.Addresses {
				r.Addresses[i].unpack(u)
			}
		case "l":
			r.Languages = make([]string, u.listLen())
			for i := range r.Languages {
				r.Languages[i] = u.text()
			}
		case "v":
			r.Version = int(u.number())
		case "r":
			r.Reminders = uint8(u.upTo(math.MaxUint8))
		case "q":
			r.Quiet = &quietRecord{}
			r.Quiet.unpack(u)
		case "x":
			r.App = &appRecord{}
			r.App.unpack(u)
		case "h":
			r.Moves = int(u.number())
		default:
			return false
		}
		return true
	})
}

func (r *appRecord) unpack(u *unpacking) {
	u.fields(func(name string) bool {
		switch name {
		case "t":
			r.Terms = u.text()
		case "v":
			r.Version = u.text()
		case "r":
			r.RemindersAsked = u.flag()
		case "c":
			r.Shown = u.channels()
		default:
			return false
		}
		return true
	})
}

func (r *quietRecord) unpack(u *unpacking) {
	u.fields(func(name string) bool {
		switch name {
		case "f":
			r.From = time.Duration(u.number())
		case "t":
			r.To = time.Duration(u.number())
		case "z":
			r.Zone = u.text()
		default:
			return false
		}
		return true
	})
}

func (u *unpacking) channels() Channels {
	n := u.mapLen()
	cs := make(Channels, min(n, maxRoutes))
	for range n {
		name := u.text()
		cs[name] = Content(u.upTo(math.MaxUint8))
	}
	return cs
}

func (r *addressRecord) unpack(u *unpacking) {
	u.fields(func(name string) bool {
		switch name {
		case "i":
			r.ID = u.text()
		case "c":
			r.Channel = u.text()
		case "v":
			r.Value = u.text()
		case "t":
			r.ValidatedAt = u.number()
		case "s":
			r.SetAt = u.number()
		case "p":
			r.Proof = u.bytes()
		case "q":
			r.ProofAt = u.number()
		default:
			return false
		}
		return true
	})
}
