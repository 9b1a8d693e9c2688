package gatewaytest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/pagopa"
)

var debt = appio.Debt{
	RPTID:       pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"},
	Amount:      150_00,
	Payee:       "Comune di Esempio",
	Description: "TARI 2026, prima rata",
	Due:         time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC),
}

func refused(t *testing.T, err error, category string) {
	t.Helper()
	var f *pagopa.Fault
	require.ErrorAs(t, err, &f)
	require.Equal(t, category, f.Category)
}

func TestGatewayKnowsWhatItWasTold(t *testing.T) {
	t.Parallel()
	var g gatewaytest.Gateway
	ctx := t.Context()

	_, err := g.Verify(ctx, debt.RPTID)
	refused(t, err, pagopa.PaymentUnknown)
	_, err = g.Start(ctx, debt, "k")
	refused(t, err, pagopa.PaymentUnknown)
	_, err = g.Verify(ctx, pagopa.RPTID{})
	refused(t, err, pagopa.PaymentDataError)

	g.Put(debt)
	d, err := g.Verify(ctx, debt.RPTID)
	require.NoError(t, err)
	require.Equal(t, debt, d)

	changed := debt
	changed.Amount++
	g.Put(changed)
	d, err = g.Verify(ctx, debt.RPTID)
	require.NoError(t, err)
	require.Equal(t, changed, d)
	_, err = g.Start(ctx, debt, "k")
	refused(t, err, pagopa.DomainUnknown)
	c, err := g.Start(ctx, changed, "k")
	require.NoError(t, err)
	require.Zero(t, c.ExpiresAt)

	require.Equal(t, []gatewaytest.Call{
		{Method: "Verify", RPTID: debt.RPTID},
		{Method: "Start", RPTID: debt.RPTID, Amount: 150_00, Key: "k"},
		{Method: "Verify"},
		{Method: "Verify", RPTID: debt.RPTID},
		{Method: "Verify", RPTID: debt.RPTID},
		{Method: "Start", RPTID: debt.RPTID, Amount: 150_00, Key: "k"},
		{Method: "Start", RPTID: debt.RPTID, Amount: 150_01, Key: "k"},
	}, g.Calls())
	g.Calls()[0].Key = "changed"
	require.Empty(t, g.Calls()[0].Key, "calls are a copy")
}

func TestGatewayRefuses(t *testing.T) {
	t.Parallel()
	var g gatewaytest.Gateway
	ctx := t.Context()
	g.Put(debt)

	f := pagopa.NewFault("PAA_PAGAMENTO_SCADUTO")
	g.Refuse(debt.RPTID, f)
	_, err := g.Verify(ctx, debt.RPTID)
	refused(t, err, pagopa.PaymentExpired)
	err.(*pagopa.Fault).Category = "changed"
	_, err = g.Start(ctx, debt, "k")
	refused(t, err, pagopa.PaymentExpired)

	broken := errors.New("broken")
	g.Refuse(debt.RPTID, broken)
	_, err = g.Verify(ctx, debt.RPTID)
	require.Equal(t, broken, err)

	g.Refuse(debt.RPTID, nil)
	_, err = g.Verify(ctx, debt.RPTID)
	require.NoError(t, err)

	g.Refuse(debt.RPTID, f)
	g.Put(debt)
	_, err = g.Verify(ctx, debt.RPTID)
	require.NoError(t, err, "put again it is as new")
}

func TestGatewayPays(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	var told []appio.PaymentEvent
	var g *gatewaytest.Gateway
	g = &gatewaytest.Gateway{
		Now:     func() time.Time { return now },
		Session: 15 * time.Minute,
		OnEvent: func(e appio.PaymentEvent) {
			_, err := g.Verify(t.Context(), e.RPTID)
			refused(t, err, pagopa.PaymentDuplicated) // it is so before it is told, and who is told may ask
			told = append(told, e)
		},
	}
	ctx := t.Context()
	g.Put(debt)
	c, err := g.Start(ctx, debt, "k")
	require.NoError(t, err)
	require.Equal(t, now.Add(15*time.Minute), c.ExpiresAt)

	e := g.Pay(debt.RPTID)
	require.NotEmpty(t, e.ID)
	require.Equal(t, appio.PaymentEvent{ID: e.ID, RPTID: debt.RPTID, State: appio.Paid, At: now}, e)
	now = now.Add(time.Hour)
	require.Equal(t, e, g.Pay(debt.RPTID), "the same event once more")
	require.Equal(t, []appio.PaymentEvent{e, e}, told)

	_, err = g.Start(ctx, debt, "another")
	refused(t, err, pagopa.PaymentDuplicated)
	again, err := g.Start(ctx, debt, "k")
	require.NoError(t, err, "the same key is the same checkout, however often it is asked for")
	require.Equal(t, c, again)

	unknown := debt.RPTID
	unknown.Notice = "302032002700000252"
	require.NotEqual(t, e.ID, g.Pay(unknown).ID)
	_, err = g.Verify(ctx, unknown)
	refused(t, err, pagopa.PaymentDuplicated)

	g.Put(debt)
	_, err = g.Verify(ctx, debt.RPTID)
	require.NoError(t, err, "put again it is as new")
	require.NotEqual(t, e.ID, g.Pay(debt.RPTID).ID, "and another payment")
}

