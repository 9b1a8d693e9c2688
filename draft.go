package appio

import (
	"strings"

	"github.com/appio-go/appio/store"
)

// A draft is an owner as it was read, with the changes of the operations so far on top.
type draft struct {
	ownerCodec
	rev      uint64
	entries  []draftEntry
	index    map[store.Key]int // of entries, once they are many
	ranged   []store.Record    // what op.rng found
	services services
	size     int
	puts     int
	first    store.Record // the first record that the current operation put; without a key: it put none
	upset    bool         // what a delivery depends on was changed: consent, or a message deleted
}

type draftEntry struct {
	record  store.Record
	exists  bool // also with an empty value, which is damage
	touched bool
	work    *workRecord // what the record says, where that is known; nobody changes it
}

// services are the service records that operations named with also.
type services map[store.Owner]*serviceEntry

type serviceEntry struct {
	record *serviceRecord // nil: there is none
	err    error
}

// fewEntries are found faster one after the other than by their hash.
const fewEntries = 24

func (d *draft) find(k store.Key) *draftEntry {
	if d.index != nil {
		if i, ok := d.index[k]; ok {
			return &d.entries[i]
		}
		return nil
	}
	for i := range d.entries {
		if d.entries[i].record.Key == k {
			return &d.entries[i]
		}
	}
	return nil
}

// at is the entry of a key, made if there is none. It is valid until the next one is made.
func (d *draft) at(k store.Key) *draftEntry {
	if e := d.find(k); e != nil {
		return e
	}
	d.entries = append(d.entries, draftEntry{record: store.Record{Key: k}})
	switch n := len(d.entries); {
	case d.index != nil:
		d.index[k] = n - 1
	case n > fewEntries:
		d.index = make(map[store.Key]int, 2*n)
		for i := range d.entries {
			d.index[d.entries[i].record.Key] = i
		}
	}
	return &d.entries[len(d.entries)-1]
}

// want adds a key to a read, once.
func (d *draft) want(k store.Key, r *store.Read) {
	if d.find(k) == nil {
		d.at(k)
		r.Keys = append(r.Keys, k)
	}
}

func (d *draft) load(r *store.Read, s *store.Snapshot) {
	d.rev = s.Rev
	// Records of Keys come first; the range may name one of them again.
	n := 0
	for _, k := range r.Keys {
		if n < len(s.Records) && s.Records[n].Key == k {
			e := d.find(k)
			e.record, e.exists = s.Records[n], true
			n++
		}
	}
	d.ranged = s.Records[n:]
}

// get is a record as the draft has it now; nil: there is none. Its key must be one that the operation asked for. It is valid
// until the next change.
func (d *draft) get(k store.Key) *store.Record {
	e := d.find(k)
	if e == nil || !e.exists {
		return nil
	}
	return &e.record
}

// read decodes the record under k into v and reports whether there is one.
func (d *draft) read(k store.Key, v any) (bool, error) {
	r := d.get(k)
	if r == nil {
		return false, nil
	}
	return true, d.open(r, v)
}

// has reports whether the draft has r as it is.
func (d *draft) has(r store.Record) bool {
	got := d.get(r.Key)
	return got != nil && string(got.Value) == string(r.Value)
}

// put writes a record that was sealed for this owner.
func (d *draft) put(r store.Record) {
	e := d.at(r.Key)
	d.touch(e)
	e.record, e.exists, e.work = r, true, nil
	d.size += len(r.Key) + len(r.Value)
	if d.first.Key == "" || strings.HasPrefix(string(d.first.Key), prefixQuarantine) { // which others would write with the same bytes
		d.first = r
	}
}

// del deletes a record, whether it exists or not.
func (d *draft) del(k store.Key) {
	e := d.at(k)
	d.touch(e)
	e.record, e.exists, e.work = store.Record{Key: k}, false, nil
	d.size += len(k)
	d.upset = d.upset || isMessage(k)
	if d.first.Key == "" {
		d.first.Key = k
	}
}

func (d *draft) touch(e *draftEntry) {
	if !e.touched {
		e.touched = true
		d.puts++
		d.upset = d.upset || isConsent(e.record.Key)
	}
}

func (d *draft) count() int    { return d.puts }
func (d *draft) changed() bool { return d.puts > 0 }

func (d *draft) change() store.Change {
	c := store.Change{Owner: d.owner, Rev: d.rev}
	for i := range d.entries {
		switch e := &d.entries[i]; {
		case !e.touched:
		case e.exists:
			if c.Put == nil {
				c.Put = make([]store.Record, 0, d.puts)
			}
			c.Put = append(c.Put, e.record)
		default:
			c.Delete = append(c.Delete, e.record.Key)
		}
	}
	return c
}

// seals a record under the engine key and puts it.
func (d *draft) putSealed(r store.Record, v any) error {
	r, err := d.seal(r, v)
	if err == nil {
		d.put(r)
	}
	return err
}

func (d *draft) putPersonal(r store.Record, v any) error {
	r, err := d.sealPersonal(r, v)
	if err == nil {
		d.put(r)
	}
	return err
}

// service is the service record that the operation named with also; nil: there is none.
func (d *draft) service(id ServiceID) (*serviceRecord, error) {
	s := d.services[service(id)]
	if s == nil {
		return nil, nil
	}
	return s.record, s.err
}
