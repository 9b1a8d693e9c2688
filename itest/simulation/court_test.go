package simulation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
)

// A court knows what is true at each moment, from what has become durable, and what the engines were asked, answered and did.
// All of it is guarded by world.mu. Stamps number the moments in their one order; 0 is never.
type court struct {
	stamps        int
	owners        map[store.Owner]int
	citizenTruths [][]citizenTruth
	serviceTruths [][]serviceTruth
	pausings      map[int]*pausing // by service
	messages      map[appio.MessageID]*message
	digests       map[appio.MessageID][]*message // what was gathered in each
	markers       map[string]*message
	decided       map[appio.MessageID]appio.Status
	inbox         [][]*message // by citizen, as they were accepted
	ops           map[string]*op
	attempts      []*attempt
	byDelivery    map[appio.DeliveryID][]*attempt
	replays       []*span
	keys          []*apiKeys
	unsent        []string // what was surely not accepted
}

// A citizenTruth is what a citizen allows from a moment on.
type citizenTruth struct {
	stamp   int
	at      time.Time
	life    int // grows with each erasure
	events  int // in the history
	profile appio.Profile
	prefs   map[appio.ServiceID]appio.Preference
}

// A serviceTruth is what a service is from a moment on.
type serviceTruth struct {
	stamp   int
	service appio.Service
}

// A message is one that was accepted: its record is durable.
type message struct {
	id       appio.MessageID
	citizen  int
	service  int
	marker   string
	secure   bool
	stamp    int
	life     int
	wanted   int // deliveries
	read     int // stamp from which on it is read
	readAt   time.Time
	archived bool
	known    bool      // somebody has tried to read or archive it
	standsIn bool      // e-mail goes only if it is not read
	digest   time.Time // when what is gathered of it goes; zero: nothing is
}

// An op is a change of what is allowed, made by a citizen, a service or the operator.
type op struct {
	tag              string
	what             string
	citizen, service int // -1: none
	life             *life
	begin            int
	commit           int // when it became durable
	end              int // when it returned
	err              error
	named            map[appio.DeliveryID]bool
	unsure           bool
	inside           []*attempt
}

// An attempt is one delivery in a call of a channel.
type attempt struct {
	d                appio.Delivery
	citizen, service int
	life             *life
	begin, end       int
	began, ended     time.Time
	err              error
	cancelled        bool          // its context had ended when it answered
	lost             bool          // the process crashed during it, or so soon after that the outcome may not be known
	cut              bool          // during it
	wait             time.Duration // that the channel asked for before the next
}

type span struct{ begin, end int }

// The engine's own, by default.
const (
	lease          = 30 * time.Second
	deliverTimeout = 20 * time.Second
)

func newCourt(w *world) court {
	c := court{
		owners: map[store.Owner]int{}, citizenTruths: make([][]citizenTruth, w.plan.citizens), serviceTruths: make([][]serviceTruth, w.plan.services), pausings: map[int]*pausing{},
		messages: map[appio.MessageID]*message{}, digests: map[appio.MessageID][]*message{}, markers: map[string]*message{}, decided: map[appio.MessageID]appio.Status{},
		inbox: make([][]*message, w.plan.citizens), ops: map[string]*op{}, byDelivery: map[appio.DeliveryID][]*attempt{},
	}
	for range w.plan.services {
		c.keys = append(c.keys, &apiKeys{})
	}
	return c
}

func (c *court) stamp() int {
	c.stamps++
	return c.stamps
}

func last[T any](s []T) *T { return &s[len(s)-1] }

// saw is called at the moment when a change becomes durable.
func (w *world) saw(l *life, c *store.Change) {
	ctx := context.Background()
	if strings.HasPrefix(string(c.Owner), "s/") {
		w.sawService(ctx, appio.ServiceID(strings.TrimPrefix(string(c.Owner), "s/")))
		return
	}
	citizen, ok := w.owners[c.Owner]
	if !ok {
		return
	}
	before := *last(w.citizenTruths[citizen])
	var decisions []appio.MessageID
	consent := false
	for i := range c.Put {
		key := string(c.Put[i].Key)
		if id, ok := strings.CutPrefix(key, "d/"); ok {
			decisions = append(decisions, appio.MessageID(id))
		}
		consent = consent || strings.HasPrefix(key, "h/")
		if strings.HasPrefix(key, "?/") {
			w.failf("a record was put aside: %q", key)
		}
	}
	if consent {
		w.sawConsent(ctx, citizen)
	}
	slices.Sort(decisions)
	for _, id := range decisions {
		w.sawDecision(ctx, citizen, id, &before)
	}
}

