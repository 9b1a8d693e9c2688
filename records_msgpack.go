package appio

import (
	"github.com/vmihailenco/msgpack/v5"
)

// The records of each message are written, and those of each decision read, field by field here, which takes a fifth of the time
// that reflection does. The tags in records.go say what the fields are called; TestRecordsAreWrittenAsTheirTagsSay compares.

// fields writes the fields of a record.
type fields struct {
	e   *msgpack.Encoder
	err error
}

// writeFields begins a record of some fields that are always there, and of those that are not empty.
func writeFields(e *msgpack.Encoder, always int, some ...bool) *fields {
	for _, there := range some {
		if there {
			always++
		}
	}
	return &fields{e, e.EncodeMapLen(always)}
}

func (f *fields) name(name string) bool {
	if f.err == nil {
		f.err = f.e.EncodeString(name)
	}
	return f.err == nil
}

func (f *fields) text(name, v string) {
	if f.name(name) {
		f.err = f.e.EncodeString(v)
	}
}

func (f *fields) optionalText(name, v string) {
	if v != "" {
		f.text(name, v)
	}
}

func (f *fields) number(name string, v int64) {
	if f.name(name) {
		f.err = f.e.EncodeInt(v)
	}
}

func (f *fields) optionalNumber(name string, v int64) {
	if v != 0 {
		f.number(name, v)
	}
}

func (f *fields) optionalFlag(name string, v bool) {
	if v && f.name(name) {
		f.err = f.e.EncodeBool(true)
	}
}

// record writes a record inside, or each of a list by a function.
func (f *fields) record(name string, v msgpack.CustomEncoder) {
	if f.name(name) {
		f.err = v.EncodeMsgpack(f.e)
	}
}

func list[T any, P interface {
	*T
	msgpack.CustomEncoder
}](f *fields, name string, vs []T) {
	if !f.name(name) {
		return
	}
	if vs == nil {
		f.err = f.e.EncodeNil()
		return
	}
	f.err = f.e.EncodeArrayLen(len(vs))
	for i := range vs {
		if f.err == nil {
			f.err = P(&vs[i]).EncodeMsgpack(f.e)
		}
	}
}

func optionalList[T any, P interface {
	*T
	msgpack.CustomEncoder
}](f *fields, name string, vs []T) {
	if len(vs) > 0 {
		list[T, P](f, name, vs)
	}
}

func (r *noticeRecord) EncodeMsgpack(e *msgpack.Encoder) error {
	f := writeFields(e, 2, r.Payee != "", r.Invalid)
	f.text("n", r.Number)
	f.number("a", r.Amount)
	f.optionalText("p", r.Payee)
	f.optionalFlag("i", r.Invalid)
	return f.err
}

func (r *messageRecord) EncodeMsgpack(e *msgpack.Encoder) error {
	f := writeFields(e, 4, r.Due != 0, r.Payment != nil, r.Secure, r.TTL != 0)
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
	return f.err
}

func (r *decisionRecord) EncodeMsgpack(e *msgpack.Encoder) error {
	f := writeFields(e, 6, len(r.Channels) > 0)
	f.text("n", string(r.Service))
	f.number("t", r.At)
	f.number("v", int64(r.RuleSet))
	f.record("f", &r.Facts)
	f.text("s", string(r.Status))
	f.text("r", string(r.Rule))
	optionalList(f, "c", r.Channels)
	return f.err
}

func (r *channelRuleEntry) EncodeMsgpack(e *msgpack.Encoder) error {
	f := writeFields(e, 1, r.Content != 0, r.Rule != "")
	f.text("n", r.Name)
	f.optionalNumber("c", int64(r.Content))
	f.optionalText("r", string(r.Rule))
	return f.err
}

func (r *factsRecord) EncodeMsgpack(e *msgpack.Encoder) error {
	f := writeFields(e, 0, r.Flags != 0, r.Mode != "", r.Category != "", r.Activation != "", r.Age != 0, len(r.Channels) > 0)
	f.optionalNumber("f", int64(r.Flags))
	f.optionalText("m", string(r.Mode))
	f.optionalText("c", string(r.Category))
	f.optionalText("a", string(r.Activation))
	f.optionalNumber("g", int64(r.Age))
	optionalList(f, "n", r.Channels)
	return f.err
}

func (r *channelFactsRec) EncodeMsgpack(e *msgpack.Encoder) error {
	f := writeFields(e, 1, r.Switch != 0, r.Preference != 0, r.Secure != 0, r.Flags != 0)
	f.text("n", r.Name)
	f.optionalNumber("w", int64(r.Switch))
	f.optionalNumber("p", int64(r.Preference))
	f.optionalNumber("s", int64(r.Secure))
	f.optionalNumber("f", int64(r.Flags))
	return f.err
}

func (r *workRecord) EncodeMsgpack(e *msgpack.Encoder) error {
	f := writeFields(e, 3, r.Secure, r.Lease != nil, len(r.Done) > 0)
	f.text("n", string(r.Service))
	f.optionalFlag("s", r.Secure)
	f.number("e", r.Expires)
	if r.Lease != nil {
		f.record("l", r.Lease)
	}
	list(f, "d", r.Entries)
	optionalList(f, "o", r.Done)
	return f.err
}

