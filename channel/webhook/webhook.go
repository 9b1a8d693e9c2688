package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/netguard"
)

// Options are where deliveries go, and what signs them.
type Options struct {
	// URL is the endpoint of all deliveries, such as a system of the host's own, which is told whom each is for. It serves
	// routes with Route.ByCode and others. Empty: each delivery goes to its address, which is a URL.
	URL string

	// Keys sign each delivery, all of them: more than one while receivers change from one to another. Secrets are for one endpoint, so that
	// without URL they have to come from KeysFor.
	Keys []Key
	// KeysFor chooses the keys of a delivery, by its Address, in place of Keys. It should answer at once, and keep what it can. Its
	// errors must hold no secret and no address.
	KeysFor func(ctx context.Context, d appio.Delivery) ([]Key, error)

	// Thin sends identifiers alone, for a receiver that asks for the rest where its access is checked and noted.
	Thin bool

	// Allow has addresses that may be connected to although they are not public, as those of a system in the host's own network.
	Allow []netip.Prefix
	// Deny has addresses that may not be, although they are public or in Allow: public ones that are answered inside the host's network
	// alone, and the prefix of a NAT64 of its own.
	Deny []netip.Prefix
	// Ports are those that may be connected to. Nil: 443, and with Insecure 80.
	Ports []uint16
	// Insecure admits http, by which everybody on the way reads along. It is for tests.
	Insecure bool

	TLS      *tls.Config      // nil: the system's roots, and no certificate of a client
	Resolver *net.Resolver    // nil: that of the system
	Timeout  time.Duration    // of an attempt, with its answer; 0: 20 seconds. Route.Timeout counts as well.
	Now      func() time.Time // nil: time.Now
}

// A Channel posts deliveries. It keeps some idle connections, and needs no end.
type Channel struct {
	client   *netguard.Client
	endpoint *url.URL // nil: each delivery has its own
	keys     func(ctx context.Context, d appio.Delivery) ([]Key, error)
	thin     bool
	now      func() time.Time
}

var (
	errURL     = errors.New("webhook: the address is not a URL that may be asked")
	errByCode  = errors.New("webhook: a delivery by code needs Options.URL")
	errContent = errors.New("webhook: the delivery cannot be written as JSON")
)

// New makes a channel. It copies o. An error is an [appio.FieldError].
func New(o *Options) (*Channel, error) {
	if o == nil {
		o = &Options{}
	}
	c := &Channel{keys: o.KeysFor, thin: o.Thin, now: o.Now}
	if c.now == nil {
		c.now = time.Now
	}
	if o.Timeout < 0 {
		return nil, &appio.FieldError{Field: "Timeout", Rule: "not negative"}
	}
	c.client = netguard.New(&netguard.Options{
		Allow: o.Allow, Deny: o.Deny, Ports: o.Ports, Insecure: o.Insecure, TLS: o.TLS, Resolver: o.Resolver, Timeout: o.Timeout,
		MaxBody: maxDrained,
	})
	if o.URL != "" {
		if err := c.Check(o.URL); err != nil {
			return nil, err
		}
		c.endpoint, _ = c.parse(o.URL) // as Check did
	}
	if o.KeysFor != nil {
		if o.Keys != nil {
			return nil, &appio.FieldError{Field: "Keys", Rule: "empty where KeysFor is given"}
		}
		return c, nil
	}
	if len(o.Keys) == 0 || len(o.Keys) > maxSignatures {
		return nil, &appio.FieldError{Field: "Keys", Rule: fmt.Sprintf("1 to %d", maxSignatures)}
	}
	for i, k := range o.Keys {
		field := fmt.Sprintf("Keys[%d]", i)
		switch {
		case !k.signs():
			return nil, &appio.FieldError{Field: field, Rule: "a key that signs"}
		case k.secret != nil && c.endpoint == nil:
			return nil, &appio.FieldError{Field: field, Rule: "no secret that many endpoints share: see KeysFor"}
		}
	}
	keys := slices.Clone(o.Keys)
	c.keys = func(context.Context, appio.Delivery) ([]Key, error) { return keys, nil }
	return c, nil
}

// Check tells whether an endpoint may be asked, as far as that can be told before its name is resolved. Deliveries to one that may not be
// are all parked: check what a citizen enters before it becomes an Address.Value. An error is an [appio.FieldError], without the URL.
func (c *Channel) Check(endpoint string) error {
	if _, err := c.parse(endpoint); err != nil {
		return &appio.FieldError{Field: "URL", Rule: "an absolute URL of https without user, password and fragment, on an allowed port, at an allowed address"}
	}
	return nil
}

// parse reads an endpoint.
func (c *Channel) parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Fragment != "" || c.client.Check(u) != nil {
		return nil, errURL
	}
	return u, nil
}

// Deliver posts d once.
func (c *Channel) Deliver(ctx context.Context, d appio.Delivery) error {
	to := c.endpoint
	if to == nil {
		if d.Address.Value == "" {
			return appio.Permanent(errByCode)
		}
		var err error
		if to, err = c.parse(d.Address.Value); err != nil {
			return appio.Permanent(err)
		}
	}
	body, err := json.Marshal(event(&d, c.endpoint != nil, c.thin))
	if err != nil {
		return appio.Permanent(errContent)
	}
	keys, err := c.keys(ctx, d)
	if err != nil {
		return fmt.Errorf("webhook: keys: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return appio.Permanent(errURL)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "appio")
	now := c.now()
	if err := Sign(req.Header, string(d.ID), now, body, keys...); err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return answer(resp, now, c.endpoint == nil)
}