func (w *world) sawService(ctx context.Context, id appio.ServiceID) {
	s, err := w.oracle.Service(ctx, id)
	if err != nil {
		w.failf("the oracle cannot read a service: %v", err)
		return
	}
	var index int
	fmt.Sscanf(string(id), "service-%d", &index)
	truth := serviceTruth{w.stamp(), s}
	w.serviceTruths[index] = append(w.serviceTruths[index], truth)
	if o := w.ops[s.Description]; o != nil && o.commit == 0 {
		o.commit = truth.stamp
	}
}

// sawConsent is called when a citizen's history grows.
func (w *world) sawConsent(ctx context.Context, citizen int) {
	c := w.oracle.Citizen(appio.Identity{Code: citizenCode(citizen)})
	before := last(w.citizenTruths[citizen])
	truth := citizenTruth{stamp: w.stamp(), at: time.Now(), life: before.life, events: before.events, prefs: map[appio.ServiceID]appio.Preference{}}
	var err error
	if truth.profile, err = c.Profile(ctx); err != nil {
		w.failf("the oracle cannot read a profile: %v", err)
		return
	}
	for i := range w.plan.services {
		if truth.prefs[serviceID(i)], err = c.Preference(ctx, serviceID(i)); err != nil {
			w.failf("the oracle cannot read a preference: %v", err)
			return
		}
	}
	page, err := c.Consents().Page(ctx, "", 3)
	if err != nil {
		w.failf("the oracle cannot read a history: %v", err)
		return
	}
	newest := page.Items[0]
	if int(newest.Number) != before.events+1 {
		w.failf("citizen %d: event %d follows %d", citizen, newest.Number, before.events)
	}
	truth.events = int(newest.Number)
	if newest.What == appio.Erased {
		truth.life++
	}
	o := w.ops[newest.Text]
	if newest.By == appio.ByToken || newest.By == appio.ByService {
		o = w.pending(citizen, newest.Service, newest.By)
	}
	switch {
	case o == nil:
	case o.commit != 0:
		w.failf("%s was made twice", o.tag)
	default:
		o.commit = truth.stamp
	}
	w.citizenTruths[citizen] = append(w.citizenTruths[citizen], truth)
}

// pending is the one operation without a name of its own that may have become durable now; nil: it cannot be told.
func (w *world) pending(citizen int, service appio.ServiceID, by appio.ConsentActor) (found *op) {
	for _, o := range w.ops {
		if o.citizen == citizen && serviceID(o.service) == service && o.commit == 0 && o.what == string(by) && (o.end == 0 || errors.Is(o.err, appio.ErrUnknown)) {
			if found != nil {
				return nil
			}
			found = o
		}
	}
	return found
}