func (r *leaseRecord) EncodeMsgpack(e *msgpack.Encoder) error {
	f := writeFields(e, 4)
	f.text("p", r.Process)
	f.text("b", r.Boot)
	if f.name("n") {
		f.err = e.EncodeUint(r.Number)
	}
	f.number("u", r.Until)
	return f.err
}

func (r *workEntry) EncodeMsgpack(e *msgpack.Encoder) error {
	f := writeFields(e, 3, r.Address != "", r.Attempts != 0, r.Claims != 0, r.Held, r.Cause != "")
	f.text("i", string(r.ID))
	f.text("c", r.Channel)
	f.optionalText("a", r.Address)
	f.optionalNumber("n", int64(r.Attempts))
	f.optionalNumber("k", int64(r.Claims))
	f.number("t", r.Next)
	f.optionalFlag("h", r.Held)
	f.optionalText("e", r.Cause)
	return f.err
}

func (r *outcomeItem) EncodeMsgpack(e *msgpack.Encoder) error {
	f := writeFields(e, 4, r.Attempts != 0, r.Cause != "", r.Late)
	f.text("i", string(r.ID))
	f.text("c", r.Channel)
	f.text("r", string(r.Result))
	f.number("t", r.At)
	f.optionalNumber("n", int64(r.Attempts))
	f.optionalText("e", r.Cause)
	f.optionalFlag("l", r.Late)
	return f.err
}

func (r *outcomeRecord) EncodeMsgpack(e *msgpack.Encoder) error {
	f := writeFields(e, 2)
	f.text("n", string(r.Service))
	list(f, "o", r.Items)
	return f.err
}

func (r *withdrawal) EncodeMsgpack(e *msgpack.Encoder) error {
	f := writeFields(e, 3)
	f.text("o", r.Owner)
	f.text("n", string(r.Service))
	f.text("c", r.Channel)
	return f.err
}

// readFields calls read with the name of each field. A field that read does not know it reports as such, and its value is left out.
func readFields(d *msgpack.Decoder, read func(name string) (known bool, err error)) error {
	n, err := d.DecodeMapLen()
	for ; err == nil && n > 0; n-- {
		var name string
		if name, err = d.DecodeString(); err != nil {
			break
		}
		var known bool
		if known, err = read(name); err == nil && !known {
			err = d.Skip()
		}
	}
	return err
}

func (r *dataKeyRecord) DecodeMsgpack(d *msgpack.Decoder) error {
	return readFields(d, func(name string) (known bool, err error) {
		switch name {
		case "i":
			r.ID, err = d.DecodeUint32()
		case "k":
			r.Key, err = d.DecodeBytes()
		default:
			return false, nil
		}
		return true, err
	})
}

func (r *profileRecord) DecodeMsgpack(d *msgpack.Decoder) error {
	return readFields(d, func(name string) (known bool, err error) {
		switch name {
		case "f":
			r.Code, err = d.DecodeString()
		case "m":
			var mode string
			mode, err = d.DecodeString()
			r.Mode = Mode(mode)
		case "s":
			r.SettingsVersion, err = d.DecodeInt()
		case "i":
			r.Inbox, err = d.DecodeBool()
		case "c":
			r.Channels, err = readChannels(d)
		case "a":
			var n int
			if n, err = d.DecodeArrayLen(); err != nil || n < 0 {
				break
			}
			r.Addresses = make([]addressRecord, n)
			for i := range r.Addresses {
				if err = r.Addresses[i].DecodeMsgpack(d); err != nil {
					break
				}
			}
		case "l":
			var n int
			if n, err = d.DecodeArrayLen(); err != nil || n < 0 {
				break
			}
			r.Languages = make([]string, n)
			for i := range r.Languages {
				if r.Languages[i], err = d.DecodeString(); err != nil {
					break
				}
			}
		case "v":
			r.Version, err = d.DecodeInt()
		default:
			return false, nil
		}
		return true, err
	})
}

func readChannels(d *msgpack.Decoder) (Channels, error) {
	n, err := d.DecodeMapLen()
	if err != nil || n < 0 {
		return nil, err
	}
	cs := make(Channels, min(n, maxRoutes))
	for range n {
		name, err := d.DecodeString()
		if err != nil {
			return nil, err
		}
		content, err := d.DecodeUint8()
		if err != nil {
			return nil, err
		}
		cs[name] = Content(content)
	}
	return cs, nil
}

func (r *addressRecord) DecodeMsgpack(d *msgpack.Decoder) error {
	return readFields(d, func(name string) (known bool, err error) {
		switch name {
		case "i":
			r.ID, err = d.DecodeString()
		case "c":
			r.Channel, err = d.DecodeString()
		case "v":
			r.Value, err = d.DecodeString()
		case "t":
			r.ValidatedAt, err = d.DecodeInt64()
		case "s":
			r.SetAt, err = d.DecodeInt64()
		default:
			return false, nil
		}
		return true, err
	})
}
