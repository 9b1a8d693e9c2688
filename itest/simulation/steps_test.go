package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
)

// take lets one step happen.
func (w *world) take(s step) {
	r := w.dice.about("step", strconv.Itoa(s.number))
	p := w.places[s.process]
	if slices.Contains(mishaps, s.kind) {
		w.befall(r, p, s.kind)
		return
	}
	l := w.reach(s.process)
	if l == nil {
		w.tell("missed")
		return
	}
	w.tell("steps")
	ctx := context.Background()
	if r.IntN(20) == 0 {
		c, cancel := context.WithTimeout(ctx, between(r, time.Millisecond, 5*time.Second))
		defer cancel()
		ctx = c
	}
	me := func(tag string) *appio.Citizen {
		return l.engine.Citizen(appio.Identity{Code: citizenCode(s.citizen), Level: appio.L2, Text: tag})
	}
	switch s.kind {
	case "send":
		w.send(ctx, l, l.engine.Sender(serviceID(s.service)), r, s, []mail{w.mail(s.citizen, strconv.Itoa(s.number), "", r)})
	case "repeat":
		key := fmt.Sprintf("key-%d", r.IntN(3))
		w.send(ctx, l, l.engine.Sender(serviceID(s.service)), r, s, []mail{w.mail(s.citizen, fmt.Sprintf("%s-%d-%d", key, s.citizen, s.service), key, nil)})
	case "batch":
		var ms []mail
		for i := range 2 + r.IntN(20) {
			ms = append(ms, w.mail(r.IntN(w.plan.citizens), fmt.Sprintf("%d-%d", s.number, i), "", r))
		}
		w.send(ctx, l, l.engine.Sender(serviceID(s.service)), r, s, ms)
	case "mode":
		mode := chosen(r, appio.Auto, appio.Auto, appio.Auto, appio.Manual)
		o := w.begin(l, "mode", s.citizen, -1, nil)
		w.end(o, me(o.tag).SetMode(ctx, mode), true)
	case "switches":
		channels := w.someChannels(r)
		inbox := r.IntN(5) > 0
		o := w.begin(l, "switches", s.citizen, -1, nil)
		w.end(o, me(o.tag).UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Channels, p.Inbox = channels, inbox
			return nil
		}), true)
	case "quiet":
		q := w.someQuiet(r)
		o := w.begin(l, "quiet", s.citizen, -1, nil)
		w.end(o, me(o.tag).UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Quiet = q
			return nil
		}), true)
	case "address":
		n := r.IntN(4)
		o := w.begin(l, "address", s.citizen, -1, nil)
		w.end(o, me(o.tag).UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Addresses = nil
			if n > 0 {
				p.Addresses = []appio.Address{{ID: "home", Channel: byAddress, Value: fmt.Sprintf("%d-%d@example.org", s.citizen, n)}}
			}
			return nil
		}), true)
	case "preference", "digest":
		p := appio.Preference{Inbox: r.IntN(3) > 0, Channels: w.someChannels(r), ReadStatus: true}
		if p.Digest = s.kind == "digest"; p.Digest {
			p.Inbox, p.Channels = true, appio.On(byCode, byAddress, batch)
		}
		o := w.begin(l, "preference", s.citizen, s.service, nil)
		w.end(o, me(o.tag).SetPreference(ctx, serviceID(s.service), p), true)
	case "withdraw":
		w.mu.Lock()
		token, citizen, service := "", 0, 0
		if n := len(w.attempts); n > 0 {
			a := w.attempts[n-1-r.IntN(min(n, 5))]
			token, citizen, service = a.d.Withdraw, a.citizen, a.service
		}
		w.mu.Unlock()
		if token != "" {
			o := w.begin(l, string(appio.ByToken), citizen, service, nil)
			w.end(o, l.engine.Withdraw(ctx, token), false)
		}
	case "erase":
		o := w.begin(l, "erase", s.citizen, -1, nil)
		w.end(o, me(o.tag).Erase(ctx), false)
	case "pause":
		w.pauseService(ctx, l, s.service)
	case "resume":
		w.resumeService(ctx, l, s.service)
	case "stop", "start", "secure":
		state := appio.Live
		if s.kind == "stop" {
			state = appio.Stopped
		}
		o := w.begin(l, s.kind, -1, s.service, nil)
		v := w.service(s.service, state)
		v.Description, v.SecureChannels = o.tag, s.kind == "secure"
		w.end(o, l.engine.PutService(ctx, v), false) // another one may have been merged with it
	case "activate":
		if v := w.service(s.service, appio.Live); v.Category == appio.Special {
			o := w.begin(l, string(appio.ByService), s.citizen, s.service, nil)
			w.end(o, l.engine.Sender(v.ID).Activate(ctx, citizenCode(s.citizen), chosen(r, appio.Active, appio.Active, appio.Inactive), time.Time{}), false)
		}
	case "key":
		w.putKey(ctx, l, s, r)
	case "usekey":
		w.useKey(ctx, l, s, r)
	case "read", "archive":
		w.mark(ctx, me(""), l, s, r)
	case "inbox", "backwards":
		w.list(ctx, me(""), l, s, r)
	case "consents":
		w.history(ctx, me(""), l, s)
	case "status", "contact":
		w.ask(ctx, l, s, r)
	case "replay":
		w.replay(ctx, l)
	case "health":
		w.health()
	}
}

