package appio

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// A ConsentRecord is one change of what a citizen allows. The records of a citizen are a chain: each has the hash of the one
// before, so that none can be changed, or left out from between others, without a trace. They outlive an erasure, as proof (GDPR art. 7(1)).
type ConsentRecord struct {
	Number   uint64 // from 1
	At       time.Time
	What     ConsentChange
	By       ConsentActor
	Service  ServiceID  // empty: the profile
	Before   Preference // of the profile: its master switches
	After    Preference
	Mode     Mode       // after the change
	Level    Level      // of the citizen's login; 0: unknown, or another's change
	Provider string     // likewise
	Text     string     // version of the consent text that was shown
	Quiet    QuietHours // of the profile, after the change
	Prev     string     // hash of the record before, in hex; empty: there is none
}

// ConsentChange is what a consent record is about.
type ConsentChange string

const (
	ChangedProfile    ConsentChange = "profile"    // mode, master switches, addresses, quiet hours
	ChangedPreference ConsentChange = "preference" // for one service
	ChangedActivation ConsentChange = "activation" // by a Special service
	RemovedAddress    ConsentChange = "address"    // the channel said that it is gone
	AskedValidation   ConsentChange = "validation" // of an address: see Citizen.ValidateAddress
	ValidatedAddress  ConsentChange = "validated"  // see Engine.ConfirmAddress
	BouncedAddress    ConsentChange = "bounced"    // see Engine.Bounced
	Erased            ConsentChange = "erased"
)

// ConsentActor is who made a change.
type ConsentActor string

const (
	ByCitizen ConsentActor = "citizen"
	ByToken   ConsentActor = "token"   // Engine.Withdraw, Engine.ConfirmAddress
	ByChannel ConsentActor = "channel" // Gone, Engine.Bounced
	ByService ConsentActor = "service" // Sender.Activate
)

// A DecisionRecord is a decision with what it was made from: Decide(r.Facts).Equal(r.Decision).
type DecisionRecord struct {
	At       time.Time
	Message  MessageID
	Service  ServiceID
	RuleSet  int // of Decide
	Facts    Facts
	Decision Decision
	Outcomes []DeliveryOutcome // of the deliveries that are over
	Digest   MessageID         `json:",omitzero"` // in which some of its deliveries are gathered; empty: in none
}

// A DeliveryOutcome is how a delivery ended.
type DeliveryOutcome struct {
	ID       DeliveryID
	Channel  string
	Result   OutcomeResult
	At       time.Time
	Attempts int    // that were made
	Cause    string // of the last failure, cut to 200 bytes, or the rule that made it void
	Late     bool   // the channel answered after the engine had given the attempt up

	QuietBasis string // by which it was delivered in the citizen's quiet hours: see Service.QuietBasis; empty: it was not

	Digest MessageID `json:",omitzero"` // that it was of, with other messages of which this is the same delivery; empty: of none
}

// OutcomeResult is how a delivery ended.
type OutcomeResult string

const (
	OutcomeDelivered OutcomeResult = "delivered"
	OutcomeVoid      OutcomeResult = "void"    // no longer allowed when its turn came
	OutcomeExpired   OutcomeResult = "expired" // Message.TimeToLive passed
	OutcomeParked    OutcomeResult = "parked"  // gave up: see Engine.Parked
	OutcomeGone      OutcomeResult = "gone"    // the address does not exist any more, and was removed
)

// profileKeys are read to know a person.
var profileKeys = []store.Key{keyTombstone, keyDataKey, keyProfile}

// consentKeys are read to decide for a service.
func (c *ownerCodec) consentKeys(id ServiceID) []store.Key {
	return []store.Key{keyTombstone, keyDataKey, keyProfile, c.preferenceKey(id), c.activationKey(id)}
}

// A consentState is what is stored of one citizen's consent for one service.
type consentState struct {
	erasing    bool
	life       uint32            // number of the person's data key: another after an erasure
	changed    time.Time         // before the change that is being made; set by applyConsent
	newest     uint64            // number of the newest event of the history that it knows; set by applyConsent
	profile    *profileRecord    // nil: there is none
	preference *preferenceRecord // nil: none under the current settings
	activation *activationRecord // nil: none
}

