package appio

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/store"
)

// What is paused is one record of the store. Each engine has it in memory, where no delivery costs a read: one that is alone on its
// store changes it only itself, others read it again every second. An engine that could not for pauseBound begins no
// delivery, so that a pause holds everywhere once pauseBound has passed. In its own process it goes the way of a revocation: at the
// gates, where each delivery passes as it begins.
//
// Work that is paused stays where it is until it is due, and then stands in a lane of its own, which nobody looks at before something
// changes.

const (
	pauseBound = 5 * time.Second // until every engine on the store has seen a change
	pauseEvery = pauseBound / 5  // between looks
	maxPaused  = 1000            // services
)

// pauses are what is paused, as this engine knows it.
type pauses struct {
	set  atomic.Pointer[pauseRecord] // nil: nothing was ever; changed with gates.mu held
	seen atomic.Int64                // on the monotonic clock, from before it was last read
	lost atomic.Bool                 // the record is damaged
}

// since is when a delivery began to wait for a resume; 0: it does not.
func (p *pauses) since(channel string, id ServiceID) int64 {
	r := p.set.Load()
	if r == nil {
		return 0
	}
	return r.since(channel, id)
}

func (r *pauseRecord) since(channel string, id ServiceID) int64 {
	c, s := r.Channels[channel], r.Services[id]
	if c == 0 || s != 0 && s < c {
		return s
	}
	return c
}

// fresh reports whether what is known of pauses holds now.
func (e *Engine) fresh() bool {
	if e.pauses.lost.Load() {
		return false
	}
	return e.exclusive || e.mono()-time.Duration(e.pauses.seen.Load()) < pauseBound || planted == "pause-unseen"
}

// readPauses learns what is paused.
func (e *Engine) readPauses(ctx context.Context) error {
	before := e.mono()
	d, err := e.view(ctx, ownerMeta, store.Range{}, "", keyPaused)
	if err != nil {
		return err
	}
	r := &pauseRecord{}
	found, err := d.read(keyPaused, r)
	if errors.Is(err, store.ErrCorrupt) {
		if !e.pauses.lost.Swap(true) {
			e.log().Error("the record of what is paused is damaged, and nothing is delivered until something is paused or resumed")
		}
		return nil
	}
	if err != nil {
		return err
	}
	if found {
		e.gates.take(&e.pauses, r)
	}
	e.pauses.lost.Store(false)
	e.pauses.seen.Store(int64(before))
	return nil
}

// take puts what is paused into force, unless something as late is, which may have been read back before it is known to be stored, and
// returns the passes of what is being sent and is paused by it.
func (g *gates) take(p *pauses, r *pauseRecord) (sending []*pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if old := p.set.Load(); old == nil || old.Version < r.Version {
		p.set.Store(r)
	}
	if len(r.Channels)+len(r.Services) == 0 {
		return nil
	}
	for owner, t := range g.m {
		for _, s := range t.passes {
			if owner != s.owners[0] || !s.sending || r.since(s.delivery.Channel, s.delivery.Service) == 0 {
				continue
			}
			if s.done == nil {
				s.done = make(chan struct{})
			}
			sending = append(sending, s)
		}
	}
	return sending
}

// watchPauses reads what is paused again and again, where others may change it.
func (e *Engine) watchPauses(ctx context.Context) {
	for !e.exclusive && ctx.Err() == nil && planted != "pause-unseen" {
		if err := e.readPauses(ctx); err != nil && ctx.Err() == nil {
			e.log().Error("what is paused could not be read", "err", err)
		}
		pause(ctx, pauseEvery)
	}
}

// PauseService stops the deliveries of a service until [Engine.ResumeService], without refusing anything: it may go on sending, what
// it sends waits, loses no attempt and is not parked, and the time of the pause does not count for its TimeToLive. Citizens' choices
// hold meanwhile. When PauseService returns no delivery of the service begins any more, by any engine on the store; what this engine
// was sending is awaited, not cancelled: what still is after Options.RevokeWait is named by an [InFlightError]. A pause outlives the
// engine, and PutService. Where several engines can be on the store it takes five seconds. At most 1,000 services may be paused.
func (e *Engine) PauseService(ctx context.Context, id ServiceID) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	if _, err := e.readService(ctx, id); err != nil {
		return err
	}
	return e.changePauses(ctx, Operation{Name: "pause", Service: id}, func(r *pauseRecord, now int64) error {
		if r.Services[id] == 0 && len(r.Services) >= maxPaused {
			return invalid("ServiceID", "at most 1000 paused at a time")
		}
		return setPaused(&r.Services, id, now)
	})
}

// ResumeService lets the deliveries of a paused service go on: those that came meanwhile have their whole TimeToLive from now on. Every
// engine on the store does within five seconds; how fast is up to the channels, as always. A service that is not paused stays as
// it is.
func (e *Engine) ResumeService(ctx context.Context, id ServiceID) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	return e.changePauses(ctx, Operation{Name: "resume", Service: id}, func(r *pauseRecord, _ int64) error {
		delete(r.Services, id)
		return nil
	})
}

// PauseChannel is [Engine.PauseService] for all deliveries by a channel, of whatever service. A channel that this engine does not have
// is ErrNotFound.
func (e *Engine) PauseChannel(ctx context.Context, name string) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	if e.route(name) == nil {
		return fmt.Errorf("%w: no route has this name", ErrNotFound)
	}
	return e.changePauses(ctx, Operation{Name: "pause", Channel: name}, func(r *pauseRecord, now int64) error {
		return setPaused(&r.Channels, name, now)
	})
}

// ResumeChannel is [Engine.ResumeService] for a channel.
func (e *Engine) ResumeChannel(ctx context.Context, name string) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	return e.changePauses(ctx, Operation{Name: "resume", Channel: name}, func(r *pauseRecord, _ int64) error {
		delete(r.Channels, name)
		return nil
	})
}

