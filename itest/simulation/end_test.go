package simulation

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
)

// heal ends everything that goes wrong, lets what is under way come to its end, and drains what is due: hours pass at once.
func (w *world) heal() {
	w.mu.Lock()
	w.healed = true
	for _, p := range w.places {
		p.frozen, p.away, p.full, p.ahead = time.Time{}, time.Time{}, time.Time{}, 0
		p.turned = time.Now()
	}
	w.tracef(nil, "all is well from now on")
	w.mu.Unlock()
	w.late.Wait()
	w.busy.Wait()
	for _, l := range w.lives {
		if w.plan.dies {
			l.crash()
		}
		l.end()
	}
	w.late.Wait()
	w.calls.Wait()

	p := &process{w: w, index: len(w.places)}
	l := p.make()
	w.resumeAll(l)
	before := w.now()
	if _, err := l.engine.Flush(context.Background()); err != nil {
		w.fail("flush: %v", err)
	}
	w.judgeRecovery(before)
	w.drain(l)
	time.Sleep(w.plan.skew) // what was parked by a clock that was ahead is parked from then on
	if w.plan.leaps {
		time.Sleep(mostAhead)
	}
	if err := l.engine.Replay(context.Background()); err != nil {
		w.fail("replay: %v", err)
	}
	w.mu.Lock()
	w.replays = append(w.replays, &span{w.stamp(), w.stamp()})
	w.mu.Unlock()
	w.drain(l)
	w.judgeEnd()
	if err := l.engine.Close(); err != nil {
		w.fail("Close: %v", err)
	}
	if err := w.oracle.Close(); err != nil {
		w.fail("Close: %v", err)
	}
	time.Sleep(time.Minute) // Close does not wait longer than it says for a store that is slow
}

// judgeRecovery looks at what the first delivering of a new life has left where no other engine can be: nothing may wait for the
// lease of one that is gone, unless it was given when the clock was ahead.
func (w *world) judgeRecovery(began time.Time) {
	if !w.plan.alone {
		return
	}
	for _, recs := range w.dump() {
		for _, r := range recs {
			if strings.HasPrefix(string(r.Key), "q/l/") && r.Due.Before(began.Add(lease+w.plan.skew)) {
				w.fail("%q waits for a lease that nobody holds", r.Key)
			}
		}
	}
}

// drain delivers whatever is due, now and later.
func (w *world) drain(l *life) {
	for range 5000 {
		if _, err := l.engine.Flush(context.Background()); err != nil {
			w.fail("flush: %v", err)
			return
		}
		next := time.Time{}
		for _, recs := range w.dump() {
			for _, r := range recs {
				if (strings.HasPrefix(string(r.Key), "q/") || strings.HasPrefix(string(r.Key), "z/")) && (next.IsZero() || r.Due.Before(next)) {
					next = r.Due
				}
			}
		}
		if next.IsZero() {
			return
		}
		time.Sleep(max(time.Millisecond, next.Sub(w.now())))
	}
	w.fail("there is no end of what is due")
}