// reach is a life that answers, of this process or of another; nil: there is none.
func (w *world) reach(process int) *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.places {
		if l := w.places[(process+i)%len(w.places)].life; l != nil && w.open[l] {
			return l
		}
	}
	return nil
}

// mostAhead is how far a clock that leaps is ahead of the true time at the most.
const mostAhead = 4 * time.Hour

// befall is something that happens to a process.
func (w *world) befall(r *rand.Rand, p *process, what string) {
	w.mu.Lock()
	l := p.life
	w.tracef(l, "mishap: %s", what)
	now := time.Now()
	switch what {
	case "freeze":
		d := between(r, time.Second, time.Minute)
		p.frozen = now.Add(d)
		if l != nil {
			l.troubled = p.frozen
		}
	case "clock":
		p.turned = now
		p.ahead = w.plan.drift(r)
		if w.plan.leaps {
			p.ahead = time.Duration(r.Int64N(int64(mostAhead*3/2))) - mostAhead/2
		}
	case "away":
		p.away = now.Add(between(r, 100*time.Millisecond, 50*time.Second))
	case "full":
		p.full = now.Add(between(r, 100*time.Millisecond, 50*time.Second))
	}
	w.mu.Unlock()
	w.count(what)
	if l == nil {
		return
	}
	switch what {
	case "crash":
		l.crash()
	case "restart":
		l.end()
		p.begin(between(r, time.Millisecond, 10*time.Second))
	case "failed":
		l.fail()
	}
}

func (w *world) someChannels(r *rand.Rand) appio.Channels {
	c := appio.Channels{}
	for _, name := range []string{byCode, byAddress, batch} {
		if content := chosen(r, appio.None, appio.Generic, appio.Full, appio.Full); content != appio.None {
			c[name] = content
		}
	}
	return c
}

// someQuiet is quiet hours of some minutes about now, of half of the night, or none.
func (w *world) someQuiet(r *rand.Rand) appio.QuietHours {
	if r.IntN(4) == 0 {
		return appio.QuietHours{}
	}
	y, m, d := w.now().In(rome).Date()
	from := w.now().Sub(time.Date(y, m, d, 0, 0, 0, 0, rome)).Truncate(time.Minute) + time.Duration(r.IntN(15)-7)*time.Minute
	length := time.Duration(1+r.IntN(20)) * time.Minute
	if r.IntN(8) == 0 {
		length = between(r, time.Hour, 20*time.Hour).Truncate(time.Minute)
	}
	const day = 24 * time.Hour
	return appio.QuietHours{From: (from + day) % day, To: (from + length + day) % day}
}

// rome is on one side of a change of the clocks in all worlds.
var rome = time.FixedZone("CET", 3600)

// A mail is a message with what tells it from all others.
type mail struct {
	appio.Message
	citizen int
}

func (w *world) mail(citizen int, marker, key string, r *rand.Rand) mail {
	m := appio.Message{
		To: citizenCode(citizen), Subject: "Avviso numero " + marker, Key: key,
		Markdown: strings.Repeat("Avviso numero "+marker+": il servizio di raccolta cambia orario. ", 3),
	}
	if r != nil {
		m.SecureChannels = r.IntN(8) == 0
		m.TimeToLive = chosen(r, 0, time.Hour, 6*time.Hour)
	}
	return mail{m, citizen}
}