func TestGatewaySettles(t *testing.T) {
	t.Parallel()
	var told []appio.PaymentEvent
	g := &gatewaytest.Gateway{OnEvent: func(ev appio.PaymentEvent) { told = append(told, ev) }}
	ctx := t.Context()
	g.Put(debt)
	var all []appio.PaymentEvent
	for _, c := range []struct {
		state    appio.PaymentState
		category string
	}{
		{appio.Paying, pagopa.PaymentOngoing}, {appio.Unpaid, ""}, {appio.Expired, pagopa.PaymentExpired},
		{appio.Cancelled, pagopa.PaymentCanceled}, {appio.Paid, pagopa.PaymentDuplicated},
	} {
		ev := g.Settle(debt.RPTID, c.state)
		require.Equal(t, c.state, ev.State)
		all = append(all, ev)
		_, err := g.Verify(ctx, debt.RPTID)
		if c.category == "" {
			require.NoError(t, err)
			continue
		}
		refused(t, err, c.category)
	}
	require.Equal(t, all, told)
	ids := map[string]bool{}
	for _, ev := range all {
		ids[ev.ID] = true
	}
	require.Len(t, ids, len(all))

	unknown := debt.RPTID
	unknown.Notice = "302032002700000252"
	g.Settle(unknown, appio.Unpaid)
	_, err := g.Verify(ctx, unknown)
	refused(t, err, pagopa.PaymentUnknown)
}

func TestGatewayKeepsKeysApart(t *testing.T) {
	t.Parallel()
	var g gatewaytest.Gateway
	ctx := t.Context()
	other := debt
	other.RPTID.Notice = "302032002700000252"
	g.Put(debt)
	g.Put(other)
	c, err := g.Start(ctx, debt, "k")
	require.NoError(t, err)
	_, err = g.Start(ctx, other, "k")
	require.ErrorIs(t, err, gatewaytest.ErrKey)
	d, err := g.Start(ctx, other, "l")
	require.NoError(t, err)
	require.NotEqual(t, c.URL, d.URL)
}

func TestGatewayFails(t *testing.T) {
	t.Parallel()
	var g gatewaytest.Gateway
	ctx := t.Context()
	g.Put(debt)
	broken := errors.New("broken")

	g.Fail(broken)
	_, err := g.Verify(ctx, debt.RPTID)
	require.Equal(t, broken, err)
	_, err = g.Start(ctx, debt, "k")
	require.Equal(t, broken, err)
	g.Fail(nil)

	g.Lose(broken)
	_, err = g.Verify(ctx, debt.RPTID)
	require.Equal(t, broken, err)
	_, err = g.Start(ctx, debt, "k")
	require.Equal(t, broken, err)
	g.Pay(debt.RPTID)
	_, err = g.Start(ctx, debt, "l")
	refused(t, err, pagopa.PaymentDuplicated) // a fault is not lost, or nobody would ever see one
	g.Lose(nil)

	_, err = g.Start(ctx, debt, "k")
	require.NoError(t, err, "the payment began though its answer was lost")
}

func TestGatewayTakesItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g gatewaytest.Gateway
		g.Put(debt)
		g.Delay(time.Minute)
		start := time.Now()
		_, err := g.Verify(t.Context(), debt.RPTID)
		require.NoError(t, err)
		require.Equal(t, time.Minute, time.Since(start))

		why := errors.New("time is up")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
		defer cancel()
		_, err = g.Start(ctx, debt, "k")
		require.Equal(t, why, err)
		require.Equal(t, time.Minute+time.Second, time.Since(start))
		require.Len(t, g.Calls(), 2)

		g.Delay(0)
		_, err = g.Verify(ctx, debt.RPTID)
		require.Equal(t, why, err, "a context that has ended")
		_, err = g.Verify(t.Context(), debt.RPTID)
		require.NoError(t, err)
		require.Equal(t, time.Minute+time.Second, time.Since(start))
	})
}