// readProfile takes the person's data key into use and returns the profile; nil: there is none.
func (d *draft) readProfile() (*profileRecord, error) {
	if d.personal == nil {
		var k dataKeyRecord
		found, err := d.read(keyDataKey, &k)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, nil
		}
		if len(k.Key) != keySize {
			return nil, errMalformed
		}
		d.useDataKey(k)
	}
	p := &profileRecord{}
	if found, err := d.read(keyProfile, p); err != nil || !found {
		return nil, err
	}
	return p, nil
}

// readConsent needs the records of consentKeys.
func (d *draft) readConsent(id ServiceID) (*consentState, error) {
	cs := &consentState{erasing: d.get(keyTombstone) != nil}
	var err error
	if cs.profile, err = d.readProfile(); err != nil {
		return nil, err
	}
	if d.personal != nil {
		cs.life = d.personal.id
	}
	if r := d.get(d.activationKey(id)); r != nil {
		cs.activation = &activationRecord{}
		if err := d.open(r, cs.activation); err != nil {
			return nil, err
		}
	}
	if cs.profile == nil {
		return cs, nil
	}
	if r := d.get(d.preferenceKey(id)); r != nil {
		p := &preferenceRecord{}
		if err := d.open(r, p); err != nil {
			return nil, err
		}
		if p.SettingsVersion == cs.profile.SettingsVersion {
			cs.preference = p
		}
	}
	return cs, nil
}

// viewConsent reads what readConsent needs, and the service.
func (e *Engine) viewConsent(ctx context.Context, owner store.Owner, id ServiceID, more ...store.Key) (*draft, error) {
	c := e.codec.of(owner)
	return e.view(ctx, owner, store.Range{}, service(id), append(c.consentKeys(id), more...)...)
}

// facts is what Decide is asked with.
func (e *Engine) facts(cs *consentState, s *serviceRecord, secure bool, now time.Time) Facts {
	f := Facts{Category: s.Category, Secure: s.Secure || secure}
	if a := cs.activation; a != nil && s.Category == Special {
		f.Activation, f.Age = a.Activation, now.Sub(fromMicro(a.Since))
	}
	p := cs.profile
	if p == nil || cs.erasing {
		return f
	}
	f.Known, f.Mode, f.Inbox = true, p.Mode, p.Inbox
	if cs.preference != nil {
		f.HasPreference, f.InboxPreference = true, cs.preference.Inbox
	}
	f.QuietBasis = s.QuietBasis
	var quiet time.Duration
	if p.Quiet != nil {
		quiet = p.Quiet.hours().Next(now).Sub(now)
	}
	f.Channels = make([]ChannelFacts, len(e.opts.Channels))
	for i := range e.opts.Channels {
		r := &e.opts.Channels[i]
		c := ChannelFacts{Name: r.Name, Switch: p.Channels[r.Name], Secure: r.Secure, Address: r.ByCode, Validated: r.ByCode, Fallback: r.Fallback}
		if r.Interrupts {
			c.Quiet = quiet
		}
		if cs.preference != nil {
			c.Preference = cs.preference.Channels[r.Name]
		}
		for j := range p.Addresses {
			if a := &p.Addresses[j]; a.Channel == r.Name {
				c.Address = true
				c.Validated = c.Validated || a.usable(r)
			}
		}
		f.Channels[i] = c
	}
	return f
}

// usable reports whether a route may write to an address.
func (a *addressRecord) usable(r *Route) bool {
	return a.Channel == r.Name && (r.Unvalidated || a.ValidatedAt != 0)
}

// address finds an address by id; nil: it is not there any more.
func (p *profileRecord) address(id string) *addressRecord {
	for i := range p.Addresses {
		if p.Addresses[i].ID == id {
			return &p.Addresses[i]
		}
	}
	return nil
}

