package appio

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/failpoint"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

// Clean-up is work on a citizen's records that goes on in pages of 256 after a change that had to be small: what is pending and
// no longer allowed, what an erasure leaves, what has passed its time. A task is a record in a lane of its own kind, and so
// survives a crash; each page is one change, with the task's place in it.
const (
	taskVoid  store.Key = prefixCleanUp + "void"
	taskErase store.Key = prefixCleanUp + "erase"
	taskTrim  store.Key = prefixCleanUp + "trim"
	taskFeed  store.Key = prefixCleanUp + "feed"  // of a part of a day's feed: its time is over
	taskEnded store.Key = prefixCleanUp + "ended" // of an organization: its agreement has

	cleanUpPage = 256
)

// putCleanUp makes a task due at a time. One that is there already starts anew.
func (d *draft) putCleanUp(task store.Key, c cleanUpRecord, at int64) error {
	return d.putSealed(store.Record{Key: task, Lane: cleanUpLane(d.owner), Due: fromMicro(at)}, &c)
}

// putErasure is the first change of an erasure: from it on, nothing of the person can be read and nothing is sent.
func (d *draft) putErasure(at int64) error {
	if err := d.putSealed(store.Record{Key: keyTombstone}, &tombstoneRecord{at}); err != nil {
		return err
	}
	d.del(keyDataKey)
	d.del(keyProfile)
	if planted != "listed-left" {
		d.del(keyListed)
	}
	d.personal = nil
	if err := d.beginDeletion(at); err != nil {
		return err
	}
	return d.putCleanUp(taskErase, cleanUpRecord{}, at)
}

// Erase removes what is kept about the citizen, but for the proof of lawful sends: the history of consent, and the decisions,
// which hold no code, address or text (GDPR art. 17(3)(e)). When Erase returns nothing of it can be read any more and nothing is
// sent: see [InFlightError]. The records themselves go in pages, while Run or Flush works; enrolment meanwhile is ErrErasing.
// It asks for a login at L2. Who wants a time in which it can be taken back uses [Citizen.RequestData].
func (c *Citizen) Erase(ctx context.Context) error {
	owner, err := c.begin(ctx)
	if err != nil {
		return err
	}
	if c.id.Level < L2 {
		return fmt.Errorf("%w: erasure asks for a login at level 2", ErrForbidden)
	}
	return c.e.changeConsent(ctx, owner, consentChange{by: ByCitizen, id: c.id, erase: true})
}

// erasedPrefixes are what an erasure deletes, in this order; with prefixDocument go the documents that its records name. What is not
// here is proof, or goes at its time; open work, which says nothing of the person, is ended by taskVoid and by who holds it, so that a
// lease stands until its holder is done.
var erasedPrefixes = []string{prefixMessage, prefixPreference, prefixActivation, prefixParked, prefixBill, prefixReceipt, prefixDigest, prefixReminder, prefixQuarantine, string(taskTrim), string(keyDownload),
	prefixDocument, prefixTally}

// cleanUp does what is due in the clean-up lanes, a page of each task, and reports whether anything was done, and whether there may
// be more.
func (d *dispatcher) cleanUp(ctx context.Context, until time.Time) (some, more bool, err error) {
	d.e.writeUses(ctx)
	lanes, err := d.read(ctx, laneCleanUp, cleanUpLanes, until)
	if err != nil {
		return false, false, err
	}
	var ops []*op
	var of []store.Lane
	var done []*bool
	var turn time.Duration
	for i := range store.Lane(cleanUpLanes) {
		lane := laneCleanUp + i
		for _, r := range lanes[lane] {
			if r.Key == keyDeletion { // what has read consent, and not begun to send, goes back
				d.e.gates.close(r.Owner)
				defer d.e.gates.open(r.Owner, true)
			}
			did := new(bool)
			if o := d.e.cleanUpOp(ctx, r, did, &turn); o != nil {
				ops, of, done = append(ops, o), append(of, lane), append(done, did)
			}
		}
	}
	if len(ops) > 0 {
		_ = failpoint.Hit("cleanup/page")
	}
	moved := map[store.Lane]int{}
	var refused error
	for i, err := range d.e.writer.do(ctx, ops...) {
		switch {
		case err == nil && *done[i]:
			_ = failpoint.Hit("cleanup/done")
			some = true
			moved[of[i]]++
		case err == nil:
		case refusal(err):
			refused = err
		case !errors.Is(err, ErrBusy):
			d.e.log().Error("a clean-up failed and will be tried again", "err", err)
		}
	}
	return some, d.advance(lanes, moved), refused
}

