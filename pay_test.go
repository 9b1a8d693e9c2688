package appio_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A gateway knows every debt, unless told otherwise.
type gateway struct {
	mu       sync.Mutex
	verified int
	keys     []string // of payments that were begun
	verify   func(id pagopa.RPTID) (appio.Debt, error)
	start    func(d appio.Debt, key string) (appio.Checkout, error)
}

func (g *gateway) Verify(_ context.Context, id pagopa.RPTID) (appio.Debt, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.verified++
	if g.verify != nil {
		return g.verify(id)
	}
	return appio.Debt{RPTID: id, Amount: 56_78, Payee: "Comune di Esempio", Description: "TARI 2026", Due: time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC)}, nil
}

func (g *gateway) Start(_ context.Context, d appio.Debt, key string) (appio.Checkout, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys = append(g.keys, key)
	if g.start != nil {
		return g.start(d, key)
	}
	return appio.Checkout{URL: "https://paga.example.it/" + key}, nil
}

// A deafGateway does not hear that its time is over.
type deafGateway struct{ verify func() }

func (g *deafGateway) Verify(_ context.Context, id pagopa.RPTID) (appio.Debt, error) {
	g.verify()
	return appio.Debt{RPTID: id, Amount: 1}, nil
}

func (g *deafGateway) Start(context.Context, appio.Debt, string) (appio.Checkout, error) {
	return appio.Checkout{}, errors.New("not reached")
}

