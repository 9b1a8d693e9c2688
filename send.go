package appio

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

// A Sender is what one service may do. It holds no state: each call reads the service, and the key it was made with, again.
type Sender struct {
	e    *Engine
	id   ServiceID
	key  []byte     // hash of the API key; nil: trusted
	addr netip.Addr // where the key is used from; zero: not checked
}

// Sender is the service with this id, trusted as such: for use in-process. An unknown id shows in its methods (ErrNotFound).
func (e *Engine) Sender(id ServiceID) *Sender { return &Sender{e: e, id: id} }

// SenderByKey is the service that the API key belongs to, calling from addr (zero: not checked against the service's
// prefixes). An unknown key is ErrUnauthorized; a wrong address, or a key that is an organization's, ErrForbidden.
func (e *Engine) SenderByKey(ctx context.Context, key string, addr netip.Addr) (*Sender, error) {
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	hash := keyHash(key)
	id, hinted := e.keyHints.get(hash)
	if !hinted {
		r, err := e.readKeyIndex(ctx, hash)
		if err != nil {
			return nil, err
		}
		if r.Organization != "" {
			if _, err := e.readManageKey(ctx, fiscalcode.Organization(r.Organization), &heldKey{name: r.Record, hash: hash}); err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("%w: the key is an organization's", ErrForbidden)
		}
		id = r.Service
	}
	s := &Sender{e, id, hash, addr}
	rec, err := e.currentService(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrUnauthorized
	}
	if err != nil {
		return nil, err
	}
	if err := s.authorize(rec); err != nil {
		if hinted && errors.Is(err, ErrUnauthorized) { // the key may have become another service's
			e.keyHints.drop(hash)
			return e.SenderByKey(ctx, key, addr)
		}
		return s, err
	}
	if !hinted && e.exclusive {
		e.keyHints.put(hash, id)
	}
	e.uses.note(hash, micro(e.now()))
	return s, nil
}

// ID is the service's.
func (s *Sender) ID() ServiceID { return s.id }

// authorize checks the key and the address against the service as it is now.
func (s *Sender) authorize(r *serviceRecord) error {
	switch {
	case r == nil:
		return ErrNotFound
	case s.key == nil:
		return nil
	case !r.hasKey(s.key):
		return ErrUnauthorized
	}
	return permitsAddr(r.Prefixes, s.addr)
}

// permitsAddr reports whether a key with these prefixes may be used from an address; a zero one is not checked.
func permitsAddr(prefixes []string, addr netip.Addr) error {
	if len(prefixes) == 0 || !addr.IsValid() {
		return nil
	}
	addr = addr.Unmap().WithZone("")
	for _, text := range prefixes {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("%w: a key's prefix", store.ErrCorrupt)
		}
		if p.Contains(addr) {
			return nil
		}
	}
	return fmt.Errorf("%w: the key may not be used from this address", ErrForbidden)
}

// Send decides, and stores the message if the citizen agrees: it is safe on disk when Send returns. Refusal is not an error.
func (s *Sender) Send(ctx context.Context, m Message) (Result, error) {
	results, err := s.SendBatch(ctx, []Message{m})
	return results[0], err
}

// SendBatch is Send for many, each for itself: results[i] is of ms[i], always. err is nil if every Err is, and wraps the
// first if not, so that checking err alone misses nothing.
func (s *Sender) SendBatch(ctx context.Context, ms []Message) (results []Result, err error) {
	end := s.e.observe(&ctx, Operation{Name: "send", Service: s.id, Count: len(ms)})
	results = make([]Result, len(ms))
	s.send(ctx, ms, results)
	out := Outcome{}
	for i := range results {
		switch {
		case results[i].Err != nil && err == nil:
			err = results[i].Err
			if len(ms) > 1 {
				err = fmt.Errorf("message %d: %w", i, err)
			}
		case results[i].Status == Processed:
			out.Processed++
		case results[i].Status == Rejected:
			out.Rejected++
		}
	}
	out.Err = err
	end(out)
	return results, err
}