// cleanUpOp is the next page of what a due record asks for; nil: it cannot be done now. did is set if it changed anything;
// turn is what removeDocuments has.
func (e *Engine) cleanUpOp(ctx context.Context, rec store.Record, did *bool, turn *time.Duration) *op {
	o := &op{owner: rec.Owner, keys: []store.Key{rec.Key}}
	// guarded skips what is no longer as it was when it was due, and puts aside what cannot be read.
	guarded := func(page func(tx *draft, c *cleanUpRecord) error) func(*draft) error {
		return func(tx *draft) error {
			now := tx.get(rec.Key)
			if now == nil || !tx.has(rec) && planted != "erasure-skips" { // also where another is due at the very same moment
				return nil
			}
			var c cleanUpRecord
			if err := tx.open(now, &c); errors.Is(err, store.ErrCorrupt) {
				tx.quarantine(now)
				return nil
			} else if err != nil {
				return err
			}
			return page(tx, &c)
		}
	}
	var at cleanUpRecord
	_ = e.codec.of(rec.Owner).open(&rec, &at) // guarded reads it again, and says what is wrong
	switch rec.Key {
	case taskVoid:
		if err := e.voidPending(ctx, rec.Owner, at.From); err != nil {
			e.log().Error("pending work could not be looked through, and will be", "err", err)
			return nil
		}
		o.apply = guarded(func(tx *draft, c *cleanUpRecord) error {
			tx.del(rec.Key)
			return nil
		})
	case keyDeletion:
		o = e.deletionOp(rec)
	case taskEnded:
		if err := e.stopAll(ctx, rec.Owner, at, false); err != nil {
			e.log().Error("services whose organization has no agreement could not be stopped, and will be", "err", err)
			return nil
		}
		o.apply = guarded(func(tx *draft, c *cleanUpRecord) error {
			tx.del(rec.Key)
			return nil
		})
	case taskFeed:
		o.rng = store.Range{To: prefixCleanUp, Limit: cleanUpPage, KeysOnly: true}
		o.most = cleanUpPage + 1
		o.apply = guarded(func(tx *draft, c *cleanUpRecord) error {
			tx.feedErased(rec.Key)
			return nil
		})
	case taskErase:
		o.keys = append(o.keys, keyDeletion)
		if at.Step < len(erasedPrefixes) {
			o.rng = all(erasedPrefixes[at.Step], cleanUpPage)
			o.rng.KeysOnly = true
		}
		if at.Step < len(erasedPrefixes) && erasedPrefixes[at.Step] == prefixDocument && planted != "document-left" { // the documents first: see erasedPrefixes
			n, all, err := e.removeDocuments(ctx, rec.Owner, o.rng, turn)
			if err != nil {
				e.log().Error("an erased person's documents could not be removed, and will be", "err", err)
			}
			if !all && n == 0 {
				return nil
			}
			if !all {
				o.rng.Limit = n
			}
		}
		o.most = cleanUpPage + 1
		o.apply = guarded(func(tx *draft, c *cleanUpRecord) error {
			return tx.erasePage(c, rec, o.rng.Limit, toMicro(e.now()))
		})
	case taskTrim:
		o.rng = store.Range{From: prefixMessage, To: store.Key(prefixEnd(prefixMessage)), Limit: 2*keepSandbox + 2*cleanUpPage, Descending: true, KeysOnly: true}
		bills, err := e.oldBills(ctx, rec.Owner, o.rng)
		if err != nil {
			e.log().Error("the sandbox's bills could not be read, and will be", "err", err)
			return nil
		}
		o.keys = append(append(o.keys, bills...), profileKeys...)
		o.most = 2*cleanUpPage + 1 + 3*len(bills)
		o.apply = guarded(func(tx *draft, c *cleanUpRecord) error { return tx.trimPage(rec, bills) })
	default: // what has passed its time; anything else does not belong here, and who reads it learns that it is damaged
		var debtor debtorRecord // that stays
		if isDebtor(&rec) && e.codec.of(rec.Owner).open(&rec, &debtor) == nil {
			owes, err := e.stillOwes(ctx, &debtor)
			if err != nil {
				e.log().Error("whether somebody still has a notice could not be read, and will be", "err", err)
				return nil
			}
			if !owes {
				debtor = debtorRecord{}
			}
		}
		var taken takenRecord // likewise
		if isTaken(&rec) && e.codec.of(rec.Owner).open(&rec, &taken) == nil {
			holds, err := e.stillTaken(ctx, rec.Owner, &taken)
			if err != nil {
				e.log().Error("whether somebody still has an address could not be read, and will be", "err", err)
				return nil
			}
			if !holds {
				taken = takenRecord{}
			}
		}
		var listed listedRecord // likewise
		if isListed(&rec) && e.codec.of(rec.Owner).open(&rec, &listed) == nil {
			if err := e.stillListed(ctx, rec.Owner, &listed); err != nil {
				e.log().Error("whether somebody is still on a list could not be read, and will be", "err", err)
				return nil
			}
		}
		o.apply = func(tx *draft) error {
			now := tx.get(rec.Key)
			if now == nil || !now.Due.Equal(rec.Due) || !perishes(&rec) || !e.counted(&rec) {
				return nil
			}
			if _, err := tx.payload(now); errors.Is(err, store.ErrCorrupt) {
				return nil
			} else if err != nil {
				return err
			}
			if debtor.Citizen != "" {
				return tx.putDebtor(&debtor, micro(e.now()))
			}
			if taken.Citizen != "" {
				return tx.putTaken(&taken, micro(e.now()))
			}
			if len(listed.Lists) > 0 {
				return tx.putListed(&listed, micro(e.now()))
			}
			tx.del(rec.Key)
			return nil
		}
	}
	page := o.apply
	o.apply = func(tx *draft) error {
		before := tx.count()
		err := page(tx)
		*did = tx.count() > before
		return err
	}
	return o
}

