package paymentinfo_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/gateway/paymentinfo"
	"github.com/appio-go/appio/internal/conformance"
	"github.com/appio-go/appio/pagopa"
)

var (
	id   = pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"}
	debt = appio.Debt{
		RPTID: id, Amount: 150_00, Payee: "Comune di Esempio", Description: "TARI 2026, Maria Bianchi",
		Due: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC),
	}
)

// A service is the far side: creditors in memory, over HTTP.
type service struct{ creditors *gatewaytest.Gateway }

func (s service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /payment-requests/{rptId}", func(w http.ResponseWriter, r *http.Request) {
		id, err := pagopa.ParseRPTID(r.PathValue("rptId"))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		d, err := s.creditors.Verify(r.Context(), id)
		if err != nil {
			refuse(w, r, err)
			return
		}
		a := map[string]any{"rptId": d.RPTID.String(), "paFiscalCode": d.RPTID.Creditor, "amount": d.Amount, "somethingNew": []int{1}}
		if d.Payee != "" {
			a["paName"] = d.Payee
		}
		if d.Description != "" {
			a["description"] = d.Description
		}
		if !d.Due.IsZero() {
			a["dueDate"] = d.Due.Format(time.DateOnly)
		}
		write(w, http.StatusOK, a)
	})
	mux.HandleFunc("POST /checkout", func(w http.ResponseWriter, r *http.Request) {
		var o struct {
			Key, RptID, PaName, Description, DueDate string
			Amount                                   pagopa.Amount
		}
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		d := appio.Debt{Amount: o.Amount, Payee: o.PaName, Description: o.Description}
		d.RPTID, _ = pagopa.ParseRPTID(o.RptID) // who is asked for nothing knows nothing
		c, err := s.creditors.Start(r.Context(), d, o.Key)
		if err != nil {
			refuse(w, r, err)
			return
		}
		a := map[string]any{"url": c.URL}
		if !c.ExpiresAt.IsZero() {
			a["expiresAt"] = c.ExpiresAt
		}
		write(w, http.StatusCreated, a)
	})
	mux.ServeHTTP(w, r)
}