// sawDecision is called when the decision on a message becomes durable, and with it the message.
func (w *world) sawDecision(ctx context.Context, citizen int, id appio.MessageID, before *citizenTruth) {
	code := citizenCode(citizen)
	rec, err := w.oracle.Explain(ctx, code, id)
	if err != nil {
		w.failf("the oracle cannot explain: %v", err)
		return
	}
	if !appio.Decide(rec.Facts).Equal(rec.Decision) {
		w.failf("a decision does not follow from its facts: %+v", rec)
	}
	var service int
	fmt.Sscanf(string(rec.Service), "service-%d", &service)
	after := last(w.citizenTruths[citizen])
	sender := last(w.serviceTruths[service]).service
	truly := func(t *citizenTruth) bool {
		return appio.Decide(t.facts(&w.plan, sender, rec.Facts.Secure, rec.At)).Equal(rec.Decision) // no message is due
	}
	if !truly(before) && !truly(after) {
		w.failf("citizen %d: a message was decided by what did not hold: %+v, %+v", citizen, rec, after)
	}
	w.decided[id] = rec.Decision.Status
	if rec.Decision.Status != appio.Processed {
		return
	}
	got, err := w.oracle.Citizen(appio.Identity{Code: code}).Message(ctx, id)
	if errors.Is(err, appio.ErrErasing) || errors.Is(err, appio.ErrNotFound) { // an erasure came with the same change
		return
	}
	if err != nil {
		w.failf("the oracle cannot read a message: %v", err)
		return
	}
	m := &message{id: id, citizen: citizen, service: service, marker: got.Subject, secure: got.SecureChannels, stamp: w.stamp(), life: after.life}
	if rec.Digest != "" {
		m.digest = digestAfter(rec.At)
		w.digests[rec.Digest] = append(w.digests[rec.Digest], m)
	}
	for _, ch := range rec.Decision.Channels {
		m.standsIn = m.standsIn || ch.Name == byAddress && ch.For != ""
		switch {
		case ch.Content == appio.None:
		case ch.Name == byAddress:
			n := 0
			for _, t := range []*citizenTruth{before, after} {
				here := 0
				for _, a := range t.profile.Addresses {
					if a.Channel == byAddress {
						here++
					}
				}
				n = max(n, here)
			}
			if n = min(n, 1); n > 0 {
				m.wanted++
			}
		default:
			m.wanted++
		}
	}
	if w.messages[id] != nil || w.markers[m.marker] != nil && w.markers[m.marker].life == m.life {
		w.failf("citizen %d: a message is there twice: %s", citizen, m.marker)
	}
	w.messages[id], w.markers[m.marker] = m, m
	w.inbox[citizen] = append(w.inbox[citizen], m)
	w.counts["accepted"]++
}

// facts are what the rule would be asked with at this moment.
func (t *citizenTruth) facts(p *plan, s appio.Service, secure bool, now time.Time) appio.Facts {
	f := appio.Facts{Category: s.Category, Secure: secure}
	pref := t.prefs[s.ID]
	if s.Category == appio.Special && pref.Inbox {
		f.Activation = appio.Active
	}
	if t.profile.Version == 0 {
		return f
	}
	f.Known, f.Mode, f.Inbox, f.QuietBasis = true, t.profile.Mode, t.profile.Inbox, s.QuietBasis
	own := pref.SettingsVersion > 0
	if own {
		f.HasPreference, f.InboxPreference = true, pref.Inbox
	}
	for _, name := range []string{byCode, byAddress, batch} {
		c := appio.ChannelFacts{Name: name, Switch: t.profile.Channels[name], Secure: appio.Full, Address: name != byAddress}
		switch name {
		case byCode:
			c.Secure = appio.Generic
		case byAddress:
			c.Secure = appio.None
			c.Address = slices.ContainsFunc(t.profile.Addresses, func(a appio.Address) bool { return a.Channel == name })
		}
		c.Validated, c.Fallback = c.Address, p.fallsBack(name)
		if p.quiet && name != byAddress {
			c.Quiet = t.profile.Quiet.Next(now).Sub(now)
		}
		if own {
			c.Preference = pref.Channels[name]
		}
		if own && pref.Digest && !now.IsZero() && (!p.quiet || name == byAddress) && c.Fallback.Of == "" {
			c.Digest = digestAfter(now).Sub(now)
		}
		f.Channels = append(f.Channels, c)
	}
	return f
}

// digestAfter is when the next digest goes. No clock is changed at the time of a world.
func digestAfter(t time.Time) time.Time {
	y, m, d := t.In(rome).Date()
	at := time.Date(y, m, d, digestHour, 0, 0, 0, rome)
	for !at.After(t) {
		at = at.Add(24 * time.Hour)
	}
	return at
}

// shows is how much of a delivery's message the rule lets its channel show, by the citizen's choice and the service's record.
func (w *world) shows(t *citizenTruth, s appio.Service, secure bool, d *appio.Delivery) appio.Content {
	if s.State != appio.Live {
		return appio.None
	}
	dec := appio.Decide(t.facts(&w.plan, s, secure || s.SecureChannels, time.Time{}))
	if dec.Status != appio.Processed || d.Channel == byAddress && !slices.ContainsFunc(t.profile.Addresses, func(a appio.Address) bool {
		return a.ID == d.Address.ID && a.Value == d.Address.Value
	}) {
		return appio.None
	}
	return dec.Content(d.Channel)
}