// perishes reports whether a record is of those that go when their time has passed.
func perishes(r *store.Record) bool {
	return strings.HasPrefix(string(r.Key), prefixDecision) || strings.HasPrefix(string(r.Key), prefixRepeat) || strings.HasPrefix(string(r.Key), prefixTally) || isDebtor(r) || isTaken(r) || isListed(r) ||
		r.Key == keyNews && strings.HasPrefix(string(r.Owner), noticeOwner)
}

func isDebtor(r *store.Record) bool {
	return strings.HasPrefix(string(r.Key), prefixDebtor) && strings.HasPrefix(string(r.Owner), noticeOwner)
}

func (d *draft) erasePage(c *cleanUpRecord, task store.Record, page int, now int64) error {
	if c.Step >= len(erasedPrefixes) {
		d.del(keyTombstone)
		d.del(task.Key)
		return d.endDeletion(now)
	}
	next := *c
	if len(d.ranged) < page {
		next.Step++
	}
	// The task first: see op.apply.
	if err := d.putCleanUp(task.Key, next, toMicro(task.Due)); err != nil {
		return err
	}
	for i := range d.ranged {
		d.del(d.ranged[i].Key)
	}
	return nil
}

// oldMessages are some of the sandbox's messages that are older than the newest ones it keeps, by its keys, and whether there are more.
func oldMessages(recs []store.Record) (old []MessageID, more bool) {
	messages := 0
	for i := range recs {
		if strings.HasSuffix(string(recs[i].Key), stateSuffix) {
			continue
		}
		if messages++; messages <= keepSandbox {
			continue
		}
		if len(old) == cleanUpPage/2 {
			return old, true
		}
		old = append(old, messageIDOf(recs[i].Key))
	}
	return old, false
}

// oldBills are the keys of the bills of the notices of old messages. What cannot be read has none.
func (e *Engine) oldBills(ctx context.Context, owner store.Owner, rng store.Range) (bills []store.Key, err error) {
	d, err := e.view(ctx, owner, rng, "")
	if err != nil {
		return nil, err
	}
	old, _ := oldMessages(d.ranged)
	keys := slices.Clone(profileKeys)
	for _, id := range old {
		keys = append(keys, messageKey(id))
	}
	if len(old) == 0 {
		return nil, nil
	}
	if d, err = e.view(ctx, owner, store.Range{}, "", keys...); err != nil {
		return nil, err
	}
	if _, err := d.readProfile(); err != nil {
		return nil, nil // the messages go all the same
	}
	for _, id := range old {
		var m messageRecord
		if found, err := d.read(messageKey(id), &m); err == nil && found && m.Payment != nil {
			n := m.Payment
			bills = append(bills, d.billKey(pagopa.RPTID{Creditor: fiscalcode.Organization(n.Payee), Notice: pagopa.NoticeNumber(n.Number)}))
		}
	}
	slices.Sort(bills)
	return slices.Compact(bills), nil
}