// permitted decides again for one delivery: how much it may show now, where, and if nothing, why.
func (e *Engine) permitted(cs *consentState, s *serviceRecord, owner store.Owner, channel, address string, secure bool, now time.Time) (Content, Address, string) {
	route := e.route(channel)
	if s == nil || route == nil {
		return None, Address{}, "unknown service or channel"
	}
	if s.permits(e.codec, owner) != nil {
		return None, Address{}, "service-stopped"
	}
	f := e.facts(cs, s, secure, now)
	d := Decide(f)
	if d.Status != Processed {
		return None, Address{}, string(d.Rule)
	}
	content := d.Content(channel)
	if content == None {
		for _, c := range d.Channels {
			if c.Name == channel {
				return None, Address{}, string(c.Rule)
			}
		}
	}
	if route.ByCode {
		return content, Address{}, ""
	}
	a := cs.profile.address(address)
	switch {
	case a == nil || a.Channel != channel:
		return None, Address{}, string(RuleNoAddress)
	case !a.usable(route):
		return None, Address{}, string(RuleNotValidated)
	}
	return content, Address{a.ID, a.Channel, a.Value, fromMicro(a.ValidatedAt)}, ""
}

// refusedNow is a judge that reads consent anew.
func (e *Engine) refusedNow(ctx context.Context, s sending) (bool, error) {
	if s.ID == "" { // acceptance: the citizen's own revision decides
		return false, nil
	}
	d, err := e.viewConsent(ctx, s.Citizen, s.Service)
	if err != nil {
		return true, err
	}
	cs, err := d.readConsent(s.Service)
	if err != nil {
		return true, err
	}
	rec, err := d.service(s.Service)
	if err != nil {
		return true, err
	}
	content, address, _ := e.permitted(cs, rec, s.Citizen, s.Channel, s.Address.ID, s.Secure, e.now())
	unwanted := s.Reminder != "" && (cs.profile == nil || !cs.profile.reminders().has(s.Reminder))
	return unwanted || content < s.Content || address.Value != s.Address.Value, nil
}

// A consentChange is one change of what a citizen allows: of the profile, of one service's preference, or of an activation.
type consentChange struct {
	by         ConsentActor
	what       ConsentChange // empty: by which of the functions is set
	id         Identity
	service    ServiceID
	profile    func(before *profileRecord, life uint32) (*profileRecord, error)
	preference func(cs *consentState, s *serviceRecord) (*preferenceRecord, error)
	activation *activationRecord
	sender     *Sender // of the activation
	erase      bool
}

// changeConsent is the one way in which consent changes: one small change of the citizen's records, with an event in the
// history and a clean-up of what is pending, through the citizen's gate.
func (e *Engine) changeConsent(ctx context.Context, owner store.Owner, c consentChange) error {
	var before, after *consentState
	o := e.consentOp(owner, c, &before, &after)
	foreign := func(ctx context.Context) (*foreignWork, error) {
		return e.foreignOfCitizen(ctx, owner, c.service, before, after)
	}
	commit := func() error {
		err := e.do(ctx, o)
		if err == nil && planted == "void-at-once" {
			err = e.voidPending(ctx, owner, "")
		}
		return err
	}
	return e.revoke(ctx, owner, commit, e.refusedNow, foreign)
}

// newestEvent is the end of the history of consent.
var newestEvent = store.Range{From: prefixHistory, To: store.Key(prefixEnd(prefixHistory)), Limit: 1, Descending: true}

// consentOp is the change itself; where before and after are given, they are set to the consent around it.
func (e *Engine) consentOp(owner store.Owner, c consentChange, before, after **consentState) *op {
	o := &op{
		owner: owner, urgent: true, keys: e.codec.of(owner).consentKeys(c.service),
		rng: newestEvent,
		apply: func(tx *draft) error {
			b, a, err := e.applyConsent(tx, &c)
			if before != nil {
				*before, *after = b, a
			}
			return err
		},
	}
	if c.service != "" {
		o.also = service(c.service)
	}
	if c.erase {
		o.keys = append(o.keys, keyDeletion, keyDownload)
	}
	return o
}