// refuse answers with a fault, if it is one.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	var f *pagopa.Fault
	if !errors.As(err, &f) {
		http.Error(w, "about "+r.URL.Path+": "+err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, f.Status(), map[string]any{"title": "Fault", "faultCodeCategory": f.Category, "faultCodeDetail": f.Detail})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// quiet says nothing about bad clients.
var quiet = log.New(io.Discard, "", 0)

// serve starts a server that ends with the test.
func serve(t *testing.T, h http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = quiet
	server.Start()
	t.Cleanup(server.Close)
	return server
}

func open(t *testing.T, address string, o *paymentinfo.Options) *paymentinfo.Gateway {
	t.Helper()
	if o == nil {
		o = &paymentinfo.Options{}
	}
	if o.Client == nil { // one for each server, so that its connections end with it
		o.Client = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
		t.Cleanup(o.Client.CloseIdleConnections)
	}
	g, err := paymentinfo.New(address, o)
	require.NoError(t, err)
	return g
}

func TestGatewayKeepsTheContract(t *testing.T) {
	t.Run("with a checkout service", func(t *testing.T) {
		gatewaytest.Run(t, func(t *testing.T, creditors *gatewaytest.Gateway) appio.PaymentGateway {
			server := serve(t, service{creditors})
			return open(t, server.URL+"/payment-requests", &paymentinfo.Options{CheckoutURL: server.URL + "/checkout"})
		})
	})
	t.Run("with the host's function", func(t *testing.T) {
		gatewaytest.Run(t, func(t *testing.T, creditors *gatewaytest.Gateway) appio.PaymentGateway {
			server := serve(t, service{creditors})
			return open(t, server.URL+"/payment-requests/", &paymentinfo.Options{Start: creditors.Start})
		})
	})
	t.Run("with its own client", func(t *testing.T) {
		gatewaytest.Run(t, func(t *testing.T, creditors *gatewaytest.Gateway) appio.PaymentGateway {
			server := serve(t, service{creditors})
			g, err := paymentinfo.New(server.URL+"/payment-requests", &paymentinfo.Options{CheckoutURL: server.URL + "/checkout"})
			require.NoError(t, err)
			return g
		})
	})
}

func TestNew(t *testing.T) {
	t.Parallel()
	start := func(context.Context, appio.Debt, string) (appio.Checkout, error) { return appio.Checkout{}, nil }
	for _, address := range []string{
		"https://api.example.org", "https://api.example.org/v2/payment-requests?test=true", "http://localhost:8080/x",
		"http://127.0.0.2/", "http://[::1]:9/",
	} {
		_, err := paymentinfo.New(address, nil)
		require.NoError(t, err, address)
		_, err = paymentinfo.New("https://api.example.org", &paymentinfo.Options{CheckoutURL: address})
		require.NoError(t, err, address)
	}
	for address, rule := range map[string]string{
		"":                            "an absolute URL of https",
		"/payment-requests":           "an absolute URL of https",
		"api.example.org/secret":      "an absolute URL of https",
		"ftp://api.example.org":       "an absolute URL of https",
		"https:///secret":             "an absolute URL of https",
		"https://api.example.org/%zz": "an absolute URL of https",
		"http://api.example.org":      "https, or http to this machine",
		"http://10.0.0.1":             "https, or http to this machine",
		"http://localhost.example":    "https, or http to this machine",
		"https://u:secret@x.example":  "without user, password and fragment",
		"https://x.example/#secret":   "without user, password and fragment",
	} {
		_, err := paymentinfo.New(address, nil)
		var field *appio.FieldError
		require.ErrorAs(t, err, &field, address)
		require.Equal(t, &appio.FieldError{Field: "address", Rule: rule}, field, address)
		require.ErrorIs(t, err, appio.ErrInvalid)
		if address != "" {
			_, err = paymentinfo.New("https://api.example.org", &paymentinfo.Options{CheckoutURL: address})
			require.EqualError(t, err, "appio: invalid CheckoutURL: "+rule, address)
		}
	}
	_, err := paymentinfo.New("https://x.example", &paymentinfo.Options{Start: start, CheckoutURL: "https://x.example"})
	require.EqualError(t, err, "appio: invalid CheckoutURL: empty where Start is given")
	_, err = paymentinfo.New("https://x.example", &paymentinfo.Options{Timeout: -1})
	require.EqualError(t, err, "appio: invalid Timeout: not negative")
}

func TestRequest(t *testing.T) {
	t.Parallel()
	var requests []string
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests = append(requests, fmt.Sprintf("%s %s %s %v %v %s %s", r.Method, r.URL, r.Header.Get("Authorization"),
			r.Header["X-Key"], r.Header["Accept"], r.Header.Get("Content-Type"), body))
		write(w, http.StatusOK, map[string]any{"amount": 1, "url": "https://x.example"})
	}))
	ctx := t.Context()
	g := open(t, server.URL+"/v2/payment-requests?test=true", &paymentinfo.Options{
		Header: func(context.Context) (http.Header, error) {
			return http.Header{"authorization": {"Bearer a"}, "X-Key": {"1", "2"}, "accept": {"text/html"}}, nil
		},
		CheckoutURL: server.URL + "/checkout",
		CheckoutHeader: func(context.Context) (http.Header, error) {
			return http.Header{"Authorization": {"Bearer b"}, "Content-Type": {"text/html"}}, nil
		},
	})
	_, err := g.Verify(ctx, id)
	require.NoError(t, err)
	_, err = g.Start(ctx, debt, "k-1")
	require.NoError(t, err)
	west := debt.Due.In(time.FixedZone("", -5*3600))
	_, err = g.Start(ctx, appio.Debt{RPTID: id, Amount: 1, Due: west}, "k-2")
	require.NoError(t, err)
	_, err = g.Start(ctx, appio.Debt{RPTID: id, Amount: 1}, "k-2")
	require.NoError(t, err)
	require.Equal(t, []string{
		"GET /v2/payment-requests/01199250158302032002700000251?test=true Bearer a [1 2] [application/json]  ",
		`POST /checkout Bearer b [] [application/json] application/json {"key":"k-1","rptId":"01199250158302032002700000251",` +
			`"amount":15000,"paName":"Comune di Esempio","description":"TARI 2026, Maria Bianchi","dueDate":"2026-11-30"}`,
		`POST /checkout Bearer b [] [application/json] application/json {"key":"k-2","rptId":"01199250158302032002700000251","amount":1,` +
			`"dueDate":"2026-11-30"}`,
		`POST /checkout Bearer b [] [application/json] application/json {"key":"k-2","rptId":"01199250158302032002700000251","amount":1}`,
	}, requests)
}

