package appio

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

func (c *ownerCodec) billKey(id pagopa.RPTID) store.Key {
	return prefixBill + store.Key(c.short(c.owner, "bill", id.String()))
}

// receiptKey is in the order of time, and of the same bill.
func receiptKey(bill store.Key, at int64) store.Key {
	return store.Key(fmt.Sprintf("%s%016x", prefixReceipt, at)) + bill[len(prefixBill):]
}

func (b *billRecord) rptID() pagopa.RPTID {
	return pagopa.RPTID{Creditor: fiscalcode.Organization(b.Creditor), Notice: pagopa.NoticeNumber(b.Notice)}
}

// keepMessages is how many messages a bill remembers.
const keepMessages = 100

// state is where the bill stands now, and since when: what was heard, what the citizen began here, and the day that passed.
func (b *billRecord) state(now int64) (s PaymentState, at int64) {
	s = Unpaid
	if b.News != nil {
		s, at = b.News.State, b.News.At
	}
	if (s == Unpaid || s == Paying) && b.Begun > at && now < b.Until {
		s, at = Paying, b.Begun
	}
	if s == Unpaid && b.over(now) {
		s, at = Expired, b.Due
	}
	return s, at
}

// over reports whether the day has passed after which the bill is not valid.
func (b *billRecord) over(now int64) bool { return b.Invalid && b.Due != 0 && now > b.Due }

func (b *billRecord) bill(now int64) Bill {
	s, at := b.state(now)
	return Bill{
		RPTID: b.rptID(), Amount: pagopa.Amount(b.Amount), Payee: b.Payee, Description: b.Text, Due: fromMicro(b.Due), State: s,
		StateAt: fromMicro(at), AddedAt: fromMicro(b.Added), Paper: b.Paper, Messages: slices.Clone(b.Messages),
	}
}