// trimPage deletes the sandbox's messages that are older than the newest ones it keeps, and those of some bills that no later message
// has.
func (d *draft) trimPage(task store.Record, bills []store.Key) error {
	old, more := oldMessages(d.ranged)
	if more {
		if err := d.putCleanUp(task.Key, cleanUpRecord{}, toMicro(task.Due)); err != nil {
			return err
		}
	} else {
		d.del(task.Key)
	}
	for _, id := range old {
		for _, k := range []store.Key{messageKey(id), stateKey(id), decisionKey(id), outcomeKey(id)} {
			d.del(k)
		}
	}
	if _, err := d.readProfile(); err != nil {
		return nil // nothing can be read of the bills either
	}
	for _, k := range bills {
		b, err := d.readBill(k)
		if err != nil || b == nil || len(b.Messages) == 0 || !slices.Contains(old, b.Messages[len(b.Messages)-1]) {
			continue
		}
		d.del(k)
		d.del(remindBillKey(k))
		if b.News != nil && b.News.State == Paid {
			d.del(receiptKey(k, b.News.At))
		}
	}
	return nil
}

// voidPending looks through a citizen's open work, ends what nobody holds and is no longer allowed, and sets anew when what waits for
// the end of quiet hours, or for a digest that is not wanted any more, is tried, in pages. It is not needed for safety, since consent is
// read again before each delivery: it makes the end visible at once, and what need not wait any more go.
func (e *Engine) voidPending(ctx context.Context, owner store.Owner, from string) error {
	for {
		var retimed atomic.Bool
		pages, err := e.voidPass(ctx, owner, &retimed)
		// Beyond one page, work may have been claimed behind the place that was being looked at.
		if err != nil || pages == 1 || !retimed.Load() {
			return err
		}
	}
}

// voidPass looks through all open work once, and says in how many pages.
func (e *Engine) voidPass(ctx context.Context, owner store.Owner, retimed *atomic.Bool) (pages int, err error) {
	rng := all(prefixWork, cleanUpPage)
	for {
		pages++
		d, err := e.view(ctx, owner, rng, "")
		if err != nil {
			return pages, err
		}
		byService := map[ServiceID][]MessageID{}
		for i := range d.ranged {
			r := &d.ranged[i]
			var w workRecord
			if d.open(r, &w) != nil { // it is put aside when it is due
				continue
			}
			if strings.HasPrefix(string(r.Key), prefixWaiting) || slices.ContainsFunc(w.Entries, func(en workEntry) bool { return !en.Held }) {
				byService[w.Service] = append(byService[w.Service], messageIDOf(r.Key))
			}
		}
		var ops []*op
		for _, id := range slices.Sorted(maps.Keys(byService)) {
			ops = append(ops, e.voidOp(owner, id, byService[id], retimed))
		}
		for _, err := range e.writer.do(ctx, ops...) {
			if err != nil {
				return pages, err
			}
		}
		if len(d.ranged) < rng.Limit {
			return pages, nil
		}
		rng.From = d.ranged[len(d.ranged)-1].Key + "\x00"
	}
}

// voidOp looks through the open work of some messages of one service.
func (e *Engine) voidOp(owner store.Owner, id ServiceID, work []MessageID, retimed *atomic.Bool) *op {
	keys := e.codec.of(owner).consentKeys(id)
	for _, m := range work {
		keys = append(keys, waitingKey(m), leasedKey(m), outcomeKey(m))
	}
	return &op{
		owner: owner, also: service(id), most: 3 * len(work), keys: keys,
		apply: func(tx *draft) error {
			cs, err := tx.readConsent(id)
			if err != nil {
				return err
			}
			svc, err := tx.service(id)
			if err != nil {
				return err
			}
			now := micro(e.now())
			for _, m := range work {
				var w workRecord
				k, err := tx.openWork(m, &w)
				if err != nil {
					continue
				}
				changed := false
				for i := 0; i < len(w.Entries); i++ {
					en := &w.Entries[i]
					if e.retime(&w, en, cs.profile, now) {
						retimed.Store(true)
						changed = true
					}
					if en.Held { // who holds it looks for itself
						continue
					}
					changed = w.hasten(en, cs, now) || changed
					content, _, why := e.permitted(cs, svc, owner, en.Channel, en.Address, w.Secure, now)
					if content != None || e.route(en.Channel) == nil {
						continue
					}
					if err := e.settle(tx, m, &w, i, result{kind: resultVoid, cause: why}, now); err != nil {
						return err
					}
					changed = true
					i--
				}
				if changed {
					if err := tx.putWork(keysOfWork(m), &w, k); err != nil {
						return err
					}
				}
			}
			return nil
		},
	}
}