// A side is whose refusal is looked at: an operation stands for what it is about.
type side int

const (
	anybody side = iota
	theCitizen
	theService
)

// refusedSince reports whether a delivery was refused at every moment from a stamp on; with erased, also because its message was
// of an earlier life of the person.
func (w *world) refusedSince(a *attempt, from int, by side, erased bool) bool {
	m := w.messageOf(&a.d)
	if m == nil {
		return false
	}
	cs, ss := w.citizenTruths[a.citizen], w.serviceTruths[a.service]
	i, j := at(cs, from, func(t *citizenTruth) int { return t.stamp }), at(ss, from, func(t *serviceTruth) int { return t.stamp })
	for {
		t, s := &cs[i], ss[j].service
		switch by {
		case theCitizen:
			s.State, s.SecureChannels = appio.Live, false
		case theService:
			t = w.willing(a.citizen)
			s.Category = appio.Standard
		}
		if (!erased || cs[i].life == m.life) && w.shows(t, s, m.secure, &a.d) >= a.d.Content {
			return false
		}
		switch {
		case i+1 == len(cs) && j+1 == len(ss):
			return true
		case j+1 == len(ss) || i+1 < len(cs) && cs[i+1].stamp < ss[j+1].stamp:
			i++
		default:
			j++
		}
	}
}

// willing is a citizen with these addresses who refuses nothing.
func (w *world) willing(citizen int) *citizenTruth {
	t := &citizenTruth{profile: appio.Profile{Mode: appio.Auto, Inbox: true, Version: 1, Channels: appio.On(byCode, byAddress, batch)}}
	for _, past := range w.citizenTruths[citizen] {
		t.profile.Addresses = append(t.profile.Addresses, past.profile.Addresses...)
	}
	return t
}

// at is the index of what holds at a stamp.
func at[T any](truths []T, stamp int, of func(*T) int) int {
	for i := len(truths) - 1; i > 0; i-- {
		if of(&truths[i]) <= stamp {
			return i
		}
	}
	return 0
}

// attempted is called as a delivery begins; nil: its process is no more.
func (w *world) attempted(l *life, d *appio.Delivery) *attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.crashed {
		return nil
	}
	a := &attempt{d: *d, life: l, begin: w.stamp(), began: time.Now(), citizen: -1}
	fmt.Sscanf(string(d.Service), "service-%d", &a.service)
	m := w.messageOf(d)
	if m == nil {
		w.failf("a delivery of a message that is not there: %s", d.ID)
		return a
	}
	a.citizen = m.citizen
	w.counts["deliveries"]++
	w.tracef(l, "%s %d begins for citizen %d: %s by %s (%s)", d.ID, d.Attempt, a.citizen, d.Content, d.Channel, m.marker)
	w.judgeStart(a)
	w.judgePaused(a)
	w.judgeSight(a)
	w.judgeChoices(a, m)
	w.judgeDigest(a)
	w.judgeCopy(a)
	w.attempts = append(w.attempts, a)
	w.byDelivery[d.ID] = append(w.byDelivery[d.ID], a)
	return a
}

// messageOf is what a delivery is of: of a digest the first message, with which all have citizen, service, secrecy and life in common.
func (w *world) messageOf(d *appio.Delivery) *message {
	if d.Digest == nil {
		return w.messages[d.Message]
	}
	if all := w.digests[d.Message]; len(all) > 0 {
		return all[0]
	}
	return nil
}

