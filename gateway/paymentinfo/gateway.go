package paymentinfo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
)

// Options are how a service is asked, and how payments go on. Nil is as good as their zero value.
type Options struct {
	// Client makes the requests. Its redirect policy does not count: redirects are not followed. Nil: a client that keeps 16 idle
	// connections, and takes no more than 64 KiB of headers.
	Client *http.Client

	// Header has what the service wants beside the request: Authorization, an API key. It is called for each request, and should
	// keep what it can. Its errors must not hold secrets. Nil: nothing.
	Header func(ctx context.Context) (http.Header, error)

	// Timeout is for each request, with its answer and what Header takes. 0: 10 seconds.
	Timeout time.Duration

	// Start says where a payment goes on, by the rules of [appio.PaymentGateway]. Nil: the service at CheckoutURL does; where there is
	// none either, Start is [appio.ErrUnsupported].
	Start func(ctx context.Context, d appio.Debt, key string) (appio.Checkout, error)

	// CheckoutURL is asked where payments go on, and CheckoutHeader has what it wants beside the request, like Header: the two
	// services may be different ones. Not together with Start.
	CheckoutURL    string
	CheckoutHeader func(ctx context.Context) (http.Header, error)
}

// A Gateway asks one service. It keeps no state, and may be used concurrently. There is nothing to close.
type Gateway struct {
	client   *http.Client
	info     endpoint
	checkout endpoint
	start    func(ctx context.Context, d appio.Debt, key string) (appio.Checkout, error)
	timeout  time.Duration
}

// An endpoint is an address, and what is wanted there.
type endpoint struct {
	url    *url.URL
	header func(ctx context.Context) (http.Header, error)
}

// New makes a gateway that asks address + "/" + RPT id; a query in the address stays behind the path. Addresses are https, or http to
// this same machine, and hold no password. An error is an [appio.FieldError].
func New(address string, o *Options) (*Gateway, error) {
	if o == nil {
		o = &Options{}
	}
	g := &Gateway{start: o.Start, timeout: o.Timeout, info: endpoint{header: o.Header}, checkout: endpoint{header: o.CheckoutHeader}}
	var err error
	if g.info.url, err = absolute("address", address); err != nil {
		return nil, err
	}
	if o.CheckoutURL != "" {
		if g.checkout.url, err = absolute("CheckoutURL", o.CheckoutURL); err != nil {
			return nil, err
		}
		if o.Start != nil {
			return nil, &appio.FieldError{Field: "CheckoutURL", Rule: "empty where Start is given"}
		}
	}
	if g.timeout < 0 {
		return nil, &appio.FieldError{Field: "Timeout", Rule: "not negative"}
	}
	if g.timeout == 0 {
		g.timeout = 10 * time.Second
	}
	g.client = &http.Client{}
	if o.Client != nil {
		*g.client = *o.Client
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone()
		t.MaxIdleConnsPerHost, t.MaxResponseHeaderBytes = 16, maxAnswer
		g.client.Transport = t
	}
	g.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return g, nil
}

// absolute reads an address. The error does not quote it, since there may be secrets in its query.
func absolute(field, address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil, u.Host == "", u.Scheme != "https" && u.Scheme != "http":
		return nil, &appio.FieldError{Field: field, Rule: "an absolute URL of https"}
	case u.Scheme == "http" && !local(u.Hostname()):
		return nil, &appio.FieldError{Field: field, Rule: "https, or http to this machine"}
	case u.User != nil || u.Fragment != "":
		return nil, &appio.FieldError{Field: field, Rule: "without user, password and fragment"}
	}
	return u, nil
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

var errRPTID = errors.New("paymentinfo: not an RPT id")

// Verify asks for a debt.
func (g *Gateway) Verify(ctx context.Context, id pagopa.RPTID) (appio.Debt, error) {
	if !id.Valid() {
		return appio.Debt{}, errRPTID
	}
	body, err := g.ask(ctx, http.MethodGet, g.info, id.String(), nil)
	if err != nil {
		return appio.Debt{}, err
	}
	return debtOf(id, body)
}

// Start asks where the payment goes on.
func (g *Gateway) Start(ctx context.Context, d appio.Debt, key string) (appio.Checkout, error) {
	switch {
	case !d.RPTID.Valid():
		return appio.Checkout{}, errRPTID
	case g.start != nil:
		return g.start(ctx, d, key)
	case g.checkout.url == nil:
		return appio.Checkout{}, fmt.Errorf("paymentinfo: start a payment: %w", appio.ErrUnsupported)
	}
	body, err := json.Marshal(order(d, key))
	if err != nil {
		return appio.Checkout{}, errors.New("paymentinfo: a debt that cannot be written as JSON")
	}
	if body, err = g.ask(ctx, http.MethodPost, g.checkout, "", body); err != nil {
		return appio.Checkout{}, err
	}
	return checkoutOf(body)
}

// errSlow ends a request that takes longer than Options.Timeout.
var errSlow = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)

// ask makes one request and returns the JSON that came with success. All else is an error: a fault, if the answer has one.
func (g *Gateway) ask(ctx context.Context, method string, e endpoint, last string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, g.timeout, errSlow)
	defer cancel()
	to := e.url
	if last != "" {
		to = to.JoinPath(last)
	}
	req, err := http.NewRequestWithContext(ctx, method, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("paymentinfo: no request can be made of the address")
	}
	if e.header != nil {
		header, err := e.header(ctx)
		if err != nil {
			return nil, fmt.Errorf("paymentinfo: headers of the request: %w", err)
		}
		for name, values := range header {
			req.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, unanswered(ctx, err)
	}
	defer resp.Body.Close()
	return answer(ctx, method, resp)
}