func TestPay(t *testing.T) {
	t.Parallel()
	t.Run("a notice of a message", func(t *testing.T) {
		t.Parallel()
		g := &gateway{}
		w, ctx := newTown(t, withPayments(g)), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		id := w.send(s, messageTo(giuseppe, withNotice))
		out, err := c.Pay(ctx, rptID)
		require.NoError(t, err)
		again, err := c.Pay(ctx, rptID)
		require.NoError(t, err)
		require.Equal(t, out, again, "a second time it is the same payment")
		m, err := c.Message(ctx, id)
		require.NoError(t, err)
		require.Equal(t, appio.Paying, m.PaymentState)
		bill, err := c.Bill(ctx, rptID)
		require.NoError(t, err)
		require.Equal(t, pagopa.Amount(56_78), bill.Amount, "what the creditor says counts")
		require.Equal(t, "Comune di Esempio", bill.Payee)
		require.False(t, bill.Paper)

		w.advance(time.Hour + time.Second)
		bill, err = c.Bill(ctx, rptID)
		require.NoError(t, err)
		require.Equal(t, appio.Unpaid, bill.State, "nothing was heard, and the checkout has ended")
		other, err := c.Pay(ctx, rptID)
		require.NoError(t, err)
		require.NotEqual(t, out, other)

		require.NoError(t, w.Settle(ctx, appio.PaymentEvent{ID: "1", RPTID: rptID, State: appio.Paid, At: w.now()}))
		w.flush()
		before := g.verified
		_, err = c.Pay(ctx, rptID)
		var fault *pagopa.Fault
		require.ErrorAs(t, err, &fault)
		require.True(t, fault.Paid())
		require.Equal(t, before, g.verified)
		w.sound()
	})
	t.Run("the same payment after a crash", func(t *testing.T) {
		t.Parallel()
		g := &gateway{}
		crash := true
		g.start = func(d appio.Debt, key string) (appio.Checkout, error) {
			if crash {
				return appio.Checkout{}, errors.New("the process dies")
			}
			return appio.Checkout{URL: "https://paga.example.it/" + key, ExpiresAt: time.Now().Add(time.Minute)}, nil
		}
		s := memstore.New()
		w, ctx := newTownOn(t, s, withPayments(g)), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		_, err := c.Pay(ctx, rptID)
		require.ErrorContains(t, err, "the process dies")
		crash = false
		w = newTownOn(t, s, withPayments(g))
		c = w.person(giuseppe)
		_, err = c.Pay(ctx, rptID)
		require.NoError(t, err)
		for _, k := range g.keys {
			require.Equal(t, g.keys[0], k)
		}
		w.advance(2 * time.Minute)
		bill, err := c.Bill(ctx, rptID)
		require.NoError(t, err)
		require.Equal(t, appio.Unpaid, bill.State, "the gateway said when its checkout ends")
	})
	t.Run("not after the due date, where the notice is then invalid", func(t *testing.T) {
		t.Parallel()
		g := &gateway{}
		w, ctx := newTown(t, withPayments(g)), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		id := w.send(s, messageTo(giuseppe, func(m *appio.Message) {
			m.Due = w.now().Add(time.Hour)
			m.Payment = &appio.Notice{Number: notice, Amount: 12_34, InvalidAfterDue: true}
		}))
		w.advance(2 * time.Hour)
		_, err := c.Pay(ctx, rptID)
		require.ErrorIs(t, err, appio.ErrExpired)
		require.Zero(t, g.verified)
		m, err := c.Message(ctx, id)
		require.NoError(t, err)
		require.Equal(t, appio.Expired, m.PaymentState)
		require.NoError(t, w.Settle(ctx, event("1", appio.Paid, 5)))
		w.flush()
		m, err = c.Message(ctx, id)
		require.NoError(t, err)
		require.Equal(t, appio.Paid, m.PaymentState, "it was paid in time after all")
	})
	t.Run("what the gateway says of it is news to all who have it", func(t *testing.T) {
		t.Parallel()
		for detail, want := range map[string]appio.PaymentState{
			"PAA_PAGAMENTO_DUPLICATO": appio.Paid, "PAA_PAGAMENTO_SCADUTO": appio.Expired, "PAA_PAGAMENTO_ANNULLATO": appio.Cancelled,
			"PAA_PAGAMENTO_IN_CORSO": appio.Paying, "PAA_PAGAMENTO_SCONOSCIUTO": appio.Unpaid,
		} {
			g := &gateway{verify: func(pagopa.RPTID) (appio.Debt, error) { return appio.Debt{}, pagopa.NewFault(detail) }}
			w, ctx := newTown(t, withPayments(g)), t.Context()
			s := w.put()
			w.enrol(giuseppe, appio.Auto)
			other := w.enrol(matteo, appio.Auto)
			w.send(s, messageTo(giuseppe, withNotice))
			w.send(s, messageTo(matteo, withNotice))
			_, err := w.person(giuseppe).Pay(ctx, rptID)
			var fault *pagopa.Fault
			require.ErrorAs(t, err, &fault)
			require.Equal(t, detail, fault.Detail)
			require.Equal(t, 1, g.verified, "it is not asked again")
			w.flush()
			bill, err := other.Bill(ctx, rptID)
			require.NoError(t, err)
			require.Equal(t, want, bill.State, detail)
		}
	})
	t.Run("a notice that can be paid again is news, too", func(t *testing.T) {
		t.Parallel()
		for _, was := range []appio.PaymentState{appio.Expired, appio.Cancelled, appio.Paying} {
			w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
			s, other := w.put(), w.enrol(matteo, appio.Auto)
			c := w.enrol(giuseppe, appio.Auto)
			w.send(s, messageTo(giuseppe, withNotice))
			w.send(s, messageTo(matteo, withNotice))
			require.NoError(t, w.Settle(ctx, event("1", was, 5)))
			w.flush()
			_, err := c.Pay(ctx, rptID)
			require.NoError(t, err, was)
			w.flush()
			for of, want := range map[*appio.Citizen]appio.PaymentState{c: appio.Paying, other: appio.Unpaid} {
				bill, err := of.Bill(ctx, rptID)
				require.NoError(t, err)
				require.Equal(t, want, bill.State, was)
			}
		}
	})
	t.Run("a gateway that fails for a moment is asked again", func(t *testing.T) {
		t.Parallel()
		for name, failure := range map[string]error{"fault": pagopa.NewFault("PPT_UNHEARD_OF"), "error": errors.New("reset")} {
			g := &gateway{}
			g.verify = func(id pagopa.RPTID) (appio.Debt, error) {
				if g.verified < 3 {
					return appio.Debt{}, failure
				}
				return appio.Debt{RPTID: id, Amount: 1}, nil
			}
			w := newTown(t, withPayments(g))
			c := w.enrol(giuseppe, appio.Auto)
			_, err := c.Pay(t.Context(), rptID)
			require.NoError(t, err, name)
			require.Equal(t, 3, g.verified)
		}
	})
	t.Run("a bad gateway is an error", func(t *testing.T) {
		t.Parallel()
		for name, change := range map[string]func(*gateway){
			"panic": func(g *gateway) { g.verify = func(pagopa.RPTID) (appio.Debt, error) { panic("RSSMRA85M10H501S") } },
			"the end of its goroutine": func(g *gateway) {
				g.verify = func(pagopa.RPTID) (appio.Debt, error) {
					runtime.Goexit()
					return appio.Debt{}, nil
				}
			},
			"a fault that is nil": func(g *gateway) {
				g.verify = func(pagopa.RPTID) (appio.Debt, error) {
					var f *pagopa.Fault
					return appio.Debt{}, f
				}
			},
			"the end of its goroutine at the start": func(g *gateway) {
				g.start = func(appio.Debt, string) (appio.Checkout, error) {
					runtime.Goexit()
					return appio.Checkout{}, nil
				}
			},
			"another notice": func(g *gateway) {
				g.verify = func(pagopa.RPTID) (appio.Debt, error) { return appio.Debt{Amount: 1}, nil }
			},
			"no amount": func(g *gateway) {
				g.verify = func(id pagopa.RPTID) (appio.Debt, error) { return appio.Debt{RPTID: id}, nil }
			},
			"a URL in clear": func(g *gateway) {
				g.start = func(appio.Debt, string) (appio.Checkout, error) { return appio.Checkout{URL: "http://example.it"}, nil }
			},
			"a fault at the start": func(g *gateway) {
				g.start = func(appio.Debt, string) (appio.Checkout, error) {
					return appio.Checkout{}, pagopa.NewFault("PAA_PAGAMENTO_IN_CORSO")
				}
			},
		} {
			g := &gateway{}
			change(g)
			w := newTown(t, withPayments(g))
			c := w.enrol(giuseppe, appio.Auto)
			out, err := c.Pay(t.Context(), rptID)
			require.Error(t, err, name)
			require.Zero(t, out)
			require.NotContains(t, err.Error(), "RSSMRA")
			if name == "a fault at the start" {
				bill, err := c.Bill(t.Context(), rptID)
				require.NoError(t, err)
				require.Equal(t, appio.Unpaid, bill.State, "nothing has begun")
			}
		}
	})
	t.Run("the same answer again is no news", func(t *testing.T) {
		t.Parallel()
		g := &gateway{verify: func(pagopa.RPTID) (appio.Debt, error) {
			return appio.Debt{}, pagopa.NewFault("PAA_PAGAMENTO_ANNULLATO")
		}}
		w, ctx := newTown(t, withPayments(g)), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		other := w.enrol(matteo, appio.Auto)
		w.send(s, messageTo(giuseppe, withNotice))
		w.send(s, messageTo(matteo, withNotice))
		var since time.Time
		for i := range 3 {
			_, err := c.Pay(ctx, rptID)
			require.Error(t, err)
			w.advance(time.Minute)
			w.flush()
			bill, err := other.Bill(ctx, rptID)
			require.NoError(t, err)
			require.Equal(t, appio.Cancelled, bill.State)
			if i == 0 {
				since = bill.StateAt
			}
			require.Equal(t, since, bill.StateAt)
		}
		// What the host says itself counts as always.
		require.NoError(t, w.Settle(ctx, appio.PaymentEvent{ID: "1", RPTID: rptID, State: appio.Cancelled, At: w.now()}))
		w.flush()
		bill, err := other.Bill(ctx, rptID)
		require.NoError(t, err)
		require.True(t, bill.StateAt.After(since))
	})
	t.Run("an endless text is cut", func(t *testing.T) {
		t.Parallel()
		g := &gateway{verify: func(id pagopa.RPTID) (appio.Debt, error) {
			long := strings.Repeat("\xff\u00e8", 4<<20)
			return appio.Debt{RPTID: id, Amount: 1, Payee: long, Description: long}, nil
		}}
		w := newTown(t, withPayments(g))
		c := w.enrol(giuseppe, appio.Auto)
		_, err := c.Pay(t.Context(), rptID)
		require.NoError(t, err)
		bill, err := c.Bill(t.Context(), rptID)
		require.NoError(t, err)
		for _, text := range []string{bill.Payee, bill.Description} {
			require.LessOrEqual(t, len(text), 1000)
			require.Equal(t, strings.Repeat("\u00e8", len(text)/2), text)
		}
	})
	t.Run("an observer does not learn of which notice an error is", func(t *testing.T) {
		t.Parallel()
		secret := &url.Error{Op: "Get", URL: "https://creditor.example.it/" + rptID.String(), Err: context.DeadlineExceeded}
		g, seen := &gateway{}, &watcher{}
		g.start = func(appio.Debt, string) (appio.Checkout, error) { return appio.Checkout{}, errors.New(secret.Error()) }
		w := newTown(t, withPayments(g), func(o *appio.Options) { o.Observer = seen })
		c := w.enrol(giuseppe, appio.Auto)
		_, err := c.Pay(t.Context(), rptID)
		require.Error(t, err)
		g.verify = func(pagopa.RPTID) (appio.Debt, error) { return appio.Debt{}, secret }
		_, err = c.Pay(t.Context(), rptID)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		some := 0
		for _, o := range seen.seen {
			if o.out.Err != nil {
				some++
				require.NotContains(t, o.out.Err.Error(), string(rptID.Notice), o.op.Name)
			}
		}
		require.Equal(t, 2, some, "that it failed, it does")
	})
	t.Run("one that never comes back holds a bounded number of goroutines", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hang := make(chan struct{})
			var held atomic.Int64
			g := &deafGateway{func() {
				held.Add(1)
				<-hang
				held.Add(-1)
			}}
			w := newTown(t, withPayments(g), func(o *appio.Options) { o.DebtRate = 1000 })
			c := w.enrol(giuseppe, appio.Auto)
			var calls sync.WaitGroup
			for range 300 {
				calls.Go(func() {
					_, err := c.Pay(t.Context(), rptID)
					assert.ErrorIs(t, err, context.DeadlineExceeded)
				})
			}
			calls.Wait()
			require.EqualValues(t, 256, held.Load())
			close(hang)
			synctest.Wait()
			require.Zero(t, held.Load())
		})
	})
	t.Run("a slow gateway has its time", func(t *testing.T) {
		t.Parallel()
		w := newTown(t, func(o *appio.Options) {
			o.Payments, o.PaymentTimeout = slowGateway{}, 10*time.Millisecond
		})
		c := w.enrol(giuseppe, appio.Auto)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := c.Pay(ctx, rptID)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, ctx.Err())
	})
}

