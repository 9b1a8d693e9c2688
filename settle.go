package appio

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/appio-go/appio/internal/failpoint"
	"github.com/appio-go/appio/store"
)

// What is heard of a notice is kept by an owner of its own, with hints to the citizens who have it: its debtors. News goes to the
// notice first, in one change with a task to spread it; the task then tells each debtor's bill. A new bill goes the other way: with it
// an effect is written, which makes the citizen a debtor of the notice, and brings back what was heard before. Whichever comes
// first, whatever is repeated and wherever a crash falls, each bill ends at the same news, because news are merged by over.

// over reports whether r stands, and o does not, where both were heard, in whichever order. Paid is for good, and of two payments the
// first counts; otherwise the latest stands.
func (r *newsRecord) over(o *newsRecord) bool {
	if o == nil {
		return true
	}
	switch paid := r.State == Paid; {
	case paid != (o.State == Paid):
		return paid
	case r.At != o.At:
		return (r.At > o.At) != paid
	case r.State != o.State:
		return paymentRank[r.State] > paymentRank[o.State]
	default:
		return r.Event < o.Event
	}
}

var paymentRank = map[PaymentState]int{Unpaid: 1, Paying: 2, Expired: 3, Cancelled: 4, Paid: 5}

// keepNews is how long news is kept for bills that come after it.
const keepNews = 400 * 24 * time.Hour

// Settle takes news from the gateway's side to every citizen who has the notice, by messages or from paper, before or after the
// message itself came; news that came before are kept for 400 days. When it returns nil, the news is safe; Run or Flush brings it
// to the citizens. Events may come in any order, and repeatedly: Paid is for good, and otherwise the event with the latest
// time stands. A time in the future counts as now. ErrUnsupported without Options.Payments.
func (e *Engine) Settle(ctx context.Context, ev PaymentEvent) error {
	if e.opts.Payments == nil {
		return unsupported("Options.Payments")
	}
	if err := ev.validate(); err != nil {
		return err
	}
	return e.settleNews(ctx, &ev, false)
}

// settleNews keeps news, and has them spread. With asked they are an answer of the gateway, which says the same as often as anybody
// asks: that is only told where it is another state.
func (e *Engine) settleNews(ctx context.Context, ev *PaymentEvent, asked bool) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	if soon := e.now().Add(e.opts.MaxSkew); ev.At.After(soon) { // or it would stand against all that is heard until then
		ev.At = soon
	}
	news := &newsRecord{ev.State, toMicro(micro(ev.At)), ev.ID}
	return e.do(ctx, &op{
		owner: e.codec.notice(ev.RPTID), keys: []store.Key{keyNews},
		apply: func(tx *draft) error {
			before, err := tx.readNews()
			if err != nil || !news.over(before) || asked && before != nil && before.State == news.State {
				return err
			}
			now := micro(e.now())
			err = tx.putSealed(store.Record{Key: keyNews, Lane: cleanUpLane(tx.owner), Due: now.Add(keepNews)}, news)
			if err != nil {
				return err
			}
			return tx.putSealed(store.Record{Key: keySpread, Lane: effectLane(tx.owner), Due: now}, &spreadRecord{})
		},
	})
}