func (e *Engine) applyConsent(tx *draft, c *consentChange) (before, after *consentState, err error) {
	before, err = tx.readConsent(c.service)
	if err != nil {
		return nil, nil, err
	}
	if before.erasing && c.erase { // another call has begun, and this one waits for the same
		return before, before, nil
	}
	if before.erasing {
		return nil, nil, ErrErasing
	}
	if len(tx.ranged) > 0 {
		var last consentEvent
		if err := tx.open(&tx.ranged[0], &last); err != nil {
			return nil, nil, err
		}
		before.changed, before.newest = fromMicro(last.At), last.Number
	}
	next := *before
	after = &next
	ev := consentEvent{
		Number: 1, ID: string(newDeliveryID()), At: toMicro(e.now()), What: string(c.what), Service: c.service, By: string(c.by),
		Level: c.id.Level, Provider: c.id.Provider, Text: c.id.Text,
	}
	switch {
	case c.erase:
		if tx.rev == 0 { // nothing was ever kept
			return before, before, nil
		}
		ev.What, after.profile, after.preference = string(Erased), nil, nil
		ev.Before = switches(before.profile)
	case c.profile != nil:
		if after.profile, err = c.profile(before.profile, before.life); err != nil {
			return nil, nil, err
		}
		if after.profile == nil { // nothing to change
			return before, before, nil
		}
		if ev.What == "" {
			ev.What = string(ChangedProfile)
		}
		after.profile.keepSetAt(before.profile, ev.At)
		ev.Before, ev.After = switches(before.profile), switches(after.profile)
	case c.activation != nil:
		s, err := tx.service(c.service)
		if err != nil {
			return nil, nil, err
		}
		if s == nil {
			return nil, nil, errNoService
		}
		if err := c.sender.authorize(s); err != nil {
			return nil, nil, err
		}
		said := *c.activation
		ev.What, after.activation = string(ChangedActivation), &said
		if a := before.activation; a != nil {
			ev.Before.Inbox = a.Activation != Inactive
			said.Version = a.Version + 1
		}
		ev.After.Inbox = c.activation.Activation != Inactive
	default:
		s, err := tx.service(c.service)
		if err != nil {
			return nil, nil, err
		}
		if after.preference, err = c.preference(before, s); err != nil {
			return nil, nil, err
		}
		if after.preference == nil {
			return before, before, nil
		}
		ev.What = string(ChangedPreference)
		if s != nil {
			shown := e.effective(before, s)
			ev.Before = preferenceRecord{c.service, shown.Inbox, shown.Channels, shown.ReadStatus, shown.SettingsVersion, shown.Digest}
		}
		ev.After = *after.preference
	}
	if after.profile != nil {
		ev.Mode, ev.Quiet = after.profile.Mode, after.profile.Quiet
	}
	if err := tx.appendEvent(&ev); err != nil {
		return nil, nil, err
	}
	after.newest = ev.Number
	if err := e.feedConsent(tx, c, &ev, before, after); err != nil {
		return nil, nil, err
	}
	switch {
	case c.erase:
		err = tx.putErasure(ev.At)
	case c.profile != nil:
		if tx.personal == nil {
			k, err := tx.newDataKey()
			if err != nil {
				return nil, nil, err
			}
			tx.put(k)
		}
		err = tx.putPersonal(store.Record{Key: keyProfile}, after.profile)
	case c.activation != nil:
		err = tx.putSealed(store.Record{Key: tx.activationKey(c.service)}, after.activation)
	default:
		err = tx.putPersonal(store.Record{Key: tx.preferenceKey(c.service)}, after.preference)
	}
	if err != nil {
		return nil, nil, err
	}
	if s, _ := tx.service(c.service); takesAway(before, after, e.shownTo(before, s), e.shownTo(after, s)) {
		err = tx.putCleanUp(taskVoid, cleanUpRecord{}, ev.At)
	}
	return before, after, err
}

// shownTo is the effective preference for the service that a change is about; zero: for none.
func (e *Engine) shownTo(cs *consentState, s *serviceRecord) Preference {
	if s == nil {
		return Preference{}
	}
	return e.effective(cs, s)
}

