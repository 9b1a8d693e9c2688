package appio

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/appio-go/appio/store"
)

// Open work is claimed before it is done: a lease names the engine that holds it, with a number that no other claim has, and
// its end. An outcome counts only if its lease still stands. A delivery starts only if it can end, with a margin, before the
// lease does, by the holder's own monotonic clock counted from before the claim; another process takes work over only
// Options.MaxSkew after the end. So two engines do not send at once, however their clocks differ within MaxSkew and however long
// one of them stands still before its last look at the clock, which is the last thing before the channel is called.

// newLease is a lease of this engine from now on.
func (e *Engine) newLease(now time.Time) *leaseRecord {
	return &leaseRecord{Process: e.process, Boot: e.boot, Number: e.leases.Add(1), Until: toMicro(now.Add(e.opts.Lease))}
}

// takeOver is when other engines may take leased work.
func (e *Engine) takeOver(l *leaseRecord) time.Time {
	if planted == "no-skew" {
		return fromMicro(l.Until)
	}
	return fromMicro(l.Until).Add(e.opts.MaxSkew)
}

// ended reports whether leased work may be claimed. What this engine holds itself and has in memory is not, whatever the clock
// says: it may have stepped forward.
func (e *Engine) ended(l *leaseRecord, now time.Time) bool {
	switch {
	case l == nil:
		return true
	case l.Boot == e.boot:
		return (!e.held.has(l.Number) || planted == "held-forgotten") && !now.Before(e.takeOver(l))
	case e.exclusive:
		return true
	}
	return !now.Before(e.takeOver(l))
}

// heldLeases counts the items in memory under each lease of this engine.
type heldLeases struct {
	mu sync.Mutex
	m  map[uint64]int
}

func (h *heldLeases) add(number uint64, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m == nil {
		h.m = map[uint64]int{}
	}
	if h.m[number] += n; h.m[number] == 0 {
		delete(h.m, number)
	}
}

func (h *heldLeases) has(number uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.m[number] > 0
}

// recent reports whether a lease that was given before a moment may still stand.
func (e *Engine) recent(at time.Time) bool {
	return !at.IsZero() && e.now().Before(at.Add(e.opts.Lease+2*e.opts.MaxSkew))
}

func (l *leaseRecord) same(o *leaseRecord) bool {
	return l != nil && o != nil && l.Boot == o.Boot && l.Number == o.Number
}

// foreignWork is what other engines on the same store held when a revocation was stored and may be sending.
type foreignWork struct{ items []foreignItem }

type foreignItem struct {
	owner      store.Owner
	key        store.Key
	lease      leaseRecord
	deliveries []DeliveryID
}

func (f *foreignWork) pending() bool { return f != nil && len(f.items) > 0 }

func (f *foreignWork) deliveries() (ids []DeliveryID) {
	for _, i := range f.items {
		ids = append(ids, i.deliveries...)
	}
	return ids
}

// refresh forgets what is no longer held. What cannot be read stays.
func (f *foreignWork) refresh(ctx context.Context, e *Engine) {
	var left []foreignItem
	for _, i := range f.items {
		if !e.now().Before(e.takeOver(&i.lease)) {
			continue // its holder can send no more
		}
		d, err := e.view(ctx, i.owner, store.Range{}, "", i.key)
		if err != nil {
			left = append(left, i)
			continue
		}
		var w workRecord
		if found, err := d.read(i.key, &w); err != nil || found && w.Lease.same(&i.lease) || planted == "lease-sat-out" {
			left = append(left, i)
		}
	}
	f.items = left
}

// foreignOfCitizen lists what other engines hold of this citizen that was allowed before a change of consent and is not after.
// Where an earlier change, of which a call may have returned without having seen the end, is as recent as a lease can be old, it is
// all that may have been allowed then and is not now; likewise where consent has changed again since: what was allowed before is not
// known any more then.
func (e *Engine) foreignOfCitizen(ctx context.Context, owner store.Owner, changed ServiceID, before, after *consentState) (*foreignWork, error) {
	f := &foreignWork{}
	recent := e.recent(before.changed)
	rng := all(prefixLeased, 256)
	for {
		d, err := e.view(ctx, owner, rng, "")
		if err != nil {
			return nil, err
		}
		for i := range d.ranged {
			r := &d.ranged[i]
			var w workRecord
			if err := d.open(r, &w); errors.Is(err, store.ErrCorrupt) {
				continue // its holder cannot record an outcome either; Health counts it once it is due
			} else if err != nil {
				return nil, err
			}
			if !e.foreign(w.Lease) {
				continue
			}
			if after.profile == nil {
				e.addForeign(f, r, &w, func(*workEntry) bool { return true })
				continue
			}
			if !recent && changed != "" && w.Service != changed {
				continue
			}
			// The preference for this service under the old settings is still there.
			v, err := e.view(ctx, owner, newestEvent, service(w.Service), e.codec.of(owner).consentKeys(w.Service)...)
			if err != nil {
				return nil, err
			}
			recent := recent || v.changedSince(after)
			if p, err := v.readProfile(); err != nil {
				return nil, err
			} else if p == nil { // erased meanwhile: nothing is allowed any more
				e.addForeign(f, r, &w, func(*workEntry) bool { return true })
				continue
			}
			svc, err := v.service(w.Service)
			if err != nil {
				return nil, err
			}
			old, now, err := v.consentAround(w.Service, changed, before, after)
			if err != nil {
				return nil, err
			}
			e.addForeign(f, r, &w, func(en *workEntry) bool {
				was, to, _ := e.permitted(old, svc, owner, en.Channel, en.Address, w.Secure, e.now())
				is, at, _ := e.permitted(now, svc, owner, en.Channel, en.Address, w.Secure, e.now())
				if en.Reminder != "" && !after.profile.reminders().has(en.Reminder) &&
					(recent || before.profile != nil && before.profile.reminders().has(en.Reminder)) {
					return true
				}
				lately := recent || svc != nil && e.recent(fromMicro(svc.LoweredAt))
				if e.quietFor(now, svc, en.Channel) && (lately || !e.quietFor(old, svc, en.Channel)) {
					return true
				}
				if lately && (is < Full || at.ID != "" && e.recent(fromMicro(after.profile.address(at.ID).SetAt))) {
					return true
				}
				return is < was || was > None && at.Value != to.Value
			})
		}
		if len(d.ranged) < rng.Limit {
			return f, nil
		}
		rng.From = d.ranged[len(d.ranged)-1].Key + "\x00"
	}
}

