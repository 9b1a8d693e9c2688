package appio_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

const notice = pagopa.NoticeNumber("302032002700000251")

var rptID = pagopa.RPTID{Creditor: comune, Notice: notice}

func withPayments(g appio.PaymentGateway) func(*appio.Options) {
	return func(o *appio.Options) { o.Payments = g }
}

func withNotice(m *appio.Message) { m.Payment = &appio.Notice{Number: notice, Amount: 12_34} }

func event(id string, s appio.PaymentState, at int) appio.PaymentEvent {
	return appio.PaymentEvent{ID: id, RPTID: rptID, State: s, At: time.Date(2026, 3, 1, 12, at, 0, 0, time.UTC)}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	t.Run("reaches each message, before and after it came", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
		s, maria, paolo := w.put(), w.enrol(giuseppe, appio.Auto), w.enrol(matteo, appio.Auto)
		first := w.send(s, messageTo(giuseppe, withNotice))
		state := func(c *appio.Citizen, id appio.MessageID) (appio.PaymentState, time.Time) {
			m, err := c.Message(ctx, id)
			require.NoError(t, err)
			inbox := collect(t, c.Inbox(nil))
			i := slices.IndexFunc(inbox, func(m appio.InboxMessage) bool { return m.ID == id })
			require.Equal(t, m, inbox[i])
			return m.PaymentState, m.PaymentAt
		}
		is, at := state(maria, first)
		require.Equal(t, appio.Unpaid, is)
		require.True(t, at.IsZero())
		ev := event("1", appio.Paid, 5)
		require.NoError(t, w.Settle(ctx, ev))
		w.flush()
		second := w.send(s, messageTo(giuseppe, withNotice))
		other := w.send(s, messageTo(matteo, withNotice))
		is, _ = state(paolo, other)
		require.Equal(t, appio.Unpaid, is, "what was heard before comes with Run or Flush")
		w.flush()
		for c, ids := range map[*appio.Citizen][]appio.MessageID{maria: {first, second}, paolo: {other}} {
			for _, id := range ids {
				is, at := state(c, id)
				require.Equal(t, appio.Paid, is)
				require.Equal(t, ev.At, at)
			}
			receipts := collect(t, c.Payments())
			require.Len(t, receipts, 1)
			require.Equal(t, appio.Receipt{RPTID: rptID, Amount: 12_34, Description: subject, PaidAt: ev.At, Event: "1", Message: receipts[0].Message}, receipts[0])
			require.Contains(t, ids, receipts[0].Message)
			bills, err := c.Bills(ctx)
			require.NoError(t, err)
			require.Len(t, bills, 1)
			require.Equal(t, ids, bills[0].Messages)
			bill, err := c.Bill(ctx, rptID)
			require.NoError(t, err)
			require.Equal(t, bills[0], bill)
		}
		plain := w.send(s, messageTo(giuseppe))
		is, _ = state(maria, plain)
		require.Empty(t, is, "there is nothing to pay")
		w.sound()
	})
	t.Run("tells the sender where the citizen lets it see", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		id, plain := w.send(s, messageTo(giuseppe, withNotice)), w.send(s, messageTo(giuseppe))
		paid := func(id appio.MessageID) *bool {
			st, err := s.Status(ctx, giuseppe, id)
			require.NoError(t, err)
			return st.Paid
		}
		require.False(t, *paid(id))
		require.Nil(t, paid(plain))
		require.NoError(t, w.Settle(ctx, event("1", appio.Paid, 5)))
		w.flush()
		require.True(t, *paid(id))
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Email)}))
		require.Nil(t, paid(id))
	})
	t.Run("is told of what is wrong", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
		good := event("1", appio.Paid, 5)
		for field, change := range map[string]func(*appio.PaymentEvent){
			"ID":    func(ev *appio.PaymentEvent) { ev.ID = "" },
			"RPTID": func(ev *appio.PaymentEvent) { ev.RPTID.Notice = "12" },
			"State": func(ev *appio.PaymentEvent) { ev.State = "PAID" },
			"At":    func(ev *appio.PaymentEvent) { ev.At = time.Time{} },
		} {
			ev := good
			change(&ev)
			requireField(t, w.Settle(ctx, ev), field, "12")
		}
		for _, id := range []string{strings.Repeat("x", 201), "\xff"} {
			ev := good
			ev.ID = id
			requireField(t, w.Settle(ctx, ev), "ID", id)
		}
		w = newTown(t)
		require.ErrorIs(t, w.Settle(ctx, good), appio.ErrUnsupported)
		_, err := w.person(giuseppe).Pay(ctx, rptID)
		require.ErrorIs(t, err, appio.ErrUnsupported)
		_, err = w.person(giuseppe).ScanNotice(ctx, "01199250158 "+string(notice))
		require.ErrorIs(t, err, appio.ErrUnsupported)
	})
	t.Run("nothing of it is left of who was erased, and a new life begins with what is known", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, withNotice))
		require.NoError(t, w.Settle(ctx, event("1", appio.Paid, 5)))
		w.flush()
		require.NoError(t, c.Erase(ctx))
		w.flush()
		for _, k := range keysOf(t, w.store, "c/") {
			require.False(t, strings.HasPrefix(string(k), "b/") || strings.HasPrefix(string(k), "y/") || strings.HasPrefix(string(k), "e/"), k)
		}
		require.Contains(t, strings.Join(asStrings(keysOf(t, w.store, "p/")), " "), "c/", "a hint is left")
		require.NoError(t, w.Settle(ctx, event("0", appio.Paid, 4)))
		w.flush()
		require.NotContains(t, strings.Join(asStrings(keysOf(t, w.store, "p/")), " "), "c/", "until it leads nowhere")
		_, err := c.Bill(ctx, rptID)
		require.ErrorIs(t, err, appio.ErrNotFound)

		c = w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, withNotice))
		w.flush()
		bill, err := c.Bill(ctx, rptID)
		require.NoError(t, err)
		require.Equal(t, appio.Paid, bill.State)
		require.Len(t, bill.Messages, 1)
		w.sound()
	})
	t.Run("from the future is of now", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, withNotice))
		require.NoError(t, w.Settle(ctx, appio.PaymentEvent{ID: "1", RPTID: rptID, State: appio.Cancelled, At: w.now().AddDate(100, 0, 0)}))
		w.advance(time.Minute)
		require.NoError(t, w.Settle(ctx, appio.PaymentEvent{ID: "2", RPTID: rptID, State: appio.Unpaid, At: w.now()}))
		w.flush()
		bill, err := c.Bill(ctx, rptID)
		require.NoError(t, err)
		require.Equal(t, appio.Unpaid, bill.State)
	})
	t.Run("does not wait for a clock that was put back", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, withNotice))
		w.flush()
		w.advance(10 * time.Hour)
		require.NoError(t, w.Settle(ctx, event("1", appio.Paid, 5)))
		w.advance(-10 * time.Hour)
		w.flush()
		bill, err := c.Bill(ctx, rptID)
		require.NoError(t, err)
		require.Equal(t, appio.Paid, bill.State)
	})
	t.Run("is forgotten after 400 days", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
		require.NoError(t, w.Settle(ctx, event("1", appio.Paid, 5)))
		w.flush()
		require.NotEmpty(t, keysOf(t, w.store, "p/"))
		w.advance(401 * 24 * time.Hour)
		w.flush()
		require.Empty(t, keysOf(t, w.store, "p/"))
	})
	t.Run("who is erased is forgotten as a debtor after 400 days, and who still has the notice is not", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
		s, c, other := w.put(), w.enrol(giuseppe, appio.Auto), w.enrol(matteo, appio.Auto)
		w.send(s, messageTo(giuseppe, withNotice))
		w.send(s, messageTo(matteo, withNotice))
		w.flush()
		require.Len(t, keysOf(t, w.store, "p/"), 2)
		require.NoError(t, c.Erase(ctx))
		w.flush()
		for range 3 {
			w.advance(401 * 24 * time.Hour)
			w.flush()
			require.Len(t, keysOf(t, w.store, "p/"), 1)
		}
		w.sound()
		require.NoError(t, w.Settle(ctx, appio.PaymentEvent{ID: "1", RPTID: rptID, State: appio.Paid, At: w.now()}))
		w.flush()
		bill, err := other.Bill(ctx, rptID)
		require.NoError(t, err)
		require.Equal(t, appio.Paid, bill.State)
	})
	t.Run("of more notices than are told of at once", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		ids := make([]pagopa.RPTID, 2500)
		ms := make([]appio.Message, len(ids))
		for i := range ids {
			ids[i] = pagopa.RPTID{Creditor: comune, Notice: pagopa.NoticeNumber(fmt.Sprintf("3%017d", i))}
			ms[i] = messageTo(giuseppe, func(m *appio.Message) { m.Payment = &appio.Notice{Number: ids[i].Notice, Amount: 1} })
		}
		_, err := s.SendBatch(ctx, ms)
		require.NoError(t, err)
		for _, id := range ids[:2300] {
			require.NoError(t, w.Settle(ctx, appio.PaymentEvent{ID: "1", RPTID: id, State: appio.Paid, At: w.now()}))
		}
		w.flush()
		unpaid := 0
		for _, b := range bills(t, c) {
			if b.State == appio.Unpaid {
				unpaid++
			}
		}
		require.Equal(t, 200, unpaid)
	})
	t.Run("has many debtors", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
		s := w.put()
		const many = 200 // some pages
		for i := range many {
			w.enrol(personNumber(i), appio.Auto)
			w.send(s, messageTo(personNumber(i), withNotice))
		}
		w.flush()
		require.NoError(t, w.Settle(ctx, event("1", appio.Paid, 5)))
		w.flush()
		for i := range many {
			bill, err := w.person(personNumber(i)).Bill(ctx, rptID)
			require.NoError(t, err)
			require.Equal(t, appio.Paid, bill.State)
		}
		w.sound()
	})
}

