package appio_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/pagopa"
)

// A strange gateway does something before it starts a payment.
type strangeGateway struct {
	*gatewaytest.Gateway
	before func(d appio.Debt, key string) error
}

func (g *strangeGateway) Start(ctx context.Context, d appio.Debt, key string) (appio.Checkout, error) {
	if err := g.before(d, key); err != nil {
		return appio.Checkout{}, err
	}
	return g.Gateway.Start(ctx, d, key)
}

// keys are those of payments that were begun.
func (g *strangeGateway) keys() map[string]bool {
	keys := map[string]bool{}
	for _, c := range g.Calls() {
		if c.Method == "Start" {
			keys[c.Key] = true
		}
	}
	return keys
}

func TestPayWithStrangeGateways(t *testing.T) {
	t.Parallel()
	nothing := func(appio.Debt, string) error { return nil }
	setup := func(t *testing.T) (*strangeGateway, *appio.Citizen, *town) {
		g := &strangeGateway{&gatewaytest.Gateway{}, nothing}
		g.Put(appio.Debt{RPTID: rptID, Amount: 56_78})
		w := newTown(t, withPayments(g))
		return g, w.enrol(giuseppe, appio.Auto), w
	}
	t.Run("one that ends its goroutine has not answered", func(t *testing.T) {
		t.Parallel()
		g, c, _ := setup(t)
		g.before = func(appio.Debt, string) error {
			runtime.Goexit()
			return nil
		}
		out, err := c.Pay(t.Context(), rptID)
		require.EqualError(t, err, "appio: the payment gateway ended its goroutine")
		require.Zero(t, out)
	})
	t.Run("a payment that it may have begun is the same, whatever it says of the next attempts", func(t *testing.T) {
		t.Parallel()
		for _, detail := range []string{"PPT_SYSTEM_ERROR", "PPT_UNHEARD_OF"} {
			g, c, _ := setup(t)
			first := ""
			g.before = func(d appio.Debt, key string) error {
				if first != "" {
					return pagopa.NewFault(detail)
				}
				first = key
				_, err := g.Gateway.Start(t.Context(), d, key)
				require.NoError(t, err)
				return errors.New("the answer is lost")
			}
			_, err := c.Pay(t.Context(), rptID)
			require.Error(t, err)
			g.before = nothing
			_, err = c.Pay(t.Context(), rptID)
			require.NoError(t, err)
			require.Equal(t, map[string]bool{first: true}, g.keys(), detail)
		}
	})
	t.Run("a payment that is under way because the citizen began it goes on", func(t *testing.T) {
		t.Parallel()
		g, c, w := setup(t)
		first, err := c.Pay(t.Context(), rptID)
		require.NoError(t, err)
		g.Settle(rptID, appio.Paying)
		again, err := c.Pay(t.Context(), rptID)
		require.NoError(t, err)
		require.Equal(t, first, again)
		require.Len(t, g.keys(), 1)
		_, err = w.enrol(matteo, appio.Auto).Pay(t.Context(), rptID)
		require.Equal(t, pagopa.NewFault("PPT_PAGAMENTO_IN_CORSO"), err, "it is not theirs")
	})
}
