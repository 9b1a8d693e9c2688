package appio

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// A list of persons that somebody else keeps, a service's authorised recipients or the test users of a remote-content configuration,
// has pseudonyms: the names of their owners, which say whether somebody is on it. The code that belongs to a pseudonym is among the
// person's own records, for who shows the list, and an erasure deletes it in its first change: no list has to be looked for, and none
// that is written meanwhile can bring the code back. It is written before the list, and goes when no list names the person any more.
const (
	keepListed   = 90 * 24 * time.Hour // after so long it is looked whether some list still names the person
	maxListedIn  = 100                 // lists that are remembered; of more the latest
	listedAtOnce = 256                 // persons who are looked up in one read
)

// A listRef is a record that has such a list.
type listRef struct {
	Owner string    `msgpack:"o"`
	Key   store.Key `msgpack:"k"`
}

// A listedRecord is the code of somebody whom lists name.
type listedRecord struct {
	Code  string    `msgpack:"f"`
	Lists []listRef `msgpack:"l"`
}

func isListed(r *store.Record) bool {
	return r.Key == keyListed && strings.HasPrefix(string(r.Owner), citizenOwner)
}

func (d *draft) putListed(r *listedRecord, now time.Time) error {
	return d.putSealed(store.Record{Key: keyListed, Lane: cleanUpLane(d.owner), Due: now.Add(keepListed)}, r)
}

// list is what a list has of some persons. Of whom is being erased it keeps no code.
func (e *Engine) list(ctx context.Context, in listRef, codes []fiscalcode.Person) (list []string, err error) {
	var ops []*op
	for _, code := range codes {
		owner := e.codec.citizen(code)
		if !slices.Contains(list, string(owner)) {
			ops = append(ops, e.listOp(owner, in, code))
		}
		list = append(list, string(owner))
	}
	for ops := range slices.Chunk(ops, listedAtOnce) {
		for _, err := range e.writer.do(ctx, ops...) {
			if err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

func (e *Engine) listOp(owner store.Owner, in listRef, code fiscalcode.Person) *op {
	return &op{owner: owner, keys: []store.Key{keyTombstone, keyListed}, apply: func(tx *draft) error {
		if tx.get(keyTombstone) != nil && planted != "listed-late" {
			return nil
		}
		var r listedRecord
		found, err := tx.read(keyListed, &r)
		if errors.Is(err, store.ErrCorrupt) { // what it says is known here
			tx.quarantine(tx.get(keyListed))
			found, r = false, listedRecord{}
		} else if err != nil {
			return err
		}
		now := micro(e.now())
		// One that is due soon might be found in no list before this one is written.
		if found && slices.Contains(r.Lists, in) && tx.get(keyListed).Due.After(now.Add(keepListed/2)) {
			return nil
		}
		r.Code = string(code)
		r.Lists = append(slices.DeleteFunc(r.Lists, func(l listRef) bool { return l == in }), in)
		r.Lists = r.Lists[max(0, len(r.Lists)-maxListedIn):]
		return tx.putListed(&r, now)
	}}
}

// names reports whether a list names a person. Lists of before had codes.
func (c *codec) names(list []string, who store.Owner) bool {
	return slices.ContainsFunc(list, func(s string) bool {
		return s == string(who) || !strings.HasPrefix(s, citizenOwner) && c.citizen(fiscalcode.Person(s)) == who
	})
}

// A listing is a list, and where the codes go of those whom it names.
type listing struct {
	list []string
	into *[]fiscalcode.Person
}

// show fills in whom lists name, in their order, but for those who were erased since. Where somebody cannot be read it is ErrIncomplete, and the
// others are filled in.
func (e *Engine) show(ctx context.Context, lists ...listing) error {
	codes := map[string]fiscalcode.Person{}
	var incomplete error
	var reads []store.Read
	for _, l := range lists {
		for _, s := range l.list {
			if _, ok := codes[s]; ok {
				continue
			}
			codes[s] = ""
			if strings.HasPrefix(s, citizenOwner) {
				reads = append(reads, store.Read{Owner: store.Owner(s), Keys: []store.Key{keyListed}})
			} else {
				codes[s] = fiscalcode.Person(s)
			}
		}
	}
	for reads := range slices.Chunk(reads, listedAtOnce) {
		snaps, err := e.store.View(ctx, reads)
		if err != nil {
			return err
		}
		for i := range snaps {
			if len(snaps[i].Records) == 0 {
				continue
			}
			var r listedRecord
			err := e.codec.of(reads[i].Owner).open(&snaps[i].Records[0], &r)
			if errors.Is(err, store.ErrCorrupt) {
				incomplete = ErrIncomplete
				continue
			}
			if err != nil {
				return err
			}
			codes[string(reads[i].Owner)] = fiscalcode.Person(r.Code)
		}
	}
	for _, l := range lists {
		for _, s := range l.list {
			if codes[s] != "" {
				*l.into = append(*l.into, codes[s])
			}
		}
	}
	return incomplete
}

// butIncomplete is an error for who goes on with what can be read.
func butIncomplete(err error) error {
	if errors.Is(err, ErrIncomplete) {
		return nil
	}
	return err
}

// stillListed takes out of a record the lists that do not name the person any more. One that cannot be read may name the person: it stays.
func (e *Engine) stillListed(ctx context.Context, who store.Owner, r *listedRecord) error {
	left := r.Lists[:0]
	for _, in := range r.Lists {
		var service serviceRecord
		var next draftRecord
		var remote remoteConfigurationRecord
		keys := map[store.Key]any{in.Key: &remote}
		if in.Key == keyService {
			keys = map[store.Key]any{keyService: &service, keyDraft: &next}
		}
		d, err := e.view(ctx, store.Owner(in.Owner), store.Range{}, "", slices.Collect(maps.Keys(keys))...)
		if err != nil {
			return err
		}
		damaged := false
		for k, into := range keys {
			if _, err := d.read(k, into); errors.Is(err, store.ErrCorrupt) {
				damaged = true
			} else if err != nil {
				return err
			}
		}
		if damaged || slices.ContainsFunc([][]string{service.Trial, next.Data.Trial, remote.TestUsers, remote.Unsigned}, func(list []string) bool { return e.codec.names(list, who) }) {
			left = append(left, in)
		}
	}
	r.Lists = left
	return nil
}