// takesAway reports whether something that was allowed before a change may not be after it, or not at the same time, so that pending
// work has to be looked through.
func takesAway(before, after *consentState, was, is Preference) bool {
	p, q := before.profile, after.profile
	switch {
	case p == nil:
		return false
	case q == nil || p.Mode != q.Mode || p.Quiet.hours() != q.Quiet.hours() || p.Inbox && !q.Inbox || lowered(p.Channels, q.Channels):
		return true
	case was.Inbox && !is.Inbox || was.Digest && !is.Digest || lowered(was.Channels, is.Channels):
		return true
	}
	for i := range p.Addresses {
		a, b := &p.Addresses[i], q.address(p.Addresses[i].ID)
		if b == nil || a.Value != b.Value || a.Channel != b.Channel || a.ValidatedAt != 0 && b.ValidatedAt == 0 {
			return true
		}
	}
	return false
}

func lowered(was, is Channels) bool {
	for name, c := range was {
		if is[name] < c {
			return true
		}
	}
	return false
}

// keepSetAt sets when each address became what it is, and keeps the token that may validate it for as long as it is that: one that
// is no longer validated needs another.
func (p *profileRecord) keepSetAt(before *profileRecord, now int64) {
	for i := range p.Addresses {
		a := &p.Addresses[i]
		a.SetAt = now
		if before == nil {
			continue
		}
		if b := before.address(a.ID); b != nil && b.Value == a.Value && b.Channel == a.Channel {
			a.SetAt = b.SetAt
			if a.ValidatedAt == 0 && b.ValidatedAt != 0 {
				a.Proof, a.ProofAt = nil, 0
			} else if a.Proof == nil {
				a.Proof, a.ProofAt = b.Proof, b.ProofAt
			}
		}
	}
}

// switches is a profile's master switches as the history keeps them.
func switches(p *profileRecord) preferenceRecord {
	if p == nil {
		return preferenceRecord{}
	}
	return preferenceRecord{Inbox: p.Inbox, Channels: p.Channels, SettingsVersion: p.SettingsVersion}
}

// appendEvent adds a link to the chain. The operation's range has the last one.
func (d *draft) appendEvent(ev *consentEvent) error {
	if len(d.ranged) > 0 {
		last := &d.ranged[0]
		payload, err := d.payload(last)
		if err != nil {
			return err
		}
		var e consentEvent
		if err := decode(payload, &e); err != nil {
			return err
		}
		sum := sha256.Sum256(payload)
		ev.Number, ev.Prev = e.Number+1, sum[:]
	}
	return d.putSealed(store.Record{Key: historyKey(ev.Number)}, ev)
}

// Consents is the history of the citizen's choices, newest first. A broken chain is store.ErrCorrupt.
func (c *Citizen) Consents() List[ConsentRecord] {
	return newList(c.e, "consents\x00"+string(c.id.Code), func(ctx context.Context, p position, limit int) (found[ConsentRecord], error) {
		owner, err := c.begin(ctx)
		if err != nil {
			return found[ConsentRecord]{}, err
		}
		return c.e.listConsents(ctx, owner, p, limit)
	})
}

