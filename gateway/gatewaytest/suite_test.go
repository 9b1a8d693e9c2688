package gatewaytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/conformance"
	"github.com/appio-go/appio/pagopa"
)

// The suite is right if sound gateways pass all of it, and each rule is failed by a gateway that breaks that rule on purpose.

func TestSuitePassesSoundGateways(t *testing.T) {
	t.Run("the one in memory", func(t *testing.T) {
		Run(t, func(_ *testing.T, creditors *Gateway) appio.PaymentGateway { return creditors })
	})
	t.Run("one that wraps errors and hides details", func(t *testing.T) {
		Run(t, func(_ *testing.T, creditors *Gateway) appio.PaymentGateway {
			hide := func(err error) error {
				var f *pagopa.Fault
				if errors.As(err, &f) {
					f.Detail = ""
				}
				return fmt.Errorf("ask: %w", err)
			}
			return &broken{
				verify: func(ctx context.Context, id pagopa.RPTID) (appio.Debt, error) {
					d, err := creditors.Verify(ctx, id)
					if err != nil {
						return appio.Debt{}, hide(err)
					}
					return d, nil
				},
				start: func(ctx context.Context, d appio.Debt, key string) (appio.Checkout, error) {
					c, err := creditors.Start(ctx, d, key)
					if err != nil {
						return appio.Checkout{}, hide(err)
					}
					c.URL += "?from=app" // its own address, and no time
					return appio.Checkout{URL: c.URL}, nil
				},
			}
		})
	})
	t.Run("one that speaks HTTP", func(t *testing.T) {
		Run(t, func(t *testing.T, creditors *Gateway) appio.PaymentGateway {
			server := httptest.NewServer(far{creditors})
			t.Cleanup(server.Close)
			return near{server.Client(), server.URL}
		})
	})
}

// An answer is what far says.
type answer struct {
	Debt     appio.Debt
	Checkout appio.Checkout
	Fault    *pagopa.Fault
}

// far answers for the creditors.
type far struct{ creditors *Gateway }

func (f far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var d appio.Debt
	if err := json.Unmarshal([]byte(r.FormValue("debt")), &d); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var a answer
	var err error
	if r.URL.Path == "/verify" {
		a.Debt, err = f.creditors.Verify(r.Context(), d.RPTID)
	} else {
		a.Checkout, err = f.creditors.Start(r.Context(), d, r.FormValue("key"))
	}
	if err != nil && !errors.As(err, &a.Fault) {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(a)
}

// near asks far.
type near struct {
	client *http.Client
	url    string
}

func (n near) ask(ctx context.Context, path string, d appio.Debt, key string) (answer, error) {
	debt, err := json.Marshal(d)
	if err != nil {
		return answer{}, err
	}
	form := url.Values{"debt": {string(debt)}, "key": {key}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := n.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("the service answered %s", resp.Status)
	}
	var a answer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return answer{}, err
	}
	if a.Fault != nil {
		return answer{}, a.Fault
	}
	return a, nil
}

func (n near) Verify(ctx context.Context, id pagopa.RPTID) (appio.Debt, error) {
	a, err := n.ask(ctx, "/verify", appio.Debt{RPTID: id}, "")
	return a.Debt, err
}

func (n near) Start(ctx context.Context, d appio.Debt, key string) (appio.Checkout, error) {
	a, err := n.ask(ctx, "/start", d, key)
	return a.Checkout, err
}

func TestSuiteFailsBrokenGateways(t *testing.T) {
	for _, b := range bugs {
		t.Run(b.bug, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(checks(), func(c check) bool { return c.rule == b.rule })
			require.GreaterOrEqual(t, i, 0, "there is no rule %q", b.rule)
			creditors := newCreditors()
			failures := conformance.Record(t, func(t tester) { checks()[i].run(t, &subject{b.open(t, creditors), creditors}) })
			require.NotEmpty(t, failures, "a gateway with this bug passes %q", b.rule)
			require.Contains(t, failures[0], b.says)
			t.Log(failures[0])
		})
	}
}

func TestEveryRuleFailsSomeBrokenGateway(t *testing.T) {
	for _, c := range checks() {
		if !slices.ContainsFunc(bugs, func(b bug) bool { return b.rule == c.rule }) {
			t.Errorf("no broken gateway shows that %q can fail", c.rule)
		}
	}
}
