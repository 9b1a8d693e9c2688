package paymentinfo_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/gateway/paymentinfo"
	"github.com/appio-go/appio/pagopa"
)

func TestTheEnginePays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	creditors := &gatewaytest.Gateway{}
	var lost atomic.Bool // answers of the checkout service are
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/checkout" && lost.Load() {
			service{creditors}.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		service{creditors}.ServeHTTP(w, r)
	}))
	k := appiotest.New(t, &appio.Options{
		Payments: open(t, server.URL+"/payment-requests", &paymentinfo.Options{CheckoutURL: server.URL + "/checkout"}),
	})
	creditors.Now = k.Now
	creditors.OnEvent = func(ev appio.PaymentEvent) { require.NoError(t, k.Settle(ctx, ev)) }
	mario := k.Person(appiotest.Mario, appio.Auto)
	text := string(id.Creditor) + " " + string(id.Notice)

	_, err := mario.ScanNotice(ctx, text)
	require.Equal(t, pagopa.NewFault("PAA_PAGAMENTO_SCONOSCIUTO"), err)
	creditors.Put(debt)
	d, err := mario.ScanNotice(ctx, text)
	require.NoError(t, err)
	require.Equal(t, debt, d)

	creditors.Fail(errors.New("out of order"))
	before := len(creditors.Calls())
	_, err = mario.Pay(ctx, id)
	noFault(t, err)
	require.Greater(t, len(creditors.Calls()), before+1, "the engine tries again, and the gateway does not")
	creditors.Fail(nil)

	dear := debt
	dear.Amount += 3_20
	creditors.Put(dear)
	lost.Store(true)
	_, err = mario.Pay(ctx, id)
	noFault(t, err)
	lost.Store(false)
	checkout, err := mario.Pay(ctx, id)
	require.NoError(t, err)
	again, err := mario.Pay(ctx, id)
	require.NoError(t, err)
	require.Equal(t, checkout, again)
	started, keys := 0, map[string]bool{}
	for _, c := range creditors.Calls() {
		if c.Method == "Start" {
			require.Equal(t, dear.Amount, c.Amount)
			started++
			keys[c.Key] = true
		}
	}
	require.Greater(t, started, 3)
	require.Len(t, keys, 1, "it is one payment")

	paid := creditors.Pay(id)
	_, err = k.Flush(ctx)
	require.NoError(t, err)
	bill, err := mario.Bill(ctx, id)
	require.NoError(t, err)
	require.Equal(t, appio.Paid, bill.State)
	require.Equal(t, dear.Amount, bill.Amount)
	require.True(t, paid.At.Equal(bill.StateAt))
	_, err = mario.Pay(ctx, id)
	var fault *pagopa.Fault
	require.ErrorAs(t, err, &fault)
	require.True(t, fault.Paid())
}
