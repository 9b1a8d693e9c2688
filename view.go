package appio

import (
	"context"

	"github.com/appio-go/appio/store"
)

// views are what is read at once: owners, of which something may be known, and services.
type views struct {
	reads    []store.Read
	known    []*knowledge        // of the owners; see leaves those that are still true, instead of which nothing was read
	snaps    []store.Snapshot    // what was read of the owners
	services services            // see fills in those that are named
	own      map[store.Owner]int // services that are among the owners; nil: none is

	asked []store.Read
	at    []int // in reads, of what was asked
}

func (v *views) clear() {
	v.reads, v.known, v.snaps, v.asked, v.at = empty(v.reads), empty(v.known), empty(v.snaps), empty(v.asked), empty(v.at)
	clear(v.services)
	clear(v.own)
}

func empty[T any](s []T) []T {
	clear(s)
	return s[:0]
}

func (v *views) ask(i int, r store.Read) { v.asked, v.at = append(v.asked, r), append(v.at, i) }

// see reads. Before it reads an owner it calls whole, which completes what is to be read of it; of an owner that is known it reads
// the revision at most.
func (e *Engine) see(ctx context.Context, v *views, whole func(i int)) error {
	for i, k := range v.known {
		switch {
		case k == nil:
			whole(i)
			v.ask(i, v.reads[i])
		case !e.exclusive:
			v.ask(i, store.Read{Owner: v.reads[i].Owner})
		}
	}
	owners, change := len(v.asked), e.services.change()
	for owner := range v.services {
		if _, ok := v.own[owner]; ok {
			continue
		}
		if v.services[owner] = e.services.now(owner); v.services[owner] == nil {
			v.ask(-1, store.Read{Owner: owner, Keys: serviceKeys})
		}
	}
	v.snaps = append(v.snaps, make([]store.Snapshot, len(v.reads))...)
	if len(v.asked) == 0 {
		return nil
	}
	snaps, err := e.store.View(ctx, v.asked)
	if err != nil {
		return err
	}
	for j := owners; j < len(snaps); j++ {
		s := e.serviceOf(v.asked[j].Owner, &snaps[j])
		if v.services[v.asked[j].Owner] = s; e.exclusive {
			e.services.remember(v.asked[j].Owner, s, change)
		}
	}
	v.asked = v.asked[:0]
	stale := v.at[:0]
	for j, i := range v.at[:owners] {
		if k := v.known[i]; k != nil && k.rev != snaps[j].Rev {
			v.known[i] = nil
			whole(i)
			v.asked, stale = append(v.asked, v.reads[i]), append(stale, i)
			continue
		}
		v.snaps[i] = snaps[j]
	}
	if len(stale) > 0 {
		if snaps, err = e.store.View(ctx, v.asked); err != nil {
			return err
		}
		for j, i := range stale {
			v.snaps[i] = snaps[j]
		}
	}
	for owner, i := range v.own {
		v.services[owner] = e.serviceOf(owner, &v.snaps[i])
	}
	return nil
}