type slowGateway struct{}

func (slowGateway) Verify(ctx context.Context, _ pagopa.RPTID) (appio.Debt, error) {
	<-ctx.Done()
	return appio.Debt{}, ctx.Err()
}

func (slowGateway) Start(context.Context, appio.Debt, string) (appio.Checkout, error) {
	return appio.Checkout{}, nil
}

func TestScanNotice(t *testing.T) {
	t.Parallel()
	g := &gateway{}
	w, ctx := newTown(t, withPayments(g)), t.Context()
	s, c := w.put(), w.enrol(giuseppe, appio.Auto)
	code := pagopa.Code{RPTID: rptID, Amount: 12_34, Debtor: giuseppe, Name: "GIUSEPPE GARIBALDI", Reason: "TARI"}
	qr, err := code.QR()
	require.NoError(t, err)
	matrix, err := code.DataMatrix("123456")
	require.NoError(t, err)
	for i, text := range []string{qr, matrix, "01199250158 3020 3200 2700 000251"} {
		d, err := c.ScanNotice(ctx, text)
		require.NoError(t, err)
		require.Equal(t, rptID, d.RPTID)
		require.Equal(t, pagopa.Amount(56_78), d.Amount)
		require.Equal(t, i+1, g.verified)
	}
	bills, err := c.Bills(ctx)
	require.NoError(t, err)
	require.Len(t, bills, 1)
	require.Equal(t, appio.Bill{
		RPTID: rptID, Amount: 56_78, Payee: "Comune di Esempio", Description: "TARI 2026", Due: time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC),
		State: appio.Unpaid, AddedAt: bills[0].AddedAt, Paper: true,
	}, bills[0])

	_, err = c.Pay(ctx, rptID)
	require.NoError(t, err)
	require.NoError(t, w.Settle(ctx, appio.PaymentEvent{ID: "1", RPTID: rptID, State: appio.Paid, At: w.now()}))
	w.flush()
	receipts := collect(t, c.Payments())
	require.Len(t, receipts, 1)
	require.Equal(t, pagopa.Amount(56_78), receipts[0].Amount)
	require.Empty(t, receipts[0].Message)
	id := w.send(s, messageTo(giuseppe, withNotice))
	m, err := c.Message(ctx, id)
	require.NoError(t, err)
	require.Equal(t, appio.Paid, m.PaymentState, "a message with the notice comes late")
	w.sound()

	_, err = c.ScanNotice(ctx, "PAGOPA|001|nothing")
	requireField(t, err, "text", "nothing")
	_, err = w.person(matteo).ScanNotice(ctx, qr)
	require.ErrorIs(t, err, appio.ErrNotFound)
	_, err = w.person(matteo).Pay(ctx, rptID)
	require.ErrorIs(t, err, appio.ErrNotFound)
	_, err = c.Pay(ctx, pagopa.RPTID{Creditor: comune, Notice: "1"})
	requireField(t, err, "RPTID", "")
}

