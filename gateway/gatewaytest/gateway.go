package gatewaytest

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
)

// A Gateway is an [appio.PaymentGateway] in memory, with all creditors behind it. It knows what [Gateway.Put] was told, and fails as it
// is told to. Its zero value is ready; it may be used concurrently and must not be copied. Its fields are set before the first call.
//
//	creditors := &gatewaytest.Gateway{}
//	creditors.Put(appio.Debt{RPTID: id, Amount: 150_00, Payee: "Comune di Esempio"})
//	creditors.Pay(id) // by whatever way: from now on the debt is paid
type Gateway struct {
	Now     func() time.Time // nil: time.Now
	Session time.Duration    // how long a checkout is good for; 0: a Checkout does not say it

	// OnEvent gets the news of Settle and Pay, which call it and wait for it: it stands for the part of a host that takes news from pagoPA
	// to [appio.Engine.Settle]. Nil: nobody is told.
	OnEvent func(appio.PaymentEvent)

	mu        sync.Mutex
	debts     map[pagopa.RPTID]appio.Debt
	refused   map[pagopa.RPTID]error
	settled   map[pagopa.RPTID]appio.PaymentEvent
	checkouts map[string]checkout // by key
	calls     []Call
	failing   error
	losing    error
	delay     time.Duration
}

// A Call is one call of a Gateway.
type Call struct {
	Method string // Verify or Start
	RPTID  pagopa.RPTID
	Amount pagopa.Amount // of Start
	Key    string        // of Start
}

type checkout struct {
	id pagopa.RPTID
	appio.Checkout
}

// ErrKey is returned by [Gateway.Start] for a key that was there before, for another debt.
var ErrKey = errors.New("gatewaytest: the key is that of a payment of another debt")

// Put makes d a debt that can be paid, as it is from now on; whatever was told of it before, by Settle and Refuse too, is forgotten. A
// debt that no creditor would have is taken as well, and answered with.
func (g *Gateway) Put(d appio.Debt) {
	g.mu.Lock()
	defer g.mu.Unlock()
	put(&g.debts, d.RPTID, d)
	delete(g.refused, d.RPTID)
	delete(g.settled, d.RPTID)
}

// Refuse makes err the answer to all calls about a notice, known or not: a [pagopa.Fault], or any other error. Nil ends it.
func (g *Gateway) Refuse(id pagopa.RPTID, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		delete(g.refused, id)
		return
	}
	put(&g.refused, id, err)
}

// Pay is Settle with [appio.Paid].
func (g *Gateway) Pay(id pagopa.RPTID) appio.PaymentEvent { return g.Settle(id, appio.Paid) }

// Settle makes a notice, known or not, one that is in this state: from now on it cannot be paid, unless the state is [appio.Unpaid] and
// it is a debt that Put told of. It gives the news to OnEvent, and returns it. Done again with the same state, it is the same
// event once more, as happens in life.
func (g *Gateway) Settle(id pagopa.RPTID, s appio.PaymentState) appio.PaymentEvent {
	ev := g.settle(id, s)
	if g.OnEvent != nil {
		g.OnEvent(ev)
	}
	return ev
}

func (g *Gateway) settle(id pagopa.RPTID, s appio.PaymentState) appio.PaymentEvent {
	g.mu.Lock()
	defer g.mu.Unlock()
	ev, known := g.settled[id]
	if !known || ev.State != s {
		ev = appio.PaymentEvent{ID: rand.Text(), RPTID: id, State: s, At: g.now()}
		put(&g.settled, id, ev)
	}
	return ev
}

// details are what creditors answer with about a notice in these states.
var details = map[appio.PaymentState]string{
	appio.Paying:    "PPT_PAGAMENTO_IN_CORSO",
	appio.Paid:      "PAA_PAGAMENTO_DUPLICATO",
	appio.Expired:   "PAA_PAGAMENTO_SCADUTO",
	appio.Cancelled: "PAA_PAGAMENTO_ANNULLATO",
}

// Fail makes every call fail with err, before it does anything. Nil ends it.
func (g *Gateway) Fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failing = err
}

// Lose makes every call that would succeed fail with err after it has done what it does: its answer is lost on the way. Nil ends it.
func (g *Gateway) Lose(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.losing = err
}

// Delay makes every call that begins from now on take d before it does anything; it ends sooner if its context does, as it always
// must. An hour is an outage in which nothing is answered. 0 ends it.
func (g *Gateway) Delay(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delay = d
}

// Calls returns a copy of the calls so far, in the order in which they began.
func (g *Gateway) Calls() []Call {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.calls)
}

// Verify answers for the creditor.
func (g *Gateway) Verify(ctx context.Context, id pagopa.RPTID) (appio.Debt, error) {
	if err := g.begin(ctx, Call{Method: "Verify", RPTID: id}); err != nil {
		return appio.Debt{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	d, err := g.debt(id)
	if err == nil {
		err = g.losing
	}
	if err != nil {
		return appio.Debt{}, err
	}
	return d, nil
}

// Start makes a checkout for each key; with one that was there before it answers the same, even if the debt has been paid since. A debt
// whose amount has changed is not paid: the answer is a fault.
func (g *Gateway) Start(ctx context.Context, d appio.Debt, key string) (appio.Checkout, error) {
	if err := g.begin(ctx, Call{Method: "Start", RPTID: d.RPTID, Amount: d.Amount, Key: key}); err != nil {
		return appio.Checkout{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c, err := g.checkout(d, key)
	if err == nil {
		err = g.losing
	}
	if err != nil {
		return appio.Checkout{}, err
	}
	return c, nil
}

// begin notes a call, and takes the time that calls take.
func (g *Gateway) begin(ctx context.Context, c Call) error {
	g.mu.Lock()
	g.calls = append(g.calls, c)
	delay := g.delay
	g.mu.Unlock()
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failing
}

func (g *Gateway) debt(id pagopa.RPTID) (appio.Debt, error) {
	if err, ok := g.refused[id]; ok {
		if f, ok := err.(*pagopa.Fault); ok { // whoever gets it may change it
			c := *f
			return appio.Debt{}, &c
		}
		return appio.Debt{}, err
	}
	if detail, ok := details[g.settled[id].State]; ok {
		return appio.Debt{}, pagopa.NewFault(detail)
	}
	d, ok := g.debts[id]
	switch {
	case ok:
		return d, nil
	case !id.Valid():
		return appio.Debt{}, pagopa.NewFault("PPT_SINTASSI_EXTRAXSD")
	}
	return appio.Debt{}, pagopa.NewFault("PAA_PAGAMENTO_SCONOSCIUTO")
}

func (g *Gateway) checkout(d appio.Debt, key string) (appio.Checkout, error) {
	if c, again := g.checkouts[key]; again {
		if c.id != d.RPTID {
			return appio.Checkout{}, ErrKey
		}
		return c.Checkout, nil
	}
	known, err := g.debt(d.RPTID)
	if err != nil {
		return appio.Checkout{}, err
	}
	if known.Amount != d.Amount {
		return appio.Checkout{}, pagopa.NewFault("PAA_ATTIVA_RPT_IMPORTO_NON_VALIDO")
	}
	c := checkout{d.RPTID, appio.Checkout{URL: "https://checkout.example.org/" + rand.Text()}}
	if g.Session > 0 {
		c.ExpiresAt = g.now().Add(g.Session)
	}
	put(&g.checkouts, key, c)
	return c.Checkout, nil
}

func (g *Gateway) now() time.Time {
	if g.Now == nil {
		return time.Now()
	}
	return g.Now()
}

// put makes the map if it has to.
func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}
