package boltstore

import (
	"hash/maphash"
	"sync"

	"github.com/appio-go/appio/store"
)

// A revisions remembers the revisions of owners that were read lately, as they are below the first table: so they are true
// until an epoch ends. A reader leaves them for the commit that often follows.
type revisions struct {
	shards [64]struct {
		mu    sync.Mutex
		slots [256]revision
	}
}

type revision struct {
	owner store.Owner
	rev   uint64
	epoch uint64
}

var revisionSeed = maphash.MakeSeed()

func (r *revisions) put(o store.Owner, rev, epoch uint64) {
	h := maphash.String(revisionSeed, string(o))
	shard := &r.shards[h%64]
	shard.mu.Lock()
	shard.slots[h>>8%256] = revision{o, rev, epoch}
	shard.mu.Unlock()
}

func (r *revisions) get(o store.Owner, epoch uint64) (rev uint64, ok bool) {
	h := maphash.String(revisionSeed, string(o))
	shard := &r.shards[h%64]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	x := &shard.slots[h>>8%256]
	return x.rev, x.owner == o && x.epoch == epoch
}