// readNews is what was heard of a notice; nil: nothing, or what cannot be read, which the next news replaces.
func (d *draft) readNews() (*newsRecord, error) {
	r := d.get(keyNews)
	if r == nil {
		return nil, nil
	}
	n := &newsRecord{}
	if err := d.open(r, n); errors.Is(err, store.ErrCorrupt) {
		d.quarantine(r)
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return n, nil
}

// effectsAtOnce is how many debtors, about, are told in one go: what there is to do has no bound, what is held in memory has.
const effectsAtOnce = 2048

// effects does what is in the lanes of effects, and reports whether anything was done, and whether there may be more. None of it has to
// wait for a time: they are in the order of time, and one of before the clock was put back is not left until then.
func (d *dispatcher) effects(ctx context.Context) (some, more bool, err error) {
	lanes, err := d.read(ctx, laneEffect, effectLanes, farFuture)
	if err != nil {
		return false, false, err
	}
	moved := map[store.Lane]int{}
	var refused error
	do := func(all []*effect, first []*op) {
		d.e.tell(ctx, all, first)
		for _, f := range all {
			switch {
			case f.err == nil:
				some = some || f.moved
				moved[f.rec.Lane]++
			case refusal(f.err):
				refused = f.err
			case !errors.Is(f.err, ErrBusy) && ctx.Err() == nil: // a Run that is told to end leaves it to the next, and nothing has failed
				d.e.log().Error("an effect on another owner could not be passed on, and will be", "err", f.err)
			}
		}
	}
	var all []*effect
	var first []*op
	for _, recs := range lanes {
		for _, rec := range recs {
			f := &effect{e: d.e, rec: rec}
			ops, err := f.first(ctx)
			f.err, f.ops = err, len(ops)
			if all, first = append(all, f), append(first, ops...); len(first) >= effectsAtOnce {
				do(all, first)
				all, first = nil, nil
			}
		}
	}
	if len(all) > 0 {
		do(all, first)
	}
	return some, d.advance(lanes, moved), refused
}

// tell does some effects: first what tells others, and where that came through, the end of each.
func (e *Engine) tell(ctx context.Context, all []*effect, first []*op) {
	_ = failpoint.Hit("effects/tell")
	errs := e.writer.do(ctx, first...)
	var then []*op
	var of []*effect
	for _, f := range all {
		f.err = errors.Join(append(errs[:f.ops:f.ops], f.err)...)
		if errs = errs[f.ops:]; f.err == nil {
			then, of = append(then, f.then()), append(of, f)
		}
	}
	_ = failpoint.Hit("effects/told")
	for i, err := range e.writer.do(ctx, then...) {
		of[i].err = err
	}
}

// An effect is one due record of an effect lane: a citizen's new bill, of which its notice is to know, news of a notice, of which its
// debtors are, or a change of consent, of which the subscriptions feed is. First others are told, then the record goes.
type effect struct {
	e     *Engine
	rec   store.Record
	ops   int // that tell others
	err   error
	moved bool
	apply func(tx *draft) error // once they are told, where the record is still the same
	keys  func() []store.Key    // that apply needs, beside the record's
}

func (f *effect) first(ctx context.Context) ([]*op, error) {
	f.keys = func() []store.Key { return nil }
	c := f.e.codec.of(f.rec.Owner)
	var err error
	switch {
	case f.rec.Key == keySpread:
		var s spreadRecord
		if err = c.open(&f.rec, &s); err == nil {
			return f.spread(ctx, &s)
		}
	case strings.HasPrefix(string(f.rec.Key), prefixFeed):
		var r feedRecord
		if err = c.open(&f.rec, &r); err == nil {
			return f.feed(ctx, &r)
		}
	default:
		var r effectRecord
		if err = c.open(&f.rec, &r); err == nil {
			return f.introduce(&r), nil
		}
	}
	if !errors.Is(err, store.ErrCorrupt) {
		return nil, err
	}
	f.apply = func(tx *draft) error {
		tx.quarantine(tx.get(f.rec.Key))
		return nil
	}
	return nil, nil
}

// introduce makes a citizen a debtor, and has the bill hear what was heard before. The debtor is written anew if there was one, so that
// who is about to forget it does not.
func (f *effect) introduce(r *effectRecord) []*op {
	var news *newsRecord
	bill := store.Key(r.Bill)
	f.keys = func() []store.Key { return []store.Key{keyTombstone, keyDataKey, keyProfile, bill} }
	f.apply = func(tx *draft) error {
		tx.del(f.rec.Key)
		if news == nil {
			return nil
		}
		return tx.hear(bill, news, micro(f.e.now()))
	}
	return []*op{{
		owner: store.Owner(r.Notice), keys: []store.Key{keyNews},
		apply: func(tx *draft) (err error) {
			if news, err = tx.readNews(); err != nil {
				return err
			}
			return tx.putDebtor(&debtorRecord{string(f.rec.Owner), r.Bill}, micro(f.e.now()))
		},
	}}
}

// spreadPage is how many debtors of a notice are told at once.
const spreadPage = 64

// spread tells a page of debtors. One that has no such bill any more is forgotten.
func (f *effect) spread(ctx context.Context, s *spreadRecord) (ops []*op, err error) {
	page := all(prefixDebtor, spreadPage)
	page.From = max(page.From, store.Key(s.From))
	d, err := f.e.view(ctx, f.rec.Owner, page, "", keyNews)
	if err != nil {
		return nil, err
	}
	news, err := d.readNews()
	if err != nil {
		return nil, err
	}
	var told []*store.Record
	gone := make([]bool, len(d.ranged))
	for i := range d.ranged {
		var r debtorRecord
		if err := d.open(&d.ranged[i], &r); errors.Is(err, store.ErrCorrupt) {
			continue // who checks the store learns of it
		} else if err != nil {
			return nil, err
		}
		if news == nil {
			break
		}
		ops = append(ops, f.e.hearOp(store.Owner(r.Citizen), store.Key(r.Bill), news, &gone[len(told)]))
		told = append(told, &d.ranged[i])
	}
	f.keys = func() (keys []store.Key) {
		for i, r := range told {
			if gone[i] {
				keys = append(keys, r.Key)
			}
		}
		return keys
	}
	f.apply = func(tx *draft) error {
		for i, r := range told {
			if gone[i] && tx.has(*r) {
				tx.del(r.Key)
			}
		}
		if len(d.ranged) < spreadPage {
			tx.del(f.rec.Key)
			return nil
		}
		next := spreadRecord{From: string(d.ranged[len(d.ranged)-1].Key) + "\x00"}
		return tx.putSealed(store.Record{Key: f.rec.Key, Lane: f.rec.Lane, Due: f.rec.Due}, &next)
	}
	return ops, nil
}

// hearOp tells a citizen's bill, and says whether there is none.
func (e *Engine) hearOp(citizen store.Owner, bill store.Key, news *newsRecord, gone *bool) *op {
	return &op{
		owner: citizen, keys: []store.Key{keyTombstone, keyDataKey, keyProfile, bill},
		apply: func(tx *draft) error {
			if *gone = tx.get(bill) == nil; *gone {
				return nil
			}
			return tx.hear(bill, news, micro(e.now()))
		},
	}
}

// then ends the effect. It is nothing if the record has changed meanwhile: then there is newer news, or another has done it.
func (f *effect) then() *op {
	return &op{
		owner: f.rec.Owner, keys: append(f.keys(), f.rec.Key), most: spreadPage + 2,
		apply: func(tx *draft) error {
			if f.moved = tx.has(f.rec); !f.moved {
				return nil
			}
			return f.apply(tx)
		},
	}
}

// keepDebtor is after how long it is looked whether a debtor still has the bill.
const keepDebtor = keepNews

func (d *draft) putDebtor(r *debtorRecord, now time.Time) error {
	return d.putSealed(store.Record{Key: prefixDebtor + store.Key(r.Citizen), Lane: cleanUpLane(d.owner), Due: now.Add(keepDebtor)}, r)
}

// stillOwes looks whether the citizen of a debtor still has the bill. A bill that comes after the look makes the citizen a debtor anew.
func (e *Engine) stillOwes(ctx context.Context, r *debtorRecord) (bool, error) {
	d, err := e.view(ctx, store.Owner(r.Citizen), store.Range{}, "", store.Key(r.Bill))
	if err != nil {
		return false, err
	}
	return d.get(store.Key(r.Bill)) != nil, nil
}