func (s *Sender) send(ctx context.Context, ms []Message, results []Result) {
	fail := func(err error) {
		for i := range results {
			results[i] = Result{Err: err}
		}
	}
	if err := s.e.ready(ctx); err != nil {
		fail(err)
		return
	}
	if s.id.validate() != nil {
		fail(ErrNotFound)
		return
	}
	// A stop of the service, or the end of a key, waits for what passed the gate before it.
	p := &pass{owners: [2]store.Owner{service(s.id), ""}}
	if !s.e.enterWait(ctx, p) {
		fail(fmt.Errorf("%w: the service is being changed", ErrBusy))
		return
	}
	defer s.e.gates.leave(p)
	if !s.e.gates.begin(p, sending{Service: s.id}, nil, nil) {
		fail(fmt.Errorf("%w: the service is being changed", ErrBusy))
		return
	}
	creditor, err := s.creditor(ctx, ms)
	if err != nil {
		fail(err)
		return
	}
	organization, remotes, err := s.remotes(ctx, ms)
	if err != nil {
		fail(err)
		return
	}
	ops := make([]*op, 0, len(ms))
	at := make([]int, 0, len(ms))
	as := make([]acceptance, len(ms))
	var gathered []int
	for i := range ms {
		a := &as[i]
		if err := a.prepare(s, ms[i]); err != nil {
			results[i] = Result{Err: err}
			continue
		}
		if r := a.m.Remote; r != nil {
			stored, err := r.settle(organization, remotes)
			if err != nil {
				results[i] = Result{Err: err}
				continue
			}
			a.remote = stored
		}
		if n := a.m.Payment; n != nil && s.e.opts.Payments != nil {
			a.rptID = pagopa.RPTID{Creditor: cmp.Or(n.Payee, creditor), Notice: n.Number}
			a.bill = a.owner.billKey(a.rptID)
		}
		ops, at = append(ops, a.op()), append(at, i)
	}
	for len(ops) > 0 {
		n := min(len(ops), sendTogether)
		for j, err := range s.e.writer.do(ctx, ops[:n]...) {
			i := at[j]
			switch {
			case err == errGathers: // as apply returned it
				gathered = append(gathered, i)
			case err != nil: // the operation may still be under way
				results[i] = Result{Err: err}
			default:
				results[i] = as[i].result
			}
		}
		ops, at = ops[n:], at[n:]
	}
	s.sendGathered(ctx, as, gathered, results)
	if len(ms) == 1 && results[0].Status == Rejected {
		s.e.evenOut(ctx, as[0].owner, as[0].met, s.id)
	}
}

// sendTogether is how many messages of a batch are asked of the writer at a time, so that others' come between.
const sendTogether = 2048