// judgeDigest holds a digest against what was gathered in it, what the citizen has read, and its hour, before which it goes only to who
// did not want it any more.
func (w *world) judgeDigest(a *attempt) {
	const soon = 3 * time.Second
	all := w.digests[a.d.Message]
	if a.d.Digest == nil {
		return
	}
	w.counts["digests"]++
	if n := a.d.Digest.Count; n == 0 || n > len(all) || a.d.Content == appio.Full != (len(a.d.Digest.Items) == min(n, 50)) {
		w.failf("%s is of %d messages, of which it lists %d, and %d were gathered", a.d.ID, n, len(a.d.Digest.Items), len(all))
	}
	calm := !a.life.troubled.After(time.Now().Add(-time.Minute)) && time.Since(a.life.p.turned) >= soon
	for _, i := range a.d.Digest.Items {
		m := w.messages[i.Message]
		switch {
		case m == nil || !slices.Contains(all, m):
			w.failf("%s lists a message that was not gathered in it", a.d.ID)
		case calm && m.read != 0 && time.Since(m.readAt) > soon:
			w.failf("%s begins by %v though %s was read %v ago", a.d.ID, a.life, m.marker, time.Since(m.readAt))
		}
	}
	m := all[0]
	if len(all) > 1 {
		w.counts["gathered with others"]++
	}
	cs := w.citizenTruths[a.citizen]
	for i := at(cs, m.stamp, func(t *citizenTruth) int { return t.stamp }); i < len(cs); i++ {
		if !cs[i].prefs[serviceID(m.service)].Digest {
			return
		}
	}
	if now := w.now().Add(a.life.p.ahead); calm && now.Before(m.digest) {
		w.failf("%s begins by %v at %v, before its hour", a.d.ID, a.life, now)
	}
}

// fences are the operations that have returned and that an attempt stands against.
func (w *world) fences(a *attempt) (found []*op) {
	for _, tag := range slices.Sorted(maps.Keys(w.ops)) {
		o := w.ops[tag]
		if o.commit == 0 || o.end == 0 || o.err != nil && o.named == nil || o.unsure || o.named[a.d.ID] || slices.Contains(o.inside, a) {
			continue
		}
		switch {
		case o.citizen >= 0 && (o.citizen != a.citizen || !w.refusedSince(a, o.commit, theCitizen, o.what == "erase")):
		case o.citizen < 0 && (o.service != a.service || !w.refusedSince(a, o.commit, theService, false)):
		default:
			found = append(found, o)
		}
	}
	return found
}

// judgeStart holds a beginning delivery against the revocations that have returned.
func (w *world) judgeStart(a *attempt) {
	for _, o := range w.fences(a) {
		w.failf("%s begins by %v after %s (%s) had returned on %v", a.d.ID, a.life, o.tag, o.what, o.life)
	}
}

// judgeSight holds a beginning delivery against what its engine may have seen at the earliest: consent is looked at again before each
// attempt, whoever changed it.
func (w *world) judgeSight(a *attempt) {
	const soon = 3 * time.Second
	if a.life.troubled.After(time.Now().Add(-time.Minute)) {
		return
	}
	from := a.begin
	for _, t := range w.citizenTruths[a.citizen] {
		if time.Since(t.at) < soon {
			break
		}
		from = t.stamp
	}
	if len(w.citizenTruths[a.citizen]) > 1 && from != a.begin && w.refusedSince(a, from, anybody, true) {
		w.failf("%s begins by %v and has been refused for more than %v", a.d.ID, a.life, soon)
	}
}

// judgeChoices holds a beginning delivery against quiet hours, by the clock of its process, and against what the citizen has read. What
// has come about only just now the engine may not have seen.
func (w *world) judgeChoices(a *attempt, m *message) {
	const soon = 3 * time.Second
	p := a.life.p
	if a.life.troubled.After(time.Now().Add(-time.Minute)) || time.Since(p.turned) < soon {
		return
	}
	if a.d.Channel == byAddress && m.standsIn && m.read != 0 && time.Since(m.readAt) > soon {
		w.failf("%s begins by %v though its message was read %v ago", a.d.ID, a.life, time.Since(m.readAt))
	}
	if !w.plan.quiet || a.d.Channel == byAddress || last(w.serviceTruths[a.service]).service.QuietBasis != "" {
		return
	}
	now := w.now().Add(p.ahead)
	for i := len(w.citizenTruths[a.citizen]) - 1; i >= 0; i-- {
		t := &w.citizenTruths[a.citizen][i]
		for _, at := range []time.Time{now.Add(-soon), now} {
			if !t.profile.Quiet.Next(at).After(at) {
				return
			}
		}
		if time.Since(t.at) > soon {
			break
		}
	}
	w.failf("%s begins by %v in quiet hours", a.d.ID, a.life)
}

// judgeReturn holds a revocation that returns against what is under way.
func (w *world) judgeReturn(o *op) {
	for _, a := range w.attempts {
		if a.end != 0 || a.life.crashed || a.citizen < 0 {
			continue
		}
		outrun := a.life != o.life && time.Since(a.began) > deliverTimeout
		if !outrun && slices.Contains(w.fences(a), o) {
			w.failf("%s (%s) returned on %v while %s is under way on %v", o.tag, o.what, o.life, a.d.ID, a.life)
		}
	}
}