// judgeEnd holds what is left against what must be.
func (w *world) judgeEnd() {
	w.health()
	w.mu.Lock()
	defer w.mu.Unlock()
	ctx := context.Background()
	for _, subject := range w.unsent {
		if w.markers[subject] != nil {
			w.failf("%s was refused and is stored", subject)
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(w.ops)) {
		o := w.ops[tag]
		if o.end != 0 && o.err != nil && o.named == nil && o.commit != 0 && !isUnknown(o.err) {
			w.failf("%s (%s) was refused and is stored: %v", o.tag, o.what, o.err)
		}
	}
	for id, err := range w.oracle.Parked().All(ctx) {
		w.failf("%v is still parked (%v)", id, err)
	}
	disk := w.dump()
	for owner, citizen := range w.owners {
		w.judgeCitizen(ctx, citizen, disk[owner])
	}
	for _, id := range slices.Sorted(maps.Keys(w.messages)) {
		w.judgeMessage(ctx, w.messages[id])
	}
}

// judgeCitizen looks at what is left of one citizen.
func (w *world) judgeCitizen(ctx context.Context, citizen int, records []store.Record) {
	truth := last(w.citizenTruths[citizen])
	c := w.oracle.Citizen(appio.Identity{Code: citizenCode(citizen)})
	listed := map[appio.MessageID]int{}
	for _, archived := range []bool{false, true} {
		for m, err := range c.Inbox(&appio.InboxOptions{Archived: archived}).All(ctx) {
			if err != nil {
				w.failf("citizen %d: the inbox: %v", citizen, err)
				return
			}
			listed[m.ID]++
		}
	}
	wanted := 0
	for _, m := range w.inbox[citizen] {
		n := 0
		if m.life == truth.life {
			n = 1
			wanted++
		}
		if listed[m.id] != n {
			w.failf("citizen %d: %s is %d times in the inbox instead of %d", citizen, m.marker, listed[m.id], n)
		}
		if m.life != truth.life {
			if _, err := c.Message(ctx, m.id); err == nil {
				w.failf("citizen %d: %s can be read after the erasure", citizen, m.marker)
			}
		}
	}
	if len(listed) != wanted {
		w.failf("citizen %d: %d messages in the inbox instead of %d", citizen, len(listed), wanted)
	}
	events := 0
	for _, err := range c.Consents().All(ctx) {
		if err != nil {
			w.failf("citizen %d: the history: %v", citizen, err)
			break
		}
		events++
	}
	if events != truth.events {
		w.failf("citizen %d: %d events in the history instead of %d", citizen, events, truth.events)
	}
	for _, r := range records {
		kind, _, _ := strings.Cut(string(r.Key), "/")
		proof := slices.Contains([]string{"h", "d", "o", "i", "s"}, kind)
		if slices.Contains([]string{"q", "x", "?"}, kind) || truth.life > 0 && truth.profile.Version == 0 && !proof {
			w.failf("citizen %d: %q is left", citizen, r.Key)
		}
		if w.plan.plain && !proof {
			for _, m := range w.inbox[citizen] {
				if m.life < truth.life && strings.Contains(string(r.Value), m.marker+":") {
					w.failf("citizen %d: %s is still on the disk", citizen, m.marker)
				}
			}
		}
	}
}

// judgeMessage looks at what became of a message's deliveries.
func (w *world) judgeMessage(ctx context.Context, m *message) {
	rec, err := w.oracle.Explain(ctx, citizenCode(m.citizen), m.id)
	if err != nil {
		w.failf("%s: explain: %v", m.marker, err)
		return
	}
	outcomes := map[appio.DeliveryID][]appio.DeliveryOutcome{}
	current := m.life == last(w.citizenTruths[m.citizen]).life
	for _, o := range rec.Outcomes {
		outcomes[o.ID] = append(outcomes[o.ID], o)
		w.counts["outcomes"]++
		tried := func(is func(a *attempt) bool) bool { return slices.ContainsFunc(w.byDelivery[o.ID], is) }
		switch {
		case o.Result == appio.OutcomeDelivered && !tried(func(a *attempt) bool { return a.end != 0 && a.err == nil && !a.cut }):
			w.failf("%s: %s counts as delivered, and no channel said so", m.marker, o.ID)
		case o.Result == appio.OutcomeExpired && !w.plan.leaps && o.At.Sub(rec.At)+w.longestWait(o.ID) < time.Hour-w.plan.skew:
			w.failf("%s: %s by %s has expired %v after it was sent", m.marker, o.ID, o.Channel, o.At.Sub(rec.At))
		case o.Result == appio.OutcomeParked && o.Cause == "":
			w.failf("%s: %s was parked without a cause", m.marker, o.ID)
		case o.Result == appio.OutcomeVoid && o.Cause == "read" && o.Channel == byAddress && m.standsIn && m.known:
			w.counts["read in time"]++
		case o.Result == appio.OutcomeVoid && (o.Cause == "nothing-left" || o.Cause == "left-out") && o.Digest != "" &&
			(m.known || w.plan.leaps || o.At.Sub(m.digest) > time.Hour-w.plan.skew):
			w.counts["left out"]++
		case o.Result == appio.OutcomeVoid && current && !w.everRefused(m, o.Channel):
			w.failf("%s: %s by %s is void (%s), and was never refused", m.marker, o.ID, o.Channel, o.Cause)
		case o.Result == appio.OutcomeGone && !tried(func(a *attempt) bool { return a.err != nil }):
			w.failf("%s: %s is gone, and was never tried", m.marker, o.ID)
		}
	}
	if len(outcomes) != m.wanted && current {
		w.failf("%s: %d deliveries are over, of %d: %v", m.marker, len(outcomes), m.wanted, rec)
	}
	for _, id := range slices.Sorted(maps.Keys(outcomes)) {
		w.judgeOutcomes(m, id, outcomes[id])
	}
}

// judgeOutcomes looks at what is known of one delivery: one end, but for what was parked and replayed, and for what a channel
// said too late.
func (w *world) judgeOutcomes(m *message, id appio.DeliveryID, known []appio.DeliveryOutcome) {
	delivered := slices.ContainsFunc(known, func(o appio.DeliveryOutcome) bool { return o.Result == appio.OutcomeDelivered || o.Cause == "left-out" })
	ends := slices.DeleteFunc(slices.Clone(known), func(o appio.DeliveryOutcome) bool { return o.Late || o.Result == appio.OutcomeParked })
	if len(ends) > 1 {
		w.failf("%s: %s has %d ends: %v", m.marker, id, len(ends), known)
	}
	for _, a := range w.byDelivery[id] {
		late := a.ended.Sub(a.began) > deliverTimeout // whoever gave it up may be gone
		if a.end != 0 && a.err == nil && !late && !a.lost && !a.life.failed && !delivered && !w.unrecorded(a, nil) {
			w.failf("%s: %s was delivered by %v and counts as %v", m.marker, id, a.life, known)
		}
	}
}

// everRefused reports whether there was a moment since a message was accepted at which a channel was refused.
func (w *world) everRefused(m *message, channel string) bool {
	d := &appio.Delivery{Channel: channel, Content: appio.Generic, Service: serviceID(m.service)}
	cs, ss := w.citizenTruths[m.citizen], w.serviceTruths[m.service]
	for i := at(cs, m.stamp, func(t *citizenTruth) int { return t.stamp }); i < len(cs); i++ {
		for j := at(ss, m.stamp, func(t *serviceTruth) int { return t.stamp }); j < len(ss); j++ {
			if len(cs[i].profile.Addresses) > 0 {
				d.Address = cs[i].profile.Addresses[0]
			}
			if w.shows(&cs[i], ss[j].service, m.secure, d) == appio.None {
				return true
			}
		}
	}
	return false
}