// readBill is the bill under a key; nil: there is none, or it is of an earlier life of this person.
func (d *draft) readBill(key store.Key) (*billRecord, error) {
	r := d.get(key)
	if r == nil {
		return nil, nil
	}
	b := &billRecord{}
	switch err := d.open(r, b); {
	case errors.Is(err, errShredded):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return b, nil
}

// putBill writes a bill; of a new one its notice is to know.
func (d *draft) putBill(key store.Key, b *billRecord, fresh bool, now time.Time) error {
	if err := d.putPersonal(store.Record{Key: key}, b); err != nil || !fresh {
		return err
	}
	return d.putSealed(store.Record{Key: prefixEffect + key[len(prefixBill):], Lane: effectLane(d.owner), Due: now},
		&effectRecord{string(d.notice(b.rptID())), string(key)})
}

// hear merges news into a bill, and keeps a receipt of what is paid. It needs the records that readProfile needs.
func (d *draft) hear(key store.Key, news *newsRecord, now time.Time) error {
	if d.get(keyTombstone) != nil {
		return nil
	}
	if p, err := d.readProfile(); errors.Is(err, store.ErrCorrupt) {
		return nil // it must not hold up the notice's other debtors; who checks the store learns of it
	} else if err != nil || p == nil {
		return err
	}
	b, err := d.readBill(key)
	if errors.Is(err, store.ErrCorrupt) {
		d.quarantine(d.get(key))
		return nil
	}
	if err != nil || b == nil || !news.over(b.News) {
		return err
	}
	before := b.News
	b.News = news
	if err := d.putPersonal(store.Record{Key: key}, b); err != nil {
		return err
	}
	if before != nil && before.State == Paid {
		d.del(receiptKey(key, before.At))
	}
	if news.State != Unpaid && news.State != Paying {
		d.del(remindBillKey(key))
	}
	if news.State != Paid {
		return nil
	}
	r := &receiptRecord{b.Creditor, b.Notice, b.Amount, b.Payee, b.Text, news.At, news.Event, ""}
	if n := len(b.Messages); n > 0 {
		r.Message = b.Messages[n-1]
	}
	if b.Service != "" && (before == nil || before.State != Paid) {
		if err := d.putTally(tallyPaid, string(key[len(prefixBill):]), b.Service, "", now); err != nil {
			return err
		}
	}
	return d.putPersonal(store.Record{Key: receiptKey(key, news.At)}, r)
}

// addMessage makes a bill of a message's notice, or adds the message to one: what it says counts, as the latest.
func (b *billRecord) addMessage(id MessageID, m *messageRecord, payee string) {
	n := m.Payment
	b.Creditor, b.Notice, b.Amount, b.Due, b.Invalid, b.Service = n.Payee, n.Number, n.Amount, m.Due, n.Invalid, m.Service
	if payee != "" {
		b.Payee = payee
	}
	if b.Text == "" {
		b.Text = m.Subject
	}
	if b.Messages = append(b.Messages, id); len(b.Messages) > keepMessages {
		b.Messages = slices.Delete(b.Messages, 0, len(b.Messages)-keepMessages)
	}
}

// Bills are all notices that the citizen has, of messages and from paper: the unpaid first, in the order of their due dates, and
// those without one after them; then the others, the latest first.
func (c *Citizen) Bills(ctx context.Context) ([]Bill, error) {
	owner, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	var bills []Bill
	now := toMicro(c.e.now())
	for b, err := range c.billRecords(ctx, owner) {
		if err != nil {
			return nil, err
		}
		bills = append(bills, b.bill(now))
	}
	slices.SortFunc(bills, func(a, b Bill) int {
		open := func(b Bill) bool { return b.State == Unpaid || b.State == Paying }
		switch {
		case open(a) != open(b):
			if open(a) {
				return -1
			}
			return 1
		case !open(a):
			return b.StateAt.Compare(a.StateAt)
		case a.Due.IsZero() != b.Due.IsZero():
			if b.Due.IsZero() {
				return -1
			}
			return 1
		case !a.Due.Equal(b.Due):
			return a.Due.Compare(b.Due)
		}
		return a.AddedAt.Compare(b.AddedAt)
	})
	return bills, nil
}

// billRecords yields the bills of a person, by pages, and at most one error, last.
func (c *Citizen) billRecords(ctx context.Context, owner store.Owner) iter.Seq2[*billRecord, error] {
	return func(yield func(*billRecord, error) bool) {
		for rng := all(prefixBill, 256); ; {
			d, err := c.viewPersonal(ctx, owner, rng)
			if err != nil {
				yield(nil, err)
			}
			if err != nil || d == nil {
				return
			}
			for i := range d.ranged {
				b := &billRecord{}
				if err := d.open(&d.ranged[i], b); errors.Is(err, store.ErrCorrupt) { // Check finds it, and what is heard next puts it aside
					continue
				} else if err != nil {
					yield(nil, err)
					return
				}
				if !yield(b, nil) {
					return
				}
			}
			if len(d.ranged) < rng.Limit {
				return
			}
			rng.From = d.ranged[len(d.ranged)-1].Key + "\x00"
		}
	}
}

// viewPersonal reads what a person has; nil: nothing, as there is no such person.
func (c *Citizen) viewPersonal(ctx context.Context, owner store.Owner, rng store.Range, keys ...store.Key) (*draft, error) {
	d, err := c.e.view(ctx, owner, rng, "", append(slices.Clip(keys), profileKeys...)...)
	if err != nil {
		return nil, err
	}
	if d.get(keyTombstone) != nil {
		return nil, ErrErasing
	}
	p, err := d.readProfile()
	if err != nil || p == nil {
		return nil, err
	}
	return d, nil
}

// Bill is one notice of the citizen, or ErrNotFound.
func (c *Citizen) Bill(ctx context.Context, id pagopa.RPTID) (Bill, error) {
	owner, err := c.begin(ctx)
	if err != nil {
		return Bill{}, err
	}
	if !id.Valid() {
		return Bill{}, invalid("RPTID", "a creditor's code and a notice number")
	}
	key := c.e.codec.of(owner).billKey(id)
	d, err := c.viewPersonal(ctx, owner, store.Range{}, key)
	if err != nil {
		return Bill{}, err
	}
	if d == nil {
		return Bill{}, ErrNotFound
	}
	b, err := d.readBill(key)
	if err != nil {
		return Bill{}, err
	}
	if b == nil {
		return Bill{}, ErrNotFound
	}
	return b.bill(toMicro(c.e.now())), nil
}

// addStates says of messages with notices where their payments stand.
func (c *Citizen) addStates(ctx context.Context, owner store.Owner, ms []InboxMessage) error {
	bills, err := c.billsOf(ctx, owner, ms)
	now := toMicro(c.e.now())
	for i, b := range bills {
		if b != nil {
			state, since := b.state(now)
			ms[i].PaymentState, ms[i].PaymentAt = state, fromMicro(since)
		}
	}
	return err
}

// billsOf are the bills of messages' notices, by index. They are looked up by what the messages say. Nil: there is nothing to pay, or
// the notice is not followed, or was sent before notices were. All of it may be nil.
func (c *Citizen) billsOf(ctx context.Context, owner store.Owner, ms []InboxMessage) ([]*billRecord, error) {
	if c.e.opts.Payments == nil {
		return nil, nil
	}
	codec := c.e.codec.of(owner)
	at := map[store.Key][]int{}
	var keys []store.Key
	for i, m := range ms {
		if n := m.Payment; n != nil {
			k := codec.billKey(pagopa.RPTID{Creditor: n.Payee, Notice: n.Number})
			if at[k] == nil {
				keys = append(keys, k)
			}
			at[k] = append(at[k], i)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	d, err := c.viewPersonal(ctx, owner, store.Range{}, keys...)
	if err != nil || d == nil {
		return nil, err
	}
	bills := make([]*billRecord, len(ms))
	for _, k := range keys {
		b, err := d.readBill(k)
		if err != nil && !errors.Is(err, store.ErrCorrupt) { // the message is whole, and is shown
			return nil, err
		}
		for _, i := range at[k] {
			bills[i] = b
		}
	}
	return bills, nil
}

// paid is whether the notice of a message is paid; nil: there is none, or it is not followed.
func (e *Engine) paid(ctx context.Context, d *draft, m *messageRecord) (*bool, error) {
	if m.Payment == nil || e.opts.Payments == nil {
		return nil, nil
	}
	id := pagopa.RPTID{Creditor: fiscalcode.Organization(m.Payment.Payee), Notice: pagopa.NoticeNumber(m.Payment.Number)}
	key := d.billKey(id)
	d, err := e.view(ctx, d.owner, store.Range{}, "", append([]store.Key{key}, profileKeys...)...)
	if err != nil {
		return nil, err
	}
	if p, err := d.readProfile(); err != nil || p == nil {
		return nil, err
	}
	b, err := d.readBill(key)
	if errors.Is(err, store.ErrCorrupt) || err == nil && b == nil {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	paid := b.News != nil && b.News.State == Paid
	return &paid, nil
}

// Payments lists what the citizen paid, newest first, as far as it was heard of.
func (c *Citizen) Payments() List[Receipt] {
	return newList(c.e, "payments\x00"+string(c.id.Code), func(ctx context.Context, p position, limit int) (f found[Receipt], err error) {
		owner, err := c.begin(ctx)
		if err != nil {
			return f, err
		}
		d, err := c.viewPersonal(ctx, owner, p.rangeOf(prefixReceipt, limit, true))
		if err != nil || d == nil {
			return f, err
		}
		recs := d.ranged
		if p.before { // they came oldest first
			recs = reversed(recs)
		}
		for i := range recs {
			var r receiptRecord
			if err := d.open(&recs[i], &r); errors.Is(err, errShredded) {
				continue
			} else if err != nil {
				return f, err
			}
			f.add(r.receipt(), strings.TrimPrefix(string(recs[i].Key), prefixReceipt))
		}
		if len(d.ranged) == limit && len(f.items) < limit {
			last := d.ranged[len(d.ranged)-1].Key
			f.resume = strings.TrimPrefix(string(last), prefixReceipt)
		}
		return f, nil
	})
}

func (r *receiptRecord) receipt() Receipt {
	return Receipt{
		RPTID:  pagopa.RPTID{Creditor: fiscalcode.Organization(r.Creditor), Notice: pagopa.NoticeNumber(r.Notice)},
		Amount: pagopa.Amount(r.Amount), Payee: r.Payee, Description: r.Text, PaidAt: fromMicro(r.At), Event: r.Event, Message: r.Message,
	}
}

// A YearTotal is what a citizen paid in a year.
type YearTotal struct {
	Year     int
	Payments int
	Amount   pagopa.Amount
}

// PaymentTotals are the payments of each year of a place's time, latest year first; nil: UTC.
func (c *Citizen) PaymentTotals(ctx context.Context, place *time.Location) ([]YearTotal, error) {
	if place == nil {
		place = time.UTC
	}
	var totals []YearTotal
	for r, err := range c.Payments().All(ctx) {
		if err != nil {
			return nil, err
		}
		year := r.PaidAt.In(place).Year()
		if n := len(totals); n == 0 || totals[n-1].Year != year {
			totals = append(totals, YearTotal{Year: year})
		}
		t := &totals[len(totals)-1]
		t.Payments++
		t.Amount += r.Amount
	}
	return totals, nil
}