// creditor is whom notices are of that name no payee, where they are followed: the bill of a notice is read with what decides.
func (s *Sender) creditor(ctx context.Context, ms []Message) (fiscalcode.Organization, error) {
	if s.e.opts.Payments == nil || !slices.ContainsFunc(ms, func(m Message) bool { return m.Payment != nil && m.Payment.Payee == "" }) {
		return "", nil
	}
	r, err := s.e.currentService(ctx, s.id)
	if err != nil {
		return "", err
	}
	return fiscalcode.Organization(r.Organization), nil
}

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
		keys = append(keys, documentKey(a.docs[i].ID))
	}
	keys = append(keys, a.digest...)
	a.doing = op{owner: a.owner.owner, keys: keys, also: service(a.s.id), work: a}
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
	if err := svc.permits(func(code fiscalcode.Person) bool { return code == m.To }); err != nil {
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
	if err := tx.claim(a.docs, a.id); err != nil {
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

// Status is of a message that this service sent to this citizen; another service's message to them is ErrForbidden; anything
// else is ErrNotFound. A rejected message is known for 90 days. Whether it was read is not told to a key without ReadAdvanced.
func (s *Sender) Status(ctx context.Context, to fiscalcode.Person, id MessageID) (MessageStatus, error) {
	st, _, err := s.status(ctx, to, id)
	return st, err
}

// Message is [Sender.Status] with what the message says. It is there for as long as the citizen has it: who asks for it learns that it was
// erased, too, whatever the citizen lets the service know.
func (s *Sender) Message(ctx context.Context, to fiscalcode.Person, id MessageID) (SentMessage, error) {
	st, r, err := s.status(ctx, to, id)
	if err != nil || r == nil {
		return SentMessage{MessageStatus: st}, err
	}
	m := r.message(to)
	return SentMessage{MessageStatus: st, Message: &m}, nil
}

// status is what became of a message, and the message; nil: there is none, or none any more.
func (s *Sender) status(ctx context.Context, to fiscalcode.Person, id MessageID) (st MessageStatus, m *messageRecord, err error) {
	if err := s.e.ready(ctx); err != nil {
		return st, nil, err
	}
	if _, err := fiscalcode.ParsePerson(string(to)); err != nil || s.id.validate() != nil || !validULID(string(id)) {
		return st, nil, ErrNotFound
	}
	owner := s.e.codec.citizen(to)
	d, err := s.e.view(ctx, owner, store.Range{}, service(s.id), decisionKey(id))
	if err != nil {
		return st, nil, err
	}
	svc, err := d.service(s.id)
	if err != nil {
		return st, nil, err
	}
	if err := s.allowed(svc, ReadMessages); err != nil {
		return st, nil, err
	}
	var r decisionRecord
	found, err := d.read(decisionKey(id), &r)
	switch {
	case err != nil:
		return st, nil, err
	case !found:
		return st, nil, ErrNotFound
	case r.Service != s.id:
		return st, nil, fmt.Errorf("%w: another service's message", ErrForbidden)
	}
	if r.Status == Rejected && !s.e.now().Before(fromMicro(r.At).Add(keepRejected)) {
		return st, nil, ErrNotFound
	}
	st = MessageStatus{Status: r.Status, At: fromMicro(r.At), Premium: r.Premium}
	if r.Status == Rejected { // before anything is read that a person who is not known has not
		return st, nil, nil
	}
	if d, err = s.e.viewConsent(ctx, owner, s.id, messageKey(id), stateKey(id)); err != nil {
		return MessageStatus{}, nil, err
	}
	cs, err := d.readConsent(s.id)
	if err != nil {
		return MessageStatus{}, nil, err
	}
	stored := d.get(messageKey(id))
	if stored == nil {
		return st, nil, nil
	}
	m = &messageRecord{}
	if err := d.open(stored, m); errors.Is(err, errShredded) { // there is no message after an erasure
		return st, nil, nil
	} else if err != nil {
		return MessageStatus{}, nil, err
	}
	if p := s.e.effective(cs, svc); p.Inbox && p.ReadStatus && s.allowed(svc, ReadAdvanced) == nil {
		var state stateRecord
		if _, err := d.read(stateKey(id), &state); err != nil {
			return MessageStatus{}, nil, err
		}
		read := state.ReadAt != 0
		st.Read = &read
		st.Template = m.template()
		if st.Paid, err = s.e.paid(ctx, d, m); err != nil {
			return MessageStatus{}, nil, err
		}
	}
	return st, m, nil
}

// CanContact reports whether a message would be processed now. Unknown and unwilling look alike. A recipient whom the service
// may not write to, whatever they chose, is ErrForbidden; asked more often than Options.ContactRate it is a [LimitedError].
func (s *Sender) CanContact(ctx context.Context, to fiscalcode.Person) (bool, error) {
	cs, svc, err := s.contact(ctx, to)
	if err != nil {
		return false, err
	}
	may := Decide(s.e.facts(cs, svc, false, s.e.now())).Status == Processed
	if !may {
		s.e.evenOut(ctx, s.e.codec.of(s.e.codec.citizen(to)), cs.profile != nil, s.id)
	}
	return may, nil
}

// Recipient is what IO tells a sender of a citizen. Who has no profile, or a closed inbox, is ErrNotFound: unlike with [Sender.CanContact]
// and sending, a sender can tell these from who refused. Otherwise it is CanContact, and counts as such.
func (s *Sender) Recipient(ctx context.Context, to fiscalcode.Person) (Recipient, error) {
	cs, svc, err := s.contact(ctx, to)
	if err != nil {
		return Recipient{}, err
	}
	if cs.profile == nil || !cs.profile.Inbox {
		return Recipient{}, ErrNotFound
	}
	return Recipient{
		Allowed:   Decide(s.e.facts(cs, svc, false, s.e.now())).Status == Processed,
		Languages: slices.Clone(cs.profile.Languages),
	}, nil
}

// contact reads what a service may ask about a citizen, if it may ask now.
func (s *Sender) contact(ctx context.Context, to fiscalcode.Person) (*consentState, *serviceRecord, error) {
	if err := s.e.ready(ctx); err != nil {
		return nil, nil, err
	}
	if _, err := fiscalcode.ParsePerson(string(to)); err != nil {
		return nil, nil, invalid("To", "a fiscal code")
	}
	if s.id.validate() != nil {
		return nil, nil, ErrNotFound
	}
	d, err := s.e.viewConsent(ctx, s.e.codec.citizen(to), s.id)
	if err != nil {
		return nil, nil, err
	}
	svc, err := d.service(s.id)
	if err != nil {
		return nil, nil, err
	}
	if err := s.allowed(svc, ReadProfiles); err != nil {
		return nil, nil, err
	}
	rate := s.e.opts.ContactRate
	if wait := s.e.contacts.take(s.id, rate, 10*rate, 10*rate, s.e.now()); wait > 0 {
		return nil, nil, &LimitedError{After: wait}
	}
	if err := svc.permits(func(code fiscalcode.Person) bool { return code == to }); err != nil {
		return nil, nil, err
	}
	cs, err := d.readConsent(s.id)
	return cs, svc, err
}

// Activate says whether a Special service serves a citizen, and since when (zero: now). It may be said before the citizen
// comes. An end of the activation is in force when Activate returns: see [InFlightError]. An end may be said of anybody; Pending
// and Active only of whom the service may write to: nobody once it is stopped, in trial its authorised recipients. It is for keys with the
// scope WriteMessages.
func (s *Sender) Activate(ctx context.Context, to fiscalcode.Person, a Activation, since time.Time) error {
	if a != Inactive && a != Pending && a != Active {
		return invalid("Activation", "Inactive, Pending or Active")
	}
	if _, err := fiscalcode.ParsePerson(string(to)); err != nil {
		return invalid("To", "a fiscal code")
	}
	if err := s.e.ready(ctx); err != nil {
		return err
	}
	svc, err := s.e.readService(ctx, s.id)
	if err != nil {
		return err
	}
	if err := s.allowed(svc, WriteMessages); err != nil {
		return err
	}
	if svc.Category != Special {
		return fmt.Errorf("%w: the service is not Special", ErrForbidden)
	}
	if a != Inactive {
		if err := svc.permits(func(code fiscalcode.Person) bool { return code == to }); err != nil {
			return err
		}
	}
	if since.IsZero() {
		since = s.e.now()
	}
	err = s.e.changeConsent(ctx, s.e.codec.citizen(to), consentChange{
		by: ByService, sender: s, service: s.id, activation: &activationRecord{Service: s.id, Activation: a, Since: toMicro(micro(since))},
	})
	if errors.Is(err, ErrErasing) { // which is none of the service's business; the erasure would remove the activation
		return nil
	}
	return err
}

// A ServiceActivation is what a Special service said last of a citizen.
type ServiceActivation struct {
	Activation Activation
	Since      time.Time
	Version    int // how often it was said before; 0: that was the first time
}

// Activation is what this service said last of a citizen by [Sender.Activate]; ErrNotFound: nothing, or it went with an erasure. A service
// that is not Special is ErrForbidden.
func (s *Sender) Activation(ctx context.Context, to fiscalcode.Person) (ServiceActivation, error) {
	if _, err := fiscalcode.ParsePerson(string(to)); err != nil {
		return ServiceActivation{}, invalid("To", "a fiscal code")
	}
	if err := s.e.ready(ctx); err != nil {
		return ServiceActivation{}, err
	}
	if s.id.validate() != nil {
		return ServiceActivation{}, ErrNotFound
	}
	d, err := s.e.viewConsent(ctx, s.e.codec.citizen(to), s.id)
	if err != nil {
		return ServiceActivation{}, err
	}
	svc, err := d.service(s.id)
	if err != nil {
		return ServiceActivation{}, err
	}
	if err := s.authorize(svc); err != nil {
		return ServiceActivation{}, err
	}
	if svc.Category != Special {
		return ServiceActivation{}, fmt.Errorf("%w: the service is not Special", ErrForbidden)
	}
	var a activationRecord
	found, err := d.read(d.activationKey(s.id), &a)
	if err != nil || !found || d.get(keyTombstone) != nil {
		return ServiceActivation{}, cmp.Or(err, ErrNotFound)
	}
	return ServiceActivation{a.Activation, fromMicro(a.Since), a.Version}, nil
}