func TestDebt(t *testing.T) {
	t.Parallel()
	g := &gateway{}
	w, ctx := newTown(t, withPayments(g)), t.Context()
	s, c := w.put(), w.enrol(giuseppe, appio.Auto)
	want := appio.Debt{RPTID: rptID, Amount: 56_78, Payee: "Comune di Esempio", Description: "TARI 2026", Due: time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC)}
	for _, who := range []*appio.Citizen{c, w.person(matteo)} { // who has no profile, and may ask all the same
		d, err := who.Debt(ctx, rptID)
		require.NoError(t, err)
		require.Equal(t, want, d)
		bills, err := who.Bills(ctx)
		require.NoError(t, err)
		require.Empty(t, bills)
	}
	id := w.send(s, messageTo(giuseppe, withNotice))
	g.verify = func(pagopa.RPTID) (appio.Debt, error) {
		return appio.Debt{}, &pagopa.Fault{Category: pagopa.PaymentDuplicated}
	}
	_, err := c.Debt(ctx, rptID)
	var fault *pagopa.Fault
	require.ErrorAs(t, err, &fault)
	require.True(t, fault.Paid())
	w.flush()
	m, err := c.Message(ctx, id)
	require.NoError(t, err)
	require.Equal(t, appio.Paid, m.PaymentState, "what was heard is news")
	_, err = c.Debt(ctx, pagopa.RPTID{Creditor: comune, Notice: "1"})
	requireField(t, err, "RPTID", "")
	mine := errors.New("no route to the creditor")
	g.verify = func(pagopa.RPTID) (appio.Debt, error) { return appio.Debt{}, mine }
	_, err = c.Debt(ctx, rptID)
	require.ErrorIs(t, err, appio.ErrGateway)
	require.ErrorIs(t, err, mine)
	require.EqualError(t, err, mine.Error())
	w, ctx = newTown(t), t.Context()
	_, err = w.person(giuseppe).Debt(ctx, rptID)
	require.ErrorIs(t, err, appio.ErrUnsupported)
}