func (e *Engine) listConsents(ctx context.Context, owner store.Owner, p position, limit int) (f found[ConsentRecord], err error) {
	// One more than asked for on the older side, to check the oldest's link.
	rng := p.rangeOf(prefixHistory, limit+1, true)
	d, err := e.view(ctx, owner, rng, "")
	if err != nil {
		return f, err
	}
	recs := d.ranged
	if p.before { // came oldest first
		recs = reversed(recs)
	}
	var next []byte // Prev of the newer one
	for i := range recs {
		payload, err := d.payload(&recs[i])
		if err != nil {
			return f, err
		}
		var ev consentEvent
		if err := decode(payload, &ev); err != nil {
			return f, err
		}
		sum := sha256.Sum256(payload)
		if i > 0 && string(next) != string(sum[:]) || recs[i].Key != historyKey(ev.Number) {
			return f, fmt.Errorf("%w: the chain of consents is broken", store.ErrCorrupt)
		}
		next = ev.Prev
		f.add(ConsentRecord{
			Number: ev.Number, At: fromMicro(ev.At), What: ConsentChange(ev.What), By: ConsentActor(ev.By), Service: ev.Service,
			Before: ev.Before.preference(), After: ev.After.preference(), Mode: ev.Mode, Level: ev.Level, Provider: ev.Provider,
			Text: ev.Text, Quiet: ev.Quiet.hours(), Prev: fmt.Sprintf("%x", ev.Prev),
		}, strings.TrimPrefix(string(recs[i].Key), prefixHistory))
	}
	if n := len(f.items) - limit; n > 0 {
		if p.before {
			f.items, f.keys = f.items[n:], f.keys[n:]
		} else {
			f.items, f.keys = f.items[:limit], f.keys[:limit]
		}
	}
	return f, nil
}

func (r preferenceRecord) preference() Preference {
	return Preference{r.Inbox, r.Channels, r.ReadStatus, r.SettingsVersion, r.Digest}
}

// Explain is the record of how a message was decided and what became of its deliveries; ErrNotFound: none of the citizen's is known under
// the id, or it is no longer.
func (c *Citizen) Explain(ctx context.Context, id MessageID) (DecisionRecord, error) {
	owner, err := c.begin(ctx)
	if err != nil {
		return DecisionRecord{}, err
	}
	return c.e.explain(ctx, owner, id)
}

// Explain is the record of how a message was decided and what became of its deliveries, for the operator; ErrNotFound as for
// [Citizen.Explain].
func (e *Engine) Explain(ctx context.Context, to fiscalcode.Person, id MessageID) (DecisionRecord, error) {
	if err := e.ready(ctx); err != nil {
		return DecisionRecord{}, err
	}
	if _, err := fiscalcode.ParsePerson(string(to)); err != nil {
		return DecisionRecord{}, ErrNotFound
	}
	return e.explain(ctx, e.codec.citizen(to), id)
}

func (e *Engine) explain(ctx context.Context, owner store.Owner, id MessageID) (DecisionRecord, error) {
	if !validULID(string(id)) {
		return DecisionRecord{}, ErrNotFound
	}
	d, err := e.view(ctx, owner, store.Range{}, "", decisionKey(id), outcomeKey(id), waitingKey(id), leasedKey(id))
	if err != nil {
		return DecisionRecord{}, err
	}
	var r decisionRecord
	found, err := d.read(decisionKey(id), &r)
	if err != nil {
		return DecisionRecord{}, err
	}
	if !found {
		return DecisionRecord{}, ErrNotFound
	}
	out := DecisionRecord{
		At: fromMicro(r.At), Message: id, Service: r.Service, RuleSet: r.RuleSet, Facts: r.facts(), Decision: r.decision(), Digest: r.Digest,
	}
	over, err := d.over(id)
	if err != nil {
		return DecisionRecord{}, err
	}
	for _, o := range over {
		out.Outcomes = append(out.Outcomes, o.outcome())
	}
	if r.Digest != "" {
		if err := e.explainDigest(ctx, owner, &out); err != nil {
			return DecisionRecord{}, err
		}
	}
	return out, nil
}

// over is what became of the deliveries of a message, or of a digest, that are over.
func (d *draft) over(id MessageID) ([]outcomeItem, error) {
	var r outcomeRecord
	if _, err := d.read(outcomeKey(id), &r); err != nil {
		return nil, err
	}
	for _, k := range []store.Key{waitingKey(id), leasedKey(id)} {
		var w workRecord
		if _, err := d.read(k, &w); err != nil {
			return nil, err
		}
		r.Items = append(r.Items, w.Done...)
	}
	return r.Items, nil
}

func (o *outcomeItem) outcome() DeliveryOutcome {
	return DeliveryOutcome{o.ID, o.Channel, o.Result, fromMicro(o.At), o.Attempts, o.Cause, o.Late, o.Basis, ""}
}
