package appio

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

// sendTogether is how many messages of a batch are asked of the writer at a time, so that others' come between.
const sendTogether = 2048

// An acceptance is one message on its way to a decision.
type acceptance struct {
	s       *Sender
	m       Message
	owner   *ownerCodec
	rptID   pagopa.RPTID // of its notice, where notices are followed
	bill    store.Key    // likewise; "": there is none
	id      MessageID
	body    []byte           // of the message, with a Key
	remote  *remoteRecord    // as it is stored
	docs    []documentRecord // likewise
	until   time.Time        // by when docs are to be sent
	digest  []store.Key      // of the open digest, where that has to be known
	result  Result
	met     bool         // the recipient is known
	counted bool         // against its service's rate
	rule    Rule         // that decided it; empty: it was sent before
	held    *reservation // room with Run for the deliveries
	start   time.Duration
	items   []*item
	flow    *flow      // of the items
	known   *knowledge // once the message is stored
	doing   op
}

func (a *acceptance) prepare(s *Sender, m Message) error {
	if err := m.Validate(); err != nil {
		return err
	}
	if m.Payment != nil {
		n := *m.Payment
		m.Payment = &n
	}
	if m.Prescription != nil {
		p := *m.Prescription
		m.Prescription = &p
	}
	*a = acceptance{s: s, m: m.normal()}
	a.owner = s.e.codec.of(s.e.codec.citizen(m.To))
	if len(m.Documents) > 0 {
		var err error
		if a.docs, a.until, err = s.documents(a.owner.owner, m.Documents); err != nil {
			return err
		}
	}
	if m.Key != "" {
		var err error
		if a.body, err = s.e.codec.bodyHash(&a.m, a.docs); err != nil {
			return err
		}
	}
	return nil
}

func (a *acceptance) op() *op {
	a.id = MessageID(a.s.e.ulids.next(a.s.e.now()))
	keys := a.owner.consentKeys(a.s.id)
	if a.bill != "" {
		keys = append(keys, a.bill, remindBillKey(a.bill))
	}
	if a.body != nil {
		keys = append(keys, a.owner.repeatKey(a.s.id, a.m.Key))
	}
	if a.m.To == fiscalcode.Sandbox {
		keys = append(keys, taskTrim)
	}
	for i := range a.docs {
		keys = append(keys, documentKey(a.docs[i].ID), a.owner.sentKey(a.docs[i].ID))
	}
	keys = append(keys, a.digest...)
	a.doing = op{owner: a.owner.owner, keys: keys, also: service(a.s.id), work: a, most: 16 + 2*len(a.docs)}
	return &a.doing
}

// apply is the whole of sending: the service's limits, the idempotency key, the decision, and what it leads to, as one change
// of the citizen's records.
func (a *acceptance) apply(tx *draft) error {
	e, m := a.s.e, &a.m
	a.release()
	a.start = e.mono() // before the time that a lease is given by
	a.rule = ""
	a.met = tx.get(keyDataKey) != nil
	now := micro(e.now())
	svc, err := tx.service(a.s.id)
	if err != nil {
		return err
	}
	if err := a.s.allowed(svc, WriteMessages); err != nil {
		return err
	}
	if m.Remote != nil {
		if err := a.s.allowed(svc, WriteRemote); err != nil {
			return err
		}
	}
	if !a.counted {
		if err := e.limited(svc); err != nil {
			return err
		}
		a.counted = true
	}
	if err := svc.permits(e.codec, tx.owner); err != nil {
		return err
	}
	if err := svc.permitsPremium(m); err != nil {
		return err
	}
	if err := svc.permitsNotice(m.Payment); err != nil {
		return err
	}
	if a.remote != nil && a.remote.Organization != svc.Organization || a.bill != "" && a.rptID.Creditor != m.Payment.payee(svc) {
		return fmt.Errorf("%w: the service's organization is being changed", ErrBusy)
	}
	if a.body != nil && planted != "no-key" {
		var r repeatRecord
		k := tx.repeatKey(a.s.id, m.Key)
		found, err := tx.read(k, &r)
		if err != nil {
			return err
		}
		if found && tx.get(k).Due.After(now) { // or its time is over, and clean-up has not come by yet
			if !bytes.Equal(r.Body, a.body) {
				return fmt.Errorf("%w: the key was used for another message", ErrConflict)
			}
			a.result = Result{ID: r.ID, Status: r.Status, Repeated: true}
			return nil
		}
	}
	if a.docs != nil {
		if !now.Before(a.until) && planted != "document-late" {
			return fmt.Errorf("%w: a document was put too long ago", ErrExpired)
		}
		if err := tx.free(a.docs); err != nil {
			return err
		}
	}
	cs, err := tx.readConsent(a.s.id)
	if err != nil {
		return err
	}
	facts := e.facts(cs, svc, m.SecureChannels, now)
	e.digestFacts(&facts, cs, m.Due, now)
	decision := Decide(facts)
	into, err := a.gather(tx, cs, &decision, now)
	if err != nil {
		return err
	}
	a.result, a.rule = Result{ID: a.id, Status: decision.Status}, decision.Rule

	// From here on records are put; the decision is the first, since it is nobody else's.
	record := store.Record{Key: decisionKey(a.id)}
	if e.opts.Statistics {
		record.Lane, record.Due = decisionLane(a.s.id), now
	}
	if decision.Status == Rejected {
		record.Lane, record.Due = cleanUpLane(tx.owner), now.Add(keepRejected)
	}
	decided := newDecisionRecord(a.s.id, toMicro(now), &facts, &decision)
	decided.Premium = m.Premium
	if into != nil {
		decided.Digest = into.id
	}
	if err := tx.putSealed(record, decided); err != nil {
		return err
	}
	if a.body != nil {
		err := tx.putSealed(store.Record{Key: tx.repeatKey(a.s.id, m.Key), Lane: cleanUpLane(tx.owner), Due: now.Add(keepKeys)},
			&repeatRecord{a.id, decision.Status, a.body})
		if err != nil {
			return err
		}
	}
	if decision.Status == Rejected {
		return nil
	}
	stored := newMessageRecord(a.s.id, m, toMicro(now))
	stored.attach(a.remote, a.docs)
	if n := stored.Payment; n != nil {
		n.Payee = string(m.Payment.payee(svc))
	}
	if err := tx.putPersonal(store.Record{Key: messageKey(a.id)}, stored); err != nil {
		return err
	}
	if err := tx.claim(a.docs, a.id, now); err != nil {
		return err
	}
	if a.bill != "" {
		b, err := tx.readBill(a.bill)
		if errors.Is(err, store.ErrCorrupt) {
			tx.quarantine(tx.get(a.bill))
		} else if err != nil {
			return err
		}
		fresh := b == nil
		if fresh {
			b = &billRecord{Added: toMicro(now)}
		}
		b.addMessage(a.id, stored, svc.OrgName)
		if err := tx.putBill(a.bill, b, fresh, now); err != nil {
			return err
		}
	}
	if m.To == fiscalcode.Sandbox && tx.get(taskTrim) == nil {
		if err := tx.putCleanUp(taskTrim, cleanUpRecord{}, toMicro(now.Add(trimAfter))); err != nil {
			return err
		}
	}
	if err := a.remindOf(tx, cs.profile, stored, now); err != nil {
		return err
	}
	if into != nil {
		if err := a.putDigest(tx, into); err != nil {
			return err
		}
	}
	return a.putWork(tx, cs, stored, &decision, now)
}