func bills(t *testing.T, c *appio.Citizen) []appio.Bill {
	t.Helper()
	all, err := c.Bills(t.Context())
	require.NoError(t, err)
	return all
}

func asStrings(keys []store.Key) (all []string) {
	for _, k := range keys {
		all = append(all, string(k))
	}
	return all
}

// sound demands that a check of the store finds nothing.
func (w *town) sound() {
	w.t.Helper()
	_, err := w.Check(w.t.Context(), func(f appio.Finding) { w.t.Errorf("%+v", f) })
	require.NoError(w.t, err)
}

// TestSettleInAnyOrder hands over six events in each of their orders, around three messages, and lets the process die between: each
// time it all comes to the same.
func TestSettleInAnyOrder(t *testing.T) {
	t.Parallel()
	events := []appio.PaymentEvent{
		event("a", appio.Paying, 1), event("b", appio.Unpaid, 2), event("c", appio.Paid, 4), event("d", appio.Paid, 3),
		event("e", appio.Cancelled, 9), event("c", appio.Paid, 4),
	}
	n := 0
	for order := range permutations(len(events)) {
		if n++; testing.Short() && n%20 != 1 {
			continue
		}
		tellSix(t, events, order, uint64(n))
	}
	require.Equal(t, 720, n)
}

func tellSix(t *testing.T, events []appio.PaymentEvent, order []int, seed uint64) {
	ctx := t.Context()
	random := rand.New(rand.NewPCG(seed, 0))
	h := &hookedStore{Store: memstore.New()}
	var w *town
	// die has the process die, at a commit some way ahead, and another begin.
	die := func() {
		var left atomic.Int64
		left.Store(random.Int64N(12))
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			if left.Add(-1) < 0 {
				return nil, store.ErrFailed
			}
			return next(ctx, changes)
		})
		if w != nil {
			_, _ = w.Flush(ctx)
			require.NoError(t, w.Close())
		}
		h.onCommit(nil)
		w = newTownOn(t, h, withPayments(&gateway{}))
	}
	die()
	s := w.put()
	people := []fiscalcode.Person{giuseppe, matteo, giuseppe}
	for _, p := range people[:2] {
		w.enrol(p, appio.Auto)
	}
	for i, e := range order {
		if i%2 == 0 {
			w.send(s, messageTo(people[i/2], withNotice))
		}
		require.NoError(t, w.Settle(ctx, events[e]))
		die()
		s = w.Sender(mensa)
	}
	w.flush()
	want := events[3] // of two payments the first counts
	for i, p := range people[:2] {
		c := w.person(p)
		receipts := collect(t, c.Payments())
		require.Len(t, receipts, 1, "order %v", order)
		require.Equal(t, want.ID, receipts[0].Event, "order %v", order)
		require.Equal(t, want.At, receipts[0].PaidAt)
		inbox := collect(t, c.Inbox(nil))
		require.Len(t, inbox, 2-i)
		for _, m := range inbox {
			require.Equal(t, appio.Paid, m.PaymentState, "order %v", order)
			require.Equal(t, want.At, m.PaymentAt)
		}
	}
	for _, r := range recordsOf(t, h, "") {
		require.False(t, r.Lane&0xff00 == 0x0200, "an effect is left, of order %v", order)
	}
	w.sound()
}