// judgeCopy holds a beginning delivery against the earlier attempts of the same one.
func (w *world) judgeCopy(b *attempt) {
	if b.d.Attempt > w.plan.attempts {
		w.failf("%s is tried the %dth time", b.d.ID, b.d.Attempt)
	}
	for _, a := range w.byDelivery[b.d.ID] {
		replayed := slices.ContainsFunc(w.replays, func(s *span) bool { return s.end == 0 || s.end > a.begin })
		switch {
		case a.lost || a.life.failed || b.d.Message != a.d.Message:
		case a.end == 0:
			if b.began.Sub(a.began) <= deliverTimeout {
				w.failf("%s begins by %v while it is under way on %v", b.d.ID, b.life, a.life)
			}
		case a.ended.Sub(a.began) > deliverTimeout || w.unrecorded(a, b) || replayed:
		case a.err == nil:
			w.failf("%s begins by %v though it was delivered by %v", b.d.ID, b.life, a.life)
		case !a.cancelled && b.d.Attempt <= a.d.Attempt:
			w.failf("%s begins with attempt %d after attempt %d had failed", b.d.ID, b.d.Attempt, a.d.Attempt)
		}
		if a.err == nil && a.end != 0 {
			w.counts["copies"]++
		}
	}
}

// unrecorded reports whether the outcome of an attempt may rightly have been lost: the store took nothing for as long as the
// lease stood.
func (w *world) unrecorded(a, b *attempt) bool {
	return (b == nil || b.began.Sub(a.began) > 10*time.Second) && a.life.troubled.After(a.began)
}

// asked is called as a channel asks for a time before the next attempt.
func (w *world) asked(calls []*attempt, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range calls {
		a.wait = wait
	}
}

// longestWait is the most that may lie before a delivery's next attempt, which may be later than its time is over.
func (w *world) longestWait(id appio.DeliveryID) (wait time.Duration) {
	for _, a := range w.byDelivery[id] {
		wait = max(wait, a.wait, mostBackoff)
	}
	return wait
}

// answered is called as a call of a channel ends.
func (w *world) answered(l *life, calls []*attempt, err error, cancelled bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range calls {
		if a.lost {
			continue
		}
		a.end, a.ended, a.err, a.cancelled = w.stamp(), time.Now(), err, cancelled
		w.tracef(l, "%s ends: %v", a.d.ID, err)
	}
}

// lost is called as a process crashes, with w.mu held.
func (w *world) lost(l *life) {
	for _, a := range w.attempts {
		if a.life == l {
			if a.end == 0 {
				a.end, a.ended, a.cut = w.stamp(), time.Now(), true
			}
			a.lost = time.Since(a.ended) < time.Minute // what ended earlier was recorded
		}
	}
}

// begin is called before a change is asked for.
func (w *world) begin(l *life, what string, citizen, service int, inside []*attempt) *op {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := &op{tag: fmt.Sprintf("op-%04d", len(w.ops)), what: what, citizen: citizen, service: service, life: l, begin: w.stamp(), inside: inside}
	w.ops[o.tag] = o
	w.tracef(l, "%s: %s by citizen %d for service %d", o.tag, what, citizen, service)
	return o
}

// end is called with what was answered. written says that an answer without an error means a change.
func (w *world) end(o *op, err error, written bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tracef(o.life, "%s ends: %v", o.tag, err)
	if o.life.crashed { // nobody got the answer
		o.err, o.end = appio.ErrUnknown, w.stamp()
		return
	}
	w.counts["changes"]++
	o.end, o.err = w.stamp(), err
	var left *appio.InFlightError
	if errors.As(err, &left) {
		o.named = map[appio.DeliveryID]bool{}
		for _, id := range left.Deliveries {
			o.named[id] = true
		}
		o.unsure = len(left.Deliveries) == 0
	}
	if err != nil && o.named == nil {
		return
	}
	if written && o.commit == 0 {
		w.failf("%s (%s) returned, and nothing was stored", o.tag, o.what)
	}
	if o.commit != 0 {
		w.judgeReturn(o)
	}
}