// send sends, and holds the answer against what is stored.
func (w *world) send(ctx context.Context, l *life, sender *appio.Sender, r *rand.Rand, s step, mails []mail) {
	ms := make([]appio.Message, len(mails))
	for i := range mails {
		ms[i] = mails[i].Message
	}
	w.mu.Lock()
	stopped := w.stopped(s.service)
	w.mu.Unlock()
	results, _ := sender.SendBatch(ctx, ms)
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.crashed {
		return
	}
	for i, res := range results {
		m := &mails[i]
		w.tracef(l, "%s: %s %s %v", m.Subject, res.ID, res.Status, res.Err)
		switch stored := w.messages[res.ID]; {
		case res.Err != nil && !errors.Is(res.Err, appio.ErrUnknown):
			w.counts["refused"]++
			if m.Key == "" {
				w.unsent = append(w.unsent, m.Subject)
			}
		case res.Err != nil:
		case stopped > 0 && stopped == len(w.serviceTruths[s.service]) && !res.Repeated:
			w.failf("%s was accepted for a service that was stopped all the while", m.Subject)
		case w.decided[res.ID] != res.Status:
			w.failf("%s: %s was answered and %q is stored", m.Subject, res.Status, w.decided[res.ID])
		case res.Status == appio.Processed && stored == nil && last(w.citizenTruths[m.citizen]).life == 0:
			w.failf("%s was accepted and is not stored", m.Subject)
		case res.Status == appio.Processed && stored != nil && (stored.marker != m.Subject || stored.citizen != m.citizen):
			w.failf("%s was accepted as another message", m.Subject)
		}
	}
}