// TestSettleMeanwhile has another process come between the moment at which debtors were told and that at which this is noted.
func TestSettleMeanwhile(t *testing.T) {
	t.Parallel()
	// between calls f once, before the commit that ends the spreading of news.
	between := func(h *hookedStore, f func()) {
		var once sync.Once
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			for _, c := range changes {
				if slices.Contains(c.Delete, "T") {
					once.Do(f)
				}
			}
			return next(ctx, changes)
		})
	}
	t.Run("newer news is spread too", func(t *testing.T) {
		t.Parallel()
		h, ctx := newHookedStore(), t.Context()
		w, other := newTownOn(t, h, withPayments(&gateway{})), newTownOn(t, h.Store, withPayments(&gateway{}))
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, withNotice))
		w.flush()
		require.NoError(t, w.Settle(ctx, event("1", appio.Paying, 1)))
		between(h, func() { require.NoError(t, other.Settle(ctx, event("2", appio.Paid, 2))) })
		w.flush()
		w.flush()
		bill, err := c.Bill(ctx, rptID)
		require.NoError(t, err)
		require.Equal(t, appio.Paid, bill.State)
	})
	t.Run("a debtor who comes back is not forgotten", func(t *testing.T) {
		t.Parallel()
		h, ctx := newHookedStore(), t.Context()
		w, other := newTownOn(t, h, withPayments(&gateway{})), newTownOn(t, unspread{h.Store}, withPayments(&gateway{}))
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, withNotice))
		w.flush()
		require.NoError(t, c.Erase(ctx))
		w.flush()
		require.NoError(t, w.Settle(ctx, event("1", appio.Paying, 1)))
		between(h, func() {
			other.enrol(giuseppe, appio.Auto)
			other.send(other.Sender(mensa), messageTo(giuseppe, withNotice))
			other.flush()
		})
		w.flush()
		require.NoError(t, w.Settle(ctx, event("2", appio.Paid, 2)))
		w.flush()
		bill, err := c.Bill(ctx, rptID)
		require.NoError(t, err)
		require.Equal(t, appio.Paid, bill.State)
	})
}

