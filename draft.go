package appio

import "github.com/appio-go/appio/store"

// A draft is an owner as it was read, with the changes of the operations so far on top.
type draft struct {
	*ownerCodec
	rev      uint64
	entries  map[store.Key]*draftEntry
	ranged   []store.Record // what op.rng found
	services map[store.Owner]*serviceEntry
	size     int
	puts     int
	first    *store.Record // the first record that the current operation put
}

type draftEntry struct {
	record  store.Record
	exists  bool // also with an empty value, which is damage
	touched bool
}

type serviceEntry struct {
	record *serviceRecord // nil: there is none
	err    error
}

// want adds a key to a read, once.
func (d *draft) want(k store.Key, r *store.Read) {
	if d.entries == nil {
		d.entries = make(map[store.Key]*draftEntry, 8)
	}
	if d.entries[k] == nil {
		d.entries[k] = &draftEntry{}
		r.Keys = append(r.Keys, k)
	}
}

func (d *draft) load(r *store.Read, s *store.Snapshot) {
	d.rev = s.Rev
	// Records of Keys come first; the range may name one of them again.
	n := 0
	for _, k := range r.Keys {
		if n < len(s.Records) && s.Records[n].Key == k {
			d.entries[k].record, d.entries[k].exists = s.Records[n], true
			n++
		}
	}
	d.ranged = s.Records[n:]
}

// get is a record as the draft has it now; nil: there is none. Its key must be one that the operation asked for.
func (d *draft) get(k store.Key) *store.Record {
	e := d.entries[k]
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
	e := d.entries[r.Key]
	if e == nil {
		e = &draftEntry{}
		if d.entries == nil {
			d.entries = make(map[store.Key]*draftEntry, 8)
		}
		d.entries[r.Key] = e
	}
	d.touch(e)
	e.record, e.exists = r, true
	d.size += len(r.Key) + len(r.Value)
	if d.first == nil {
		d.first = &r
	}
}

// del deletes a record, whether it exists or not.
func (d *draft) del(k store.Key) {
	e := d.entries[k]
	if e == nil {
		e = &draftEntry{}
		if d.entries == nil {
			d.entries = make(map[store.Key]*draftEntry, 8)
		}
		d.entries[k] = e
	}
	d.touch(e)
	e.record, e.exists = store.Record{Key: k}, false
	d.size += len(k)
	if d.first == nil {
		d.first = &store.Record{Key: k}
	}
}

func (d *draft) touch(e *draftEntry) {
	if !e.touched {
		e.touched = true
		d.puts++
	}
}

func (d *draft) count() int    { return d.puts }
func (d *draft) changed() bool { return d.puts > 0 }

func (d *draft) change() store.Change {
	c := store.Change{Owner: d.owner, Rev: d.rev}
	for k, e := range d.entries {
		switch {
		case !e.touched:
		case e.exists:
			c.Put = append(c.Put, e.record)
		default:
			c.Delete = append(c.Delete, k)
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