// mark is a citizen who reads or archives a message.
func (w *world) mark(ctx context.Context, c *appio.Citizen, l *life, s step, r *rand.Rand) {
	w.mu.Lock()
	box := w.inbox[s.citizen]
	if len(box) == 0 {
		w.mu.Unlock()
		return
	}
	m := box[r.IntN(len(box))]
	m.known = true
	if s.kind == "archive" {
		m.archived = true
	}
	w.mu.Unlock()
	var err error
	if s.kind == "archive" {
		err = c.Archive(ctx, m.id, r.IntN(2) == 0)
	} else {
		err = c.MarkRead(ctx, m.id)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tracef(l, "%s of %s: %v", s.kind, m.marker, err)
	if err == nil && s.kind == "read" && m.read == 0 && !l.crashed {
		m.read, m.readAt = w.stamp(), time.Now()
	}
	if errors.Is(err, appio.ErrNotFound) && m.life == last(w.citizenTruths[s.citizen]).life && !l.crashed {
		w.failf("%s is not found", m.marker)
	}
}

// list reads an inbox page by page, while it changes.
func (w *world) list(ctx context.Context, c *appio.Citizen, l *life, s step, r *rand.Rand) {
	w.mu.Lock()
	begin, life := w.stamp(), last(w.citizenTruths[s.citizen]).life
	w.mu.Unlock()
	list := c.Inbox(nil)
	limit := 1 + r.IntN(7)
	var all []appio.InboxMessage
	var cursor appio.Cursor
	pages := 0
	page := func(cursor appio.Cursor) (appio.Page[appio.InboxMessage], bool) {
		for range 5 {
			p, err := list.Page(ctx, cursor, limit)
			if err == nil {
				pages++
				return p, true
			}
			if !errors.Is(err, errReset) {
				return p, false // closed, erased, or the context ended
			}
		}
		return appio.Page[appio.InboxMessage]{}, false
	}
	for {
		p, ok := page(cursor)
		if !ok {
			return
		}
		all = append(all, p.Items...)
		if p.Next == "" {
			cursor = p.Prev
			break
		}
		cursor = p.Next
	}
	w.judgeList(s.citizen, begin, life, all, false)
	if s.kind != "backwards" || cursor == "" {
		return
	}
	// The last page was seen already: what comes back is all before it.
	var back []appio.InboxMessage
	for cursor != "" {
		p, ok := page(cursor)
		if !ok {
			return
		}
		back = append(slices.Clone(p.Items), back...)
		cursor = p.Prev
	}
	w.judgeList(s.citizen, begin, life, back, true)
}

// judgeList holds a list that was read since a stamp against what must be in it. A part of it may lack its end.
func (w *world) judgeList(citizen, begin, life int, all []appio.InboxMessage, part bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts["lists"]++
	if last(w.citizenTruths[citizen]).life != life {
		return
	}
	seen := map[appio.MessageID]bool{}
	for i, m := range all {
		if seen[m.ID] {
			w.failf("citizen %d: %s is listed twice", citizen, m.Subject)
		}
		seen[m.ID] = true
		if i > 0 && all[i-1].ID <= m.ID {
			w.failf("citizen %d: the list is not in order", citizen)
		}
		known := w.messages[m.ID]
		switch {
		case known == nil || known.citizen != citizen || known.marker != m.Subject || known.life != life:
			w.failf("citizen %d: %s is listed and was not accepted", citizen, m.Subject)
		case known.read != 0 && known.read < begin && !m.Read:
			w.failf("citizen %d: %s was read and is listed as if not", citizen, m.Subject)
		}
	}
	for _, m := range w.inbox[citizen] {
		if m.life != life || m.stamp > begin || m.archived || seen[m.id] {
			continue
		}
		if part && (len(all) == 0 || m.id <= all[len(all)-1].ID) {
			continue
		}
		w.failf("citizen %d: %s is not listed", citizen, m.marker)
	}
}

// history reads the chain of consents.
func (w *world) history(ctx context.Context, c *appio.Citizen, l *life, s step) {
	w.mu.Lock()
	least := last(w.citizenTruths[s.citizen]).events
	w.mu.Unlock()
	next := 0
	for ev, err := range c.Consents().All(ctx) {
		if errors.Is(err, store.ErrCorrupt) {
			w.fail("citizen %d: %v", s.citizen, err)
		}
		if err != nil {
			return
		}
		if next == 0 && int(ev.Number) < least || next != 0 && int(ev.Number) != next {
			w.fail("citizen %d: event %d where %d was due, of %d", s.citizen, ev.Number, next, least)
		}
		next = int(ev.Number) - 1
	}
	if next != 0 {
		w.fail("citizen %d: the history begins with event %d", s.citizen, next+1)
	}
}

// ask is a service that asks what became of a message, or whether it may write.
func (w *world) ask(ctx context.Context, l *life, s step, r *rand.Rand) {
	sender := l.engine.Sender(serviceID(s.service))
	if s.kind == "contact" {
		_, _ = sender.CanContact(ctx, citizenCode(s.citizen))
		return
	}
	w.mu.Lock()
	box := w.inbox[s.citizen]
	if len(box) == 0 {
		w.mu.Unlock()
		return
	}
	m := box[r.IntN(len(box))]
	w.mu.Unlock()
	st, err := sender.Status(ctx, citizenCode(s.citizen), m.id)
	switch {
	case m.service != s.service && err == nil, m.service == s.service && errors.Is(err, appio.ErrNotFound):
		w.fail("status of %s: %v, %v", m.marker, st, err)
	case err == nil && st.Status != appio.Processed:
		w.fail("status of %s: %v", m.marker, st.Status)
	}
}

func (w *world) replay(ctx context.Context, l *life) {
	w.mu.Lock()
	s := &span{begin: w.stamp()}
	w.replays = append(w.replays, s)
	w.mu.Unlock()
	err := l.engine.Replay(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tracef(l, "replay: %v", err)
	s.end = w.stamp()
}

// lanePaused is the first of those in which work waits for a resume.
const lanePaused store.Lane = 0x0180

// health holds the gauges against the disk.
func (w *world) health() {
	w.mu.Lock()
	defer w.mu.Unlock()
	ctx := context.Background()
	h, err := w.oracle.Health(ctx)
	if err != nil {
		w.failf("health: %v", err)
		return
	}
	waiting, parked, paused := 0, 0, 0
	for _, recs := range w.dump() {
		for _, r := range recs {
			switch {
			case r.Lane >= lanePaused && r.Lane < lanePaused+64:
				paused++
			case strings.HasPrefix(string(r.Key), "q/") && !r.Due.After(w.now()):
				waiting++
			case strings.HasPrefix(string(r.Key), "x/"):
				parked++
			}
		}
	}
	if h.Waiting != waiting || h.Paused != paused || h.Parked != parked || h.Quarantined != 0 {
		w.failf("health says %+v; there are %d waiting, %d paused and %d parked", h, waiting, paused, parked)
	}
}

// dump is all that is on the disk.
func (w *world) dump() map[store.Owner][]store.Record {
	ctx := context.Background()
	all := map[store.Owner][]store.Record{}
	owners, err := w.disk.Owners(ctx, "", store.MaxRange)
	if err != nil {
		w.failf("the disk: %v", err)
	}
	for _, o := range owners {
		snaps, err := w.disk.View(ctx, []store.Read{{Owner: o, Range: store.Range{Limit: store.MaxRange}}})
		if err != nil {
			w.failf("the disk: %v", err)
			return nil
		}
		all[o] = snaps[0].Records
	}
	return all
}

// apiKeys are those of one service, as far as they are known.
type apiKeys struct {
	under   int // calls under way
	calls   int
	unsure  [2]bool
	current [2]string
	old     []string
}

func (w *world) putKey(ctx context.Context, l *life, s step, r *rand.Rand) {
	slot := r.IntN(2)
	key := fmt.Sprintf("api-key-of-step-%06d", s.number)
	w.mu.Lock()
	k := w.keys[s.service]
	k.under++
	k.calls++
	begun := k.calls
	w.mu.Unlock()
	err := l.engine.PutKey(ctx, serviceID(s.service), appio.KeySlot(slot), key)
	w.mu.Lock()
	defer w.mu.Unlock()
	k.under--
	only := k.under == 0 && k.calls == begun
	k.calls++
	var left *appio.InFlightError
	switch {
	case l.crashed || err != nil && !errors.As(err, &left):
		k.unsure[slot] = true
	default:
		if old := k.current[slot]; old != "" && !k.unsure[slot] {
			k.old = append(k.old, old)
		}
		k.current[slot], k.unsure[slot] = key, false
	}
	if !only { // which of them was the last cannot be told
		k.unsure = [2]bool{true, true}
	}
}

func (w *world) useKey(ctx context.Context, l *life, s step, r *rand.Rand) {
	w.mu.Lock()
	k := w.keys[s.service]
	slot := r.IntN(2)
	key, ended := k.current[slot], false
	if n := len(k.old); n > 0 && r.IntN(2) == 0 {
		key, ended = k.old[r.IntN(n)], true
	}
	calls, sure := k.calls, k.under == 0 && !k.unsure[slot]
	w.mu.Unlock()
	if key == "" {
		return
	}
	sender, err := l.engine.SenderByKey(ctx, key, netip.Addr{})
	w.mu.Lock()
	same := calls == k.calls && !l.crashed
	if ended && err == nil {
		w.failf("a key of service %d that had ended is good", s.service)
	}
	if !ended && sure && same && errors.Is(err, appio.ErrUnauthorized) {
		w.failf("the key of service %d is no good", s.service)
	}
	w.mu.Unlock()
	if err == nil {
		w.send(ctx, l, sender, r, s, []mail{w.mail(s.citizen, strconv.Itoa(s.number), "", r)})
	}
}

// withdraw and refuse are revocations from inside a channel's call.
func (w *world) withdraw(ctx context.Context, l *life, token string, calls []*attempt) {
	o := w.begin(l, string(appio.ByToken), calls[0].citizen, calls[0].service, calls)
	w.end(o, l.engine.Withdraw(ctx, token), false)
}

func (w *world) refuse(ctx context.Context, l *life, calls []*attempt, d *appio.Delivery) {
	a := calls[0]
	o := w.begin(l, "refuse", a.citizen, a.service, calls)
	c := l.engine.Citizen(appio.Identity{Code: citizenCode(a.citizen), Text: o.tag})
	w.end(o, c.SetPreference(ctx, d.Service, appio.Preference{}), true)
}

// stopped is how often a service had changed when it was last stopped, if it is now; otherwise 0.
func (w *world) stopped(service int) int {
	if last(w.serviceTruths[service]).service.State != appio.Stopped {
		return 0
	}
	return len(w.serviceTruths[service])
}