func TestWithoutCredentialsNothingIsAsked(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	none := errors.New("no token")
	header := func(context.Context) (http.Header, error) { return nil, none }
	g := open(t, server.URL, &paymentinfo.Options{Header: header, CheckoutURL: server.URL, CheckoutHeader: header})
	_, err := g.Verify(t.Context(), id)
	require.ErrorIs(t, err, none)
	_, err = g.Start(t.Context(), debt, "k")
	require.ErrorIs(t, err, none)

	bad := func(context.Context) (http.Header, error) { return http.Header{"X-Key": {"secret\r\nHost: x"}}, nil }
	_, err = open(t, server.URL, &paymentinfo.Options{Header: bad}).Verify(t.Context(), id)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
	require.Zero(t, asked.Load())
}

func TestTheTimeOfHeaderCounts(t *testing.T) {
	t.Parallel()
	g := open(t, "https://x.example", &paymentinfo.Options{
		Timeout: time.Millisecond,
		Header: func(ctx context.Context) (http.Header, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		},
	})
	_, err := g.Verify(t.Context(), id)
	require.EqualError(t, err, "paymentinfo: headers of the request: no answer in time: context deadline exceeded")
}

func TestWithoutCheckout(t *testing.T) {
	t.Parallel()
	_, err := open(t, "https://x.example", nil).Start(t.Context(), debt, "k")
	require.ErrorIs(t, err, appio.ErrUnsupported)
}

func TestWhatIsNoRPTIDIsNotAsked(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	g := open(t, server.URL+"/a/b", &paymentinfo.Options{CheckoutURL: server.URL})
	for _, id := range []pagopa.RPTID{
		{}, {Creditor: "../../secret", Notice: id.Notice}, {Creditor: id.Creditor, Notice: "30203200270000025?"},
	} {
		_, err := g.Verify(t.Context(), id)
		require.EqualError(t, err, "paymentinfo: not an RPT id")
		_, err = g.Start(t.Context(), appio.Debt{RPTID: id, Amount: 1}, "k")
		require.EqualError(t, err, "paymentinfo: not an RPT id")
	}
	require.Zero(t, asked.Load())
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	elsewhere := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		write(w, http.StatusOK, map[string]any{"amount": 1, "url": "https://x.example"})
	}))
	var status atomic.Int64
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := elsewhere.URL + r.URL.Path
		if r.URL.Path == "/same/"+id.String() {
			to = "/moved/" + id.String()
		} else if strings.HasPrefix(r.URL.Path, "/moved/") {
			asked.Add(1)
		}
		http.Redirect(w, r, to, int(status.Load()))
	}))
	followed := &http.Client{
		Transport:     http.DefaultTransport.(*http.Transport).Clone(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return nil },
	}
	t.Cleanup(followed.CloseIdleConnections)
	for _, path := range []string{"/other", "/same"} {
		g := open(t, server.URL+path, &paymentinfo.Options{
			Client: followed, CheckoutURL: server.URL,
			Header: func(context.Context) (http.Header, error) { return http.Header{"X-Key": {"secret"}}, nil },
		})
		for _, s := range []int64{301, 302, 303, 307, 308} {
			status.Store(s)
			_, err := g.Verify(t.Context(), id)
			require.EqualError(t, err, fmt.Sprintf("paymentinfo: the service answered %d, a redirect, and these are not followed", s))
			_, err = g.Start(t.Context(), debt, "k")
			require.EqualError(t, err, fmt.Sprintf("paymentinfo: the service answered %d, a redirect, and these are not followed", s))
		}
	}
	require.Zero(t, asked.Load())
	require.NoError(t, followed.CheckRedirect(nil, nil), "the host's client is as it was")
}

// silent checks that an error tells nothing of the debt.
func silent(t *testing.T, err error) {
	t.Helper()
	for _, secret := range []string{string(id.Notice), string(id.Notice[1:]), string(id.Creditor), debt.Description, debt.Payee} {
		if how, ok := conformance.Tells(fmt.Sprintf("%v %+v", err, err), secret); ok {
			t.Errorf("the error %q tells of the debt%s", err, how)
		}
	}
}

// noFault checks that an error says nothing of the debt's state.
func noFault(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	var f *pagopa.Fault
	require.False(t, errors.As(err, &f), "%v", err)
	silent(t, err)
}
