package boltstore

import (
	"bytes"
	"context"
	"slices"

	"github.com/appio-go/appio/store"
)

// Owners implements [store.Store]. A page of it is put together of all tables and runs.
func (s *Store) Owners(ctx context.Context, after store.Owner, limit int) (owners []store.Owner, err error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if err := store.CheckOwners(after, limit); err != nil {
		return nil, err
	}
	for more := true; more && len(owners) < limit; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if after, more, err = s.readOwners(&owners, after, limit); err != nil {
			return nil, err
		}
	}
	return owners, nil
}

// ownersAtOnce is how many owners are looked at in one transaction.
const ownersAtOnce = 1024

// readOwners appends the owners after one that have records, until there are limit; it says where to go on if there may be
// more.
func (s *Store) readOwners(owners *[]store.Owner, after store.Owner, limit int) (next store.Owner, more bool, err error) {
	var names []store.Owner
	err = s.look(func(first *table) {
		names = smallest(names, first, after, ownersAtOnce)
	}, func(v *snapshot) error {
		for _, t := range v.older {
			names = smallest(names, t, after, ownersAtOnce)
		}
		next = after
		var w ownerView
		for range ownersAtOnce {
			o, ok, err := v.nextOwner(next, names)
			if more = ok; err != nil || !ok {
				return err
			}
			next = o
			s.mu.RLock()
			first := v.first.owners[o].part(&store.Read{Range: store.Range{Limit: 1}})
			s.mu.RUnlock()
			v.owner(&w, o, first)
			entries, err := w.scan("", "", 1, false)
			if err != nil {
				return err
			}
			if len(entries) == 0 {
				continue
			}
			if *owners = append(*owners, o); len(*owners) == limit {
				return nil
			}
		}
		return nil
	})
	return next, more, err
}

// smallest adds the owners of a table after one to names, and returns the first n, in order.
func smallest(names []store.Owner, t *table, after store.Owner, n int) []store.Owner {
	names = leading(names, n)
	for o := range t.owners {
		if o <= after || len(names) >= n && o > names[n-1] {
			continue
		}
		if names = append(names, o); len(names) == 4*n {
			names = leading(names, n)
		}
	}
	return leading(names, n)
}

// leading returns the first n of names without repetition, in order.
func leading(names []store.Owner, n int) []store.Owner {
	slices.Sort(names)
	names = slices.Compact(names)
	return names[:min(n, len(names))]
}

// nextOwner returns the first owner after one that is among names or in a run.
func (v *snapshot) nextOwner(after store.Owner, names []store.Owner) (o store.Owner, ok bool, err error) {
	i, found := slices.BinarySearch(names, after)
	if found {
		i++
	}
	if i < len(names) {
		o, ok = names[i], true
	}
	place := []byte{placeOwner}
	if after != "" {
		place = pastOwner(appendOwner(nil, after))
	}
	for i := range v.runs {
		r := &v.runs[i]
		if is, err := r.find(place); err != nil {
			return "", false, err
		} else if !is {
			continue
		}
		v.cursor.seek(&r.block, place)
		if !bytes.HasPrefix(v.cursor.place, []byte{placeOwner}) {
			continue
		}
		x, _, is := splitName(v.cursor.place[1:])
		if !is {
			return "", false, damaged("a place")
		}
		if !ok || x < o {
			o, ok = x, true
		}
	}
	return o, ok, nil
}
