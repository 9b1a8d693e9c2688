package appio

import (
	"sync/atomic"

	"github.com/appio-go/appio/store"
)

// A flow is what this engine knows of a message that it has under way. It is true as long as the owner stands at the revision
// at which it was learnt: then nothing has to be read or opened again to deliver the message and to record what became of it.
type flow struct {
	known atomic.Pointer[knowledge]
}

// knowledge never changes once it is in a flow.
type knowledge struct {
	rev     uint64
	consent *consentState  // for the message's service; nil: not known
	message *messageRecord // nil: not known
	work    *workRecord
	record  store.Record  // of work, under a lease
	outcome *store.Record // what is known of earlier deliveries; nil: nothing
}

// learn takes over what tx has read and written of a message, once that is committed. Where the same change has done something else
// that deliveries depend on, nothing is known any more.
func (f *flow) learn(tx *draft, k *knowledge) {
	if tx.upset {
		k = nil
	}
	f.known.Store(k)
}

// learnConsent adds what was read at a revision to what is known of the same.
func (f *flow) learnConsent(rev uint64, cs *consentState, m *messageRecord) {
	k := f.known.Load()
	if k == nil || k.rev != rev {
		return
	}
	more := *k
	more.consent, more.message = cs, m
	f.known.CompareAndSwap(k, &more)
}

// knowledge is what will be known of a message's work once the draft is committed, and of its consent if that was known before at
// the draft's revision.
func (d *draft) knowledge(id MessageID, before *knowledge) *knowledge {
	e := d.find(leasedKey(id))
	if e == nil || !e.exists || e.work == nil {
		return nil
	}
	k := &knowledge{rev: d.rev + 1, work: e.work, record: e.record}
	if r := d.get(outcomeKey(id)); r != nil {
		outcome := *r
		k.outcome = &outcome
	}
	if before != nil && before.rev == d.rev {
		k.consent, k.message = before.consent, before.message
	}
	return k
}

// loadKnown makes a draft of what is known.
func (d *draft) loadKnown(id MessageID, k *knowledge) {
	d.rev = k.rev
	d.entries = append(d.entries[:0], draftEntry{record: k.record, exists: true, work: k.work},
		draftEntry{record: store.Record{Key: waitingKey(id)}}, draftEntry{record: store.Record{Key: outcomeKey(id)}})
	if k.outcome != nil {
		d.entries[2].record, d.entries[2].exists = *k.outcome, true
	}
}