// A person of whom nothing can be read any more does not keep the news from the others who have the notice.
func TestSettleBesideDamage(t *testing.T) {
	t.Parallel()
	for _, key := range []store.Key{"K", "P"} {
		w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
		s := w.put()
		damaged := w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, withNotice))
		w.flush()
		for _, r := range recordsOf(t, w.store, "c/") {
			if r.Key == key {
				r.Value = append([]byte(nil), r.Value...)
				r.Value[len(r.Value)-1] ^= 1
				overwrite(t, w.store, r.Owner, store.Change{Put: []store.Record{r}})
			}
		}
		_, err := damaged.Bill(ctx, rptID)
		require.ErrorIs(t, err, store.ErrCorrupt)
		other := w.enrol(matteo, appio.Auto)
		w.send(s, messageTo(matteo, withNotice))
		require.NoError(t, w.Settle(ctx, event("1", appio.Paid, 5)))
		w.flush()
		bill, err := other.Bill(ctx, rptID)
		require.NoError(t, err)
		require.Equal(t, appio.Paid, bill.State)
		require.NotContains(t, keysOf(t, w.store, "p/"), store.Key("T"), "the news is still to be spread")
	}
}

// An unspread store does not show what is to be spread.
type unspread struct{ store.Store }

func (s unspread) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	recs, err := s.Store.Due(ctx, q)
	return slices.DeleteFunc(recs, func(r store.Record) bool { return r.Key == "T" }), err
}