const (
	keepRejected = 90 * 24 * time.Hour // the status of a rejected message
	keepKeys     = 30 * 24 * time.Hour // what an idempotency key was used for
	trimAfter    = 10 * time.Second    // accepting for the sandbox; its older messages go
	keepSandbox  = 1000                // messages of the sandbox
)

// putWork puts the message's deliveries: leased to this engine if its Run has room for them, and due now if not.
func (a *acceptance) putWork(tx *draft, cs *consentState, m *messageRecord, d *Decision, now time.Time) error {
	e, p := a.s.e, cs.profile
	w := &workRecord{Service: a.s.id, Secure: a.m.SecureChannels, Expires: toMicro(now.Add(a.m.TimeToLive))}
	w.Entries = e.appendEntries(nil, p, d, now, a.m.TimeToLive, notDigest)
	if len(w.Entries) == 0 {
		return nil
	}
	e.hold(a.s.id, w.Entries, now)
	next, _ := w.next()
	record := store.Record{Key: waitingKey(a.id), Lane: deliveryLane(a.s.id), Due: fromMicro(next)}
	if a.held = e.reserve(a.s.id, w.Entries, now); a.held != nil {
		w.Lease = e.newLease(now)
		a.flow = newFlow(tx.owner, a.id)
		record.Key, record.Due = a.flow.keys.leased(), e.takeOver(w.Lease)
		a.items = newItems(tx.owner, a.id, w, a.start, a.flow)
	} else if next == 0 {
		record.Lane, record.Due = pausedLane(a.s.id), now
	} else if e.fronts.take(a.s.id, frontRate, frontBurst, frontBurst, now) > 0 && planted != "one-lane" {
		record.Lane = backlogLane(a.s.id)
	}
	if err := tx.putSealed(record, w); err != nil || a.held == nil {
		return err
	}
	tx.find(record.Key).work = w
	a.known = tx.knowledge(a.flow.keys, nil)
	a.known.take(cs, m)
	return nil
}

// What a service sends beyond so many at once and a second, and nobody has room for, stands behind.
const (
	frontRate  = 1
	frontBurst = 64
)

// appendEntries appends the deliveries that a decision allows, by some of the routes. The time of those that have to wait, ttl, counts from
// when they go.
func (e *Engine) appendEntries(entries []workEntry, p *profileRecord, d *Decision, now time.Time, ttl time.Duration, by func(*Route, *ChannelDecision) bool) []workEntry {
	for i, c := range d.Channels {
		r := &e.opts.Channels[i]
		en := workEntry{Channel: r.Name, Next: toMicro(now), Fallback: c.For}
		if c.After > 0 {
			en.Next, en.Quiet = toMicro(now.Add(c.After)), c.For == ""
			en.Expires = en.Next + ttl.Microseconds()
		}
		switch {
		case c.Content == None || !by(r, &d.Channels[i]):
		case r.ByCode:
			en.ID = newDeliveryID()
			entries = append(entries, en)
		default:
			for j := range p.Addresses {
				if ad := &p.Addresses[j]; ad.usable(r) {
					en.ID, en.Address = newDeliveryID(), ad.ID
					entries = append(entries, en)
				}
			}
		}
	}
	return entries
}

func (a *acceptance) committed(by *draft) {
	a.s.e.counts.decide(a.rule)
	if a.held != nil {
		a.flow.learn(by, a.known)
		a.s.e.flows.begin(a.flow, len(a.items))
		a.held.hand(a.items)
		a.held, a.items = nil, nil
	}
}

func (a *acceptance) failed() { a.release() }

// release gives back room that was held for an attempt that did not come to be.
func (a *acceptance) release() {
	if a.held != nil {
		a.held.release()
		a.held, a.items = nil, nil
	}
}
