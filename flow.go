package appio

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/appio-go/appio/store"
)

// A flow is what this engine knows of a message that it has under way, so that nothing has to be read or opened again to deliver it
// and to record what became of it. What is known is true as long as the owner stands at the revision at which it was learnt. Where
// no other engine can be on the store that is as long as nobody says otherwise, since every change passes this engine's writer;
// elsewhere the revision is read.
type flow struct {
	owner store.Owner
	keys  workKeys
	known atomic.Pointer[knowledge]

	// Guarded by flows.mu.
	next *flow // of the same owner
	left int   // items without a committed outcome
}

func newFlow(owner store.Owner, id MessageID) *flow { return &flow{owner: owner, keys: keysOfWork(id)} }

// knowledge never changes once it is in a flow.
type knowledge struct {
	rev     uint64
	consent *consentState // for the message's service; nil: not known, nor the message
	message *messageRecord
	work    *workRecord
	record  store.Record  // of work, under a lease
	outcome *store.Record // what is known of earlier deliveries; nil: nothing
}

// flows are those under way, by owner.
type flows struct {
	mu sync.Mutex
	m  map[store.Owner]*flow
}

// begin adds a flow with its items, once they are committed.
func (fs *flows) begin(f *flow, items int) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.m == nil {
		fs.m = map[store.Owner]*flow{}
	}
	f.left, f.next = items, fs.m[f.owner]
	fs.m[f.owner] = f
}

// end takes out a flow with its last item.
func (fs *flows) end(f *flow) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.left--; f.left > 0 {
		return
	}
	first := fs.m[f.owner]
	if first == f && f.next == nil {
		delete(fs.m, f.owner)
		return
	}
	if first == f {
		fs.m[f.owner] = f.next
		return
	}
	for p := first; p != nil; p = p.next {
		if p.next == f {
			p.next = f.next
		}
	}
}

// changed says that the owner has been changed by a draft, before anybody is told; nil: maybe, and nobody knows by what. It is
// called by the writer, which has one change of an owner under way at a time.
func (fs *flows) changed(owner store.Owner, by *draft) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for f := fs.m[owner]; f != nil; f = f.next {
		k := f.known.Load()
		if k == nil || planted == "change-unseen" {
			continue
		}
		if by == nil || by.upset || k.rev != by.rev || by.touches(f.keys) {
			f.known.Store(nil)
			continue
		}
		next := *k
		next.rev++
		f.known.Store(&next)
	}
}

// changed forgets what was known of an owner that a draft has changed, or, nil, may have been changed.
func (e *Engine) changed(owner store.Owner, by *draft) {
	e.flows.changed(owner, by)
	if strings.HasPrefix(string(owner), serviceOwner) {
		e.services.changed(owner)
	}
}

// touches reports whether the draft changes a message's open work.
func (d *draft) touches(keys workKeys) bool {
	for _, k := range keys {
		if e := d.find(k); e != nil && e.touched {
			return true
		}
	}
	return false
}

// learn takes over what a draft has read and written of a message, once that is committed. Where the same change has done something
// else that deliveries depend on, or it was committed earlier than that, nothing is known any more.
func (f *flow) learn(by *draft, k *knowledge) {
	if by == nil || by.upset || k != nil && !by.left(f.keys, k) {
		k = nil
	}
	f.known.Store(k)
}

// left reports whether a draft has left a message's open work as k says: what was merged after the operation that k is of may have
// changed it once more.
func (d *draft) left(keys workKeys, k *knowledge) bool {
	var work *workRecord
	if e := d.find(keys.leased()); e != nil {
		work = e.work
	}
	r := d.get(keys.outcome())
	return work == k.work && (r == nil) == (k.outcome == nil) && (r == nil || bytes.Equal(r.Value, k.outcome.Value))
}

// take adds consent and content. A long text is not kept, so that what waits for a channel takes little memory; it is read again.
func (k *knowledge) take(cs *consentState, m *messageRecord) {
	if m.size() <= longText {
		k.consent, k.message = cs, m
	}
}

// longText is in bytes; most messages are shorter.
const longText = 2 << 10

// learnConsent adds what was read at a revision to what is known of the same.
func (f *flow) learnConsent(rev uint64, cs *consentState, m *messageRecord) {
	k := f.known.Load()
	if k == nil || k.rev != rev {
		return
	}
	more := *k
	more.take(cs, m)
	f.known.CompareAndSwap(k, &more)
}

// knowledge is what will be known of a message's work once the draft is committed, and of its consent if that was known before at
// the draft's revision.
func (d *draft) knowledge(keys workKeys, before *knowledge) *knowledge {
	e := d.find(keys.leased())
	if e == nil || !e.exists || e.work == nil {
		return nil
	}
	k := &knowledge{rev: d.rev + 1, work: e.work, record: e.record}
	if r := d.get(keys.outcome()); r != nil {
		outcome := *r
		k.outcome = &outcome
	}
	if before != nil && before.rev == d.rev {
		k.consent, k.message = before.consent, before.message
	}
	return k
}

// loadKnown makes a draft of what is known.
func (d *draft) loadKnown(keys workKeys, k *knowledge) {
	d.rev = k.rev
	d.entries = append(d.entries[:0], draftEntry{record: k.record, exists: true, work: k.work},
		draftEntry{record: store.Record{Key: keys.waiting()}}, draftEntry{record: store.Record{Key: keys.outcome()}})
	if k.outcome != nil {
		d.entries[2].record, d.entries[2].exists = *k.outcome, true
	}
}