func setPaused[K comparable](m *map[K]int64, k K, now int64) error {
	if *m == nil {
		*m = map[K]int64{}
	}
	if (*m)[k] == 0 {
		(*m)[k] = now
	}
	return nil
}

func (e *Engine) changePauses(ctx context.Context, what Operation, change func(r *pauseRecord, now int64) error) (err error) {
	end := e.observe(&ctx, what)
	defer func() { end(Outcome{Err: err}) }()
	var after *pauseRecord
	err = e.do(ctx, &op{owner: ownerMeta, keys: []store.Key{keyPaused}, urgent: true, apply: func(tx *draft) error {
		r := &pauseRecord{}
		if _, err := tx.read(keyPaused, r); errors.Is(err, store.ErrCorrupt) {
			tx.quarantine(tx.get(keyPaused))
			r = &pauseRecord{}
		} else if err != nil {
			return err
		}
		now := toMicro(e.now())
		after = &pauseRecord{max(r.Version+1, now), maps.Clone(r.Channels), maps.Clone(r.Services)}
		if err := change(after, now); err != nil {
			return err
		}
		return tx.putSealed(store.Record{Key: keyPaused}, after)
	}})
	if err != nil && !errors.Is(err, ErrUnknown) || after == nil {
		return err
	}
	if planted == "pause-late" {
		time.AfterFunc(50*time.Millisecond, func() { e.gates.take(&e.pauses, after) })
		return err
	}
	passes := e.gates.take(&e.pauses, after)
	e.pauses.lost.Store(false)
	e.lookSoon()
	if what.Name != "pause" || err != nil {
		return err
	}
	everywhere := time.NewTimer(pauseBound)
	defer everywhere.Stop()
	err = e.awaitPaused(ctx, passes)
	if !e.exclusive {
		select {
		case <-everywhere.C:
		case <-ctx.Done():
			err = errors.Join(err, context.Cause(ctx))
		}
	}
	return err
}

// awaitPaused waits until what was being sent has been.
func (e *Engine) awaitPaused(ctx context.Context, passes []*pass) error {
	own, _ := ctx.Value(groupKey{}).(*passGroup)
	limit, cancel := context.WithTimeout(ctx, e.opts.RevokeWait)
	defer cancel()
	left := &InFlightError{}
	for _, p := range passes {
		if own != nil && p.group == own {
			continue
		}
		select {
		case <-p.done:
			continue
		default:
		}
		select {
		case <-p.done:
		case <-limit.Done():
			left.Deliveries = append(left.Deliveries, p.delivery.ID)
		}
	}
	if len(left.Deliveries) > 0 {
		return left
	}
	return nil
}

// hold marks new deliveries that are paused when they could go. What is not known for sure is left to whoever claims them.
func (e *Engine) hold(service ServiceID, entries []workEntry, now time.Time) {
	if e.pauses.set.Load() == nil || !e.fresh() {
		return
	}
	for i := range entries {
		if entries[i].Next <= toMicro(now) && e.pauses.since(entries[i].Channel, service) != 0 {
			entries[i].Paused = toMicro(now)
		}
	}
}

// A pausedReader goes through what is paused, to find what is so no longer: once where something has changed, and now and then, since
// what was accepted before a resume may be stored after it.
type pausedReader struct {
	laneReader
	set   *pauseRecord // that it goes by
	going bool
	next  time.Duration // when it goes through again
}

const (
	pausedSoon  = 10 * time.Second
	pausedLater = 10 * time.Minute
)

// resume takes up a page of each lane of what is paused.
func (d *dispatcher) resume(ctx context.Context) (taken int, more bool, err error) {
	p := &d.paused
	now := d.e.mono()
	if set := d.e.pauses.set.Load(); set != p.set || p.next == 0 || now >= p.next {
		wait := pausedLater
		if set != p.set {
			wait = pausedSoon
			d.crowded = nil // what waits for one channel may go by another now
		}
		p.set, p.next, p.going = set, now+wait, true
		clear(p.after)
	}
	if !p.going {
		return 0, false, nil
	}
	lanes, err := p.read(ctx, lanePaused, deliveryLanes, farFuture)
	if err != nil {
		return 0, false, err
	}
	taken, _, err = d.claim(ctx, lanePaused, deliveryLanes, lanes)
	if err != nil {
		return taken, true, err
	}
	p.going = false
	for lane, recs := range lanes {
		after := store.Position{Due: farFuture}
		if len(recs) == pageSize {
			last := recs[len(recs)-1]
			after, p.going = store.Position{Due: last.Due, Owner: last.Owner, Key: last.Key}, true
		}
		p.after[lane] = after
	}
	return taken, p.going, nil
}

// Paused is what does not go out before it is resumed.
type Paused struct {
	Channels []string
	Services []ServiceID
}

// Paused is what is paused now, as the store says. Names are in order.
func (e *Engine) Paused(ctx context.Context) (Paused, error) {
	if err := e.ready(ctx); err != nil {
		return Paused{}, err
	}
	if !e.exclusive {
		if err := e.readPauses(ctx); err != nil {
			return Paused{}, err
		}
	}
	r := e.pauses.set.Load()
	if r == nil {
		return Paused{}, nil
	}
	return Paused{slices.Sorted(maps.Keys(r.Channels)), slices.Sorted(maps.Keys(r.Services))}, nil
}

// pausesError says why nothing is delivered where the record of what is paused is damaged.
func (e *Engine) pausesError() error {
	if e.pauses.lost.Load() {
		return fmt.Errorf("%w: the record of what is paused", store.ErrCorrupt)
	}
	return nil
}