// Where a bill cannot be read it is put aside, and what is said of the notice from then on makes a new one.
func TestDamagedBill(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
	s, c := w.put(), w.enrol(giuseppe, appio.Auto)
	w.send(s, messageTo(giuseppe, withNotice))
	w.flush()
	damage := func() {
		for _, r := range recordsOf(t, w.store, "c/") {
			if !strings.HasPrefix(string(r.Key), "b/") {
				continue
			}
			snaps, err := w.store.View(ctx, []store.Read{{Owner: r.Owner}})
			require.NoError(t, err)
			r.Value = append([]byte(nil), r.Value...)
			r.Value[len(r.Value)-1] ^= 1
			errs, err := w.store.Commit(ctx, []store.Change{{Owner: r.Owner, Rev: snaps[0].Rev, Put: []store.Record{r}}})
			require.NoError(t, err)
			require.Empty(t, errs)
		}
	}
	for i, do := range []func() error{
		func() error { return w.Settle(ctx, event("1", appio.Paid, 5)) },
		func() error { w.send(s, messageTo(giuseppe, withNotice)); return nil },
		func() error { _, err := c.ScanNotice(ctx, "01199250158 "+string(notice)); return err },
	} {
		damage()
		inbox := collect(t, c.Inbox(nil)) // the messages are whole
		require.NotEmpty(t, inbox)
		require.Empty(t, inbox[0].PaymentState)
		st, err := s.Status(ctx, giuseppe, inbox[0].ID)
		require.NoError(t, err)
		require.Nil(t, st.Paid)
		bills, err := c.Bills(ctx)
		require.NoError(t, err)
		require.Empty(t, bills)
		_, err = c.Bill(ctx, rptID)
		if i == 1 {
			require.ErrorIs(t, err, appio.ErrNotFound, "it was put aside")
		} else {
			require.ErrorIs(t, err, store.ErrCorrupt)
		}
		require.NoError(t, do())
		w.flush()
		require.Contains(t, fmt.Sprint(keysOf(t, w.store, "c/")), "?/")
	}
	bill, err := c.Bill(ctx, rptID)
	require.NoError(t, err)
	require.Equal(t, appio.Paid, bill.State)
}