// permutations yields all orders of n things.
func permutations(n int) func(yield func([]int) bool) {
	return func(yield func([]int) bool) {
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		var from func(k int) bool
		from = func(k int) bool {
			if k == n {
				return yield(order)
			}
			for i := k; i < n; i++ {
				order[k], order[i] = order[i], order[k]
				if !from(k + 1) {
					return false
				}
				order[k], order[i] = order[i], order[k]
			}
			return true
		}
		from(0)
	}
}

func TestPayments(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
	s, c := w.put(), w.enrol(giuseppe, appio.Auto)
	const many = 250
	rome, err := time.LoadLocation("Europe/Rome")
	require.NoError(t, err)
	start := time.Date(2024, 12, 31, 22, 30, 0, 0, time.UTC) // 2024 in Rome, too
	var want []string
	for i := range many {
		n, err := pagopa.NewNoticeNumber(3, "47", fmt.Sprintf("%013d", i))
		require.NoError(t, err)
		w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.Payment = &appio.Notice{Number: n, Amount: pagopa.Amount(i + 1)} }))
		ev := appio.PaymentEvent{ID: fmt.Sprint(i), RPTID: pagopa.RPTID{Creditor: comune, Notice: n}, State: appio.Paid, At: start.Add(time.Duration(i) * time.Hour)}
		require.NoError(t, w.Settle(ctx, ev))
		want = append(want, fmt.Sprint(i))
	}
	w.flush()
	slices.Reverse(want)
	var got []string
	for _, r := range collect(t, c.Payments()) {
		got = append(got, r.Event)
	}
	require.Equal(t, want, got)
	page, err := c.Payments().Page(ctx, "", 100)
	require.NoError(t, err)
	require.Len(t, page.Items, 100)
	next, err := c.Payments().Page(ctx, page.Next, 100)
	require.NoError(t, err)
	back, err := c.Payments().Page(ctx, next.Prev, 100)
	require.NoError(t, err)
	require.Equal(t, page.Items, back.Items)

	totals, err := c.PaymentTotals(ctx, rome)
	require.NoError(t, err)
	require.Equal(t, []appio.YearTotal{{2025, many - 1, pagopa.Amount(many*(many+1)/2 - 1)}, {2024, 1, 1}}, totals)
	totals, err = c.PaymentTotals(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, []appio.YearTotal{{2025, many - 2, pagopa.Amount(many*(many+1)/2 - 3)}, {2024, 2, 3}}, totals)
	_, err = w.person(matteo).Payments().Page(ctx, page.Next, 0)
	require.ErrorIs(t, err, appio.ErrInvalid)
}