// changedSince reports whether consent may have changed after a state of it. It reads newestEvent.
func (d *draft) changedSince(cs *consentState) bool {
	var last consentEvent
	return len(d.ranged) > 0 && (d.open(&d.ranged[0], &last) != nil || last.Number > cs.newest)
}

// consentAround is the consent for one service before and after a change.
func (d *draft) consentAround(id, changed ServiceID, before, after *consentState) (old, now *consentState, err error) {
	if id == changed {
		return before, after, nil
	}
	a := &activationRecord{}
	found, err := d.read(d.activationKey(id), a)
	if err != nil {
		return nil, nil, err
	}
	if !found {
		a = nil
	}
	state := func(p *profileRecord) (*consentState, error) {
		cs := &consentState{profile: p, activation: a}
		r := d.get(d.preferenceKey(id))
		if r == nil || p == nil {
			return cs, nil
		}
		pref := &preferenceRecord{}
		if err := d.open(r, pref); err != nil {
			return nil, err
		}
		if pref.SettingsVersion == p.SettingsVersion {
			cs.preference = pref
		}
		return cs, nil
	}
	if old, err = state(before.profile); err != nil {
		return nil, nil, err
	}
	now, err = state(after.profile)
	return old, now, err
}

// foreign reports whether another engine holds a lease that still stands.
func (e *Engine) foreign(l *leaseRecord) bool {
	return l != nil && l.Boot != e.boot && e.now().Before(e.takeOver(l))
}

func (e *Engine) addForeign(f *foreignWork, r *store.Record, w *workRecord, refused func(*workEntry) bool) {
	item := foreignItem{owner: r.Owner, key: r.Key, lease: *w.Lease}
	for i := range w.Entries {
		if en := &w.Entries[i]; en.Held && refused(en) {
			item.deliveries = append(item.deliveries, en.ID)
		}
	}
	if len(item.deliveries) > 0 {
		f.items = append(f.items, item)
	}
}

// foreignOfService lists what other engines hold of a service that has lost something, and may show more of than is allowed now.
func (e *Engine) foreignOfService(ctx context.Context, before *serviceRecord) (*foreignWork, error) {
	f := &foreignWork{}
	now := e.now()
	for _, lane := range []store.Lane{deliveryLane(before.ID), backlogLane(before.ID)} {
		if err := e.foreignInLane(ctx, f, before, lane, now); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (e *Engine) foreignInLane(ctx context.Context, f *foreignWork, before *serviceRecord, lane store.Lane, now time.Time) error {
	// Leased work is due when its lease may be taken over.
	q := store.DueQuery{
		Lanes: []store.Lane{lane}, Until: now.Add(e.opts.Lease + 2*e.opts.MaxSkew),
		After: store.Position{Due: micro(now)}, Limit: 256,
	}
	for {
		recs, err := e.store.Due(ctx, q)
		if err != nil {
			return err
		}
		for i := range recs {
			r := &recs[i]
			var w workRecord
			if err := e.codec.of(r.Owner).open(r, &w); err != nil || w.Service != before.ID || !e.foreign(w.Lease) {
				continue // what cannot be read is not sent either
			}
			d, err := e.viewConsent(ctx, r.Owner, w.Service)
			if err != nil {
				return err
			}
			cs, err := d.readConsent(w.Service)
			if err != nil {
				return err
			}
			svc, err := d.service(w.Service)
			if err != nil {
				return err
			}
			e.addForeign(f, r, &w, func(en *workEntry) bool {
				is, _, _ := e.permitted(cs, svc, r.Owner, en.Channel, en.Address, w.Secure, now)
				// What it may show less of now, it may have been claimed with more, and before it had to keep quiet hours.
				return is < Full || e.quietFor(cs, svc, en.Channel)
			})
		}
		if len(recs) < q.Limit {
			return nil
		}
		last := recs[len(recs)-1]
		q.After = store.Position{Due: last.Due, Owner: last.Owner, Key: last.Key}
	}
}
