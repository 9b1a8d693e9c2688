package appio

import (
	"context"
	"math/rand/v2"
	"sync"

	"github.com/appio-go/appio/store"
)

// A person who is not known has no records, and is decided about the sooner for it: by some 30 µs, in a file of many, which a sender could
// find out by asking often enough. So where nothing was read of one, what another has is read, and goes unused: somebody's who is known and
// got no message either, by chance, so that it comes from where records of such a person may be.

// decoys are some of those who were known and got no message.
type decoys struct {
	mu    sync.Mutex
	reads []store.Read // that their consent took
}

const maxDecoys = 1024

// met takes in somebody, in the place of anybody where there are many.
func (d *decoys) met(r store.Read) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.reads) < maxDecoys {
		d.reads = append(d.reads, r)
		return
	}
	d.reads[rand.IntN(maxDecoys)] = r
}

func (d *decoys) any() []store.Read {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.reads) == 0 {
		return nil
	}
	return []store.Read{d.reads[rand.IntN(len(d.reads))]}
}

// evenOut takes as long for who is not known as it took to read who is. What comes of it is of no account.
func (e *Engine) evenOut(ctx context.Context, c *ownerCodec, known bool, id ServiceID) {
	if known {
		e.decoys.met(store.Read{Owner: c.owner, Keys: c.consentKeys(id)})
	} else if other := e.decoys.any(); other != nil {
		_, _ = e.store.View(ctx, other)
	}
}
