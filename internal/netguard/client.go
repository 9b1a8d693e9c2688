// Package netguard makes requests to addresses that somebody else has chosen: a citizen who enters an endpoint, a browser that names its
// push service, a sender who attaches a document. Such an address must not lead into the host's own network.
//
// What counts is the address that is dialled, after the name was resolved and just before the connection is made. A check of the
// name before, by whatever rule, is void if the name resolves to something else a moment later, or is a way to write an address
// that the check does not know. So no spelling of a host has to be recognised here.
package netguard

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// Options say what may be reached, and the bounds. Nil is as good as their zero value.
type Options struct {
	// Allow has addresses that may be reached although they are not public: a service in the host's own network, or this machine in
	// a test. IPv4 addresses are written as such.
	Allow []netip.Prefix
	// Deny has addresses that may not be reached although they are public, or in Allow: public addresses that are answered inside the
	// host's network alone, and the prefix of a NAT64 of its own.
	Deny []netip.Prefix
	// Ports are those that may be reached. Nil: 443, and with Insecure 80.
	Ports []uint16
	// Insecure admits http. Where it is false, so is https alone.
	Insecure bool

	// TLS is what is known of certificates, with a client's own if there is one. It is copied. Nil: the system's roots.
	TLS *tls.Config
	// Resolver looks up names. Nil: that of the system.
	Resolver *net.Resolver

	// Timeout is for a request, from the dial to the end of the answer's body. 0: 20 seconds.
	Timeout time.Duration
	// MaxBody is the most of an answer's body that can be read; beyond it reading fails with [ErrTooLong]. 0: 64 KiB.
	MaxBody int64
}

// maxHeader is the most of an answer's headers.
const maxHeader = 64 << 10

// maxBuffer is how much of a body by HTTP/2 may arrive before it is read; it is 4 MiB otherwise, for each request, also where no more
// than a status is wanted.
const maxBuffer = 64 << 10

// A Client makes guarded requests. It follows no redirect, uses no proxy, keeps no cookie, and unpacks nothing. It keeps a few idle
// connections, may be used concurrently, and needs no end.
type Client struct {
	options   Options
	client    http.Client
	transport *http.Transport
}

// New makes a client. It copies o.
func New(o *Options) *Client {
	if o == nil {
		o = &Options{}
	}
	c := &Client{options: *o}
	own := &c.options
	own.Allow, own.Deny, own.Ports = slices.Clone(o.Allow), slices.Clone(o.Deny), slices.Clone(o.Ports)
	own.Timeout, own.MaxBody = cmp.Or(o.Timeout, 20*time.Second), cmp.Or(o.MaxBody, 64<<10)
	if own.Ports == nil {
		if own.Ports = []uint16{443}; own.Insecure {
			own.Ports = append(own.Ports, 80)
		}
	}
	config := &tls.Config{}
	if o.TLS != nil {
		config = o.TLS.Clone()
	}
	dialer := &net.Dialer{Timeout: own.Timeout, Resolver: own.Resolver, ControlContext: c.control}
	c.transport = &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := ofCall(ctx, own.Timeout)
			defer cancel()
			return dialer.DialContext(context.WithValue(ctx, triesKey{}, new(atomic.Int32)), network, address)
		},
		DialTLSContext: c.dialTLS, TLSClientConfig: config, ForceAttemptHTTP2: true,
		MaxIdleConns: 100, MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: maxHeader,
		DisableCompression: true, HTTP2: Pings(),
	}
	c.transport.HTTP2.MaxReceiveBufferPerStream = maxBuffer
	c.client = http.Client{
		Transport: c.transport, Timeout: own.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// callKey is that of the request's context, in the context of the dial that is made for it. By itself package http has such a dial go on
// when the request has ended, as another may use what comes of it: an endpoint that takes connections and says nothing, asked again
// and again, would have more of them from us at a time than there are requests.
type callKey struct{}

// ofCall is a context for a dial that ends with the request that it is for, or with its time.
func ofCall(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	dial, cancel := context.WithTimeout(ctx, timeout)
	if call, ok := ctx.Value(callKey{}).(context.Context); ok {
		stop := context.AfterFunc(call, cancel)
		return dial, func() {
			stop()
			cancel()
		}
	}
	return dial, cancel
}

// dialTLS makes a connection up to the end of its handshake.
func (c *Client) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := ofCall(ctx, c.options.Timeout)
	defer cancel()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	raw, err := c.transport.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	config := c.transport.TLSClientConfig.Clone() // in which package http has written that HTTP/2 is spoken
	config.ServerName = cmp.Or(config.ServerName, host)
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// Pings have HTTP/2 look after a connection that says nothing. Where one has died in silence, as behind a firewall that forgot it,
// requests would go into it for a quarter of an hour.
func Pings() *http.HTTP2Config {
	return &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second}
}

// maxTries is how many addresses of one name are tried: who chose the name may have it resolve to hundreds of other people's machines.
const maxTries = 16

// triesKey is that of how many addresses were tried, in the context of a dial.
type triesKey struct{}

// control is asked when an address is about to be connected to.
func (c *Client) control(ctx context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return ErrRefused
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil || !c.address(to.Addr()) {
		return ErrRefused
	}
	if tries, ok := ctx.Value(triesKey{}).(*atomic.Int32); !ok || tries.Add(1) > maxTries {
		return ErrRefused
	}
	return nil
}

func (c *Client) port(p uint16) bool { return slices.Contains(c.options.Ports, p) }

func (c *Client) address(a netip.Addr) bool {
	a = a.Unmap()
	return !within(c.options.Deny, a) && (Public(a) || within(c.options.Allow, a))
}

// Check tells what can be told of a URL before its name is resolved; [Client.Do] refuses the same, and more. An error is
// [ErrRefused], and no later attempt goes better.
func (c *Client) Check(u *url.URL) error {
	port := map[string]uint16{"https": 443}
	if c.options.Insecure {
		port["http"] = 80
	}
	p, ok := port[u.Scheme]
	if !ok || u.Hostname() == "" || u.User != nil || u.Opaque != "" {
		return ErrRefused
	}
	if text := u.Port(); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return ErrRefused
		}
		p = uint16(n)
	}
	if a, err := netip.ParseAddr(u.Hostname()); !c.port(p) || err == nil && !c.address(a) {
		return ErrRefused
	}
	return nil
}

// Do makes one request. Errors, also those of reading the body, have nothing of the URL, the host, its addresses, or what it wrote: they
// may be logged. What they wrap is [ErrRefused], [ErrTooLong], the context's cause, a syscall.Errno, or nothing.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	if err := c.Check(req.URL); err != nil {
		return nil, err
	}
	ctx := req.Context()
	resp, err := c.client.Do(req.WithContext(context.WithValue(ctx, callKey{}, ctx)))
	if err != nil {
		return nil, Clean(ctx, err)
	}
	resp.Body = &body{resp.Body, ctx, c.options.MaxBody}
	return resp, nil
}

// CloseIdle closes the connections that wait for reuse.
func (c *Client) CloseIdle() { c.transport.CloseIdleConnections() }

// A body is read up to its bound.
type body struct {
	from io.ReadCloser
	ctx  context.Context
	left int64
}

func (b *body) Read(p []byte) (int, error) {
	if int64(len(p))-1 > b.left {
		p = p[:b.left+1] // one more tells whether there is more
	}
	n, err := b.from.Read(p)
	if int64(n) > b.left {
		n, b.left = int(b.left), 0
		return n, ErrTooLong
	}
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = Clean(b.ctx, err)
	}
	return n, err
}

func (b *body) Close() error { return b.from.Close() }
