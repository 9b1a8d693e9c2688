package netguard

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// resolver answers every name with the addresses that answer returns, which is called for each question.
func resolver(answer func(name string) []netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for {
				var size [2]byte
				if _, err := io.ReadFull(server, size[:]); err != nil {
					return
				}
				question := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(server, question); err != nil {
					return
				}
				reply := dns(question, answer)
				if _, err := server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}
}

// dns answers a question of type A or AAAA.
func dns(question []byte, answer func(name string) []netip.Addr) []byte {
	var name strings.Builder
	at := 12
	for question[at] != 0 {
		n := int(question[at])
		name.Write(question[at+1 : at+1+n])
		name.WriteByte('.')
		at += 1 + n
	}
	kind := binary.BigEndian.Uint16(question[at+1:])
	reply := append([]byte{question[0], question[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question[12:at+5]...)
	for _, a := range answer(name.String()) {
		if a.Is4() != (kind == 1) {
			continue
		}
		reply[7]++
		reply = append(reply, 0xc0, 12, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(a.BitLen()/8))
		reply = append(reply, a.AsSlice()...)
	}
	return reply
}

func always(addresses ...string) *net.Resolver {
	return resolver(func(string) []netip.Addr { return parsed(addresses) })
}

func parsed(addresses []string) (as []netip.Addr) {
	for _, a := range addresses {
		as = append(as, netip.MustParseAddr(a))
	}
	return as
}

// door counts who comes in on this machine, by every address that it has.
func door(t *testing.T) (port string, entered *atomic.Int64) {
	t.Helper()
	entered = &atomic.Int64{}
	l, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			entered.Add(1)
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = l.Close(); wait.Wait() })
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), entered
}

// here are URLs that lead to this machine, as written or by a resolver that takes them for it.
var here = []string{
	"https://127.0.0.1:PORT/", "https://127.0.0.2:PORT/", "https://127.127.127.127:PORT/", "https://0.0.0.0:PORT/",
	"https://[::1]:PORT/", "https://[0:0:0:0:0:0:0:1]:PORT/", "https://[0000::0001]:PORT/", "https://[::]:PORT/",
	"https://[::ffff:127.0.0.1]:PORT/", "https://[::ffff:7f00:1]:PORT/", "https://[0:0:0:0:0:ffff:127.0.0.1]:PORT/",
	"https://[::FFFF:7F00:0001]:PORT/", "https://[::ffff:0.0.0.0]:PORT/",
	"https://localhost:PORT/", "https://LOCALHOST:PORT/", "https://localhost.:PORT/", "https://localhost.localdomain:PORT/",
	"https://service.example.org:PORT/", "https://127.0.0.1.nip.io:PORT/", "https://7f000001.rbndr.us:PORT/", "https://a:PORT/",
	"https://0x7f.1:PORT/", "https://0x7f.0.0.1:PORT/", "https://0x7f000001:PORT/", "https://0X7F000001:PORT/", "https://0x7f.0x0.0x0.0x1:PORT/",
	"https://１２７.０.０.１:PORT/", "https://①②⑦.⓪.⓪.①:PORT/", "https://127。0。0。1:PORT/", "https://loc\u00adalhost:PORT/",
	"https://ｌｏｃａｌｈｏｓｔ:PORT/",
	"https://example.org@127.0.0.1:PORT/", "https://example.org:443@127.0.0.1:PORT/", "https://127.0.0.1:PORT@localhost:PORT/",
	"https://example.org%40x@127.0.0.1:PORT/", "https://@127.0.0.1:PORT/", "https://:@[::1]:PORT/",
	"https://127.0.0.1:PORT#@example.org/", "https://127.0.0.1:PORT?@example.org/", "https://127.0.0.1:PORT/@example.org/",
	"HTTPS://127.0.0.1:PORT/", "http://127.0.0.1:PORT/", "http://localhost:PORT/", "https://127.0.0.1:0PORT/",
}

// elsewhere are URLs of other machines that are nobody's business, and what is no URL of a machine though it looks so to somebody.
var elsewhere = []string{
	"https://10.0.0.1/", "https://10.255.255.255/", "https://172.16.0.1/", "https://172.31.255.255/", "https://192.168.0.1/",
	"https://100.64.0.1/", "https://100.127.255.255/", "https://169.254.0.1/", "https://192.0.2.1/", "https://198.51.100.1/",
	"https://203.0.113.1/", "https://198.18.0.1/", "https://198.19.255.255/", "https://192.88.99.1/", "https://224.0.0.1/",
	"https://239.255.255.250/", "https://240.0.0.1/", "https://255.255.255.255/", "https://0.1.2.3/",
	"https://169.254.169.254/latest/meta-data/", "https://169.254.170.2/", "https://100.100.100.200/", "https://192.0.0.192/",
	"https://168.63.129.16/", "https://[fd00:ec2::254]/", "https://[fd20:ce::254]/", "https://[::ffff:169.254.169.254]/",
	"https://[::127.0.0.1]/", "https://[::ffff:0:127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::10.0.0.1]/",
	"https://[64:ff9b:1::7f00:1]/", "https://[2002:7f00:1::]/", "https://[2002:0a00:1::]/", "https://[2001:0:7f00:1::]/",
	"https://[2001::1]/", "https://[fe80::1]/", "https://[fe80::1%25lo]/", "https://[2000::1%25lo]/", "https://[febf::1]/", "https://[fc00::1]/",
	"https://[fdff::1]/", "https://[fec0::1]/", "https://[ff02::1]/", "https://[ff0e::1]/", "https://[100::1]/", "https://[100:0:0:1::1]/",
	"https://[2001:db8::1]/", "https://[3fff::1]/", "https://[3ffe::1]/", "https://[5f00::1]/", "https://[2001:2::1]/",
	"https://[2001:10::1]/", "https://[2001:20::1]/", "https://[2620:4f:8000::1]/", "https://[4000::1]/",
	"https://%31%32%37.0.0.1/", "https://l%6fcalhost/", "https://127.1/", "https://127.0.1/", "https://0/", "https://2130706433/", "https://017700000001/", "https://0177.0.0.1/",
	"https://127.000.000.001/", "https://127.0.0.1./", "https://0x7f.0.0.1/", "https://[::1.2.3]/", "https://[127.0.0.1]/",
	"https:127.0.0.1/", "https:/127.0.0.1/", "https:///127.0.0.1/", "//127.0.0.1/", "127.0.0.1", "https://127.0.0.1\\@example.org/",
	"https://example.org\t@127.0.0.1/", "https://example.org\r\nHost: x@127.0.0.1/", "https://", "https://:443/", "",
	"http://example.org/", "file:///etc/passwd", "gopher://127.0.0.1:25/_HELO", "ftp://127.0.0.1/", "dict://127.0.0.1:11211/stat",
	"unix:///run/docker.sock", "jar:https://127.0.0.1!/", "ws://127.0.0.1/", "javascript:alert(1)", "data:,x",
	"https://example.org:22/", "https://example.org:25/", "https://example.org:0/", "https://example.org:65536/", "https://example.org:80/",
	"https://example.org:6379/", "https://example.org:-1/", "https://user@example.org/", "https://user:password@example.org/",
}

// ask makes a request by a function, if the target is a URL at all.
func ask(t *testing.T, target string, do func(*http.Request) (*http.Response, error)) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	resp, err := do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

func TestNothingLeadsIntoTheHostsNetwork(t *testing.T) {
	t.Parallel()
	port, entered := door(t)
	n, err := strconv.ParseUint(port, 10, 16)
	require.NoError(t, err)

	// As it would be without a guard, so that the targets are worth the name.
	transport := &http.Transport{
		DialContext: (&net.Dialer{Resolver: always("127.0.0.1")}).DialContext, TLSClientConfig: &tls.Config{}, DisableKeepAlives: true,
	}
	for _, target := range here {
		target = strings.ReplaceAll(target, "PORT", port)
		before := entered.Load()
		require.Error(t, ask(t, target, transport.RoundTrip))
		require.Eventually(t, func() bool { return entered.Load() > before }, 10*time.Second, time.Millisecond, target)
	}
	entered.Store(0)

	for _, targets := range [][]string{here, elsewhere} {
		for _, private := range []string{"127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "fd00::1", "::ffff:192.168.1.1", "64:ff9b::a00:1"} {
			for _, o := range []*Options{{Ports: []uint16{uint16(n), 443}}, {Insecure: true, Ports: []uint16{uint16(n)}}} {
				o.Resolver, o.Timeout = always(private), 10*time.Second
				c := New(o)
				for _, target := range targets {
					target = strings.ReplaceAll(target, "PORT", port)
					err := ask(t, target, c.Do)
					require.Error(t, err, target)
					var u *url.Error
					if !errors.As(err, &u) { // it is a URL
						says := err.Error()
						require.True(t, errors.Is(err, ErrRefused) || says == "the name of the host could not be resolved", "%s: %s", target, says)
					}
				}
			}
		}
	}
	require.Zero(t, entered.Load(), "connections")
	t.Logf("%d targets", len(here)+len(elsewhere))
}

// TestRebinding has a name that is first one address, which may be reached, and then another, which may not.
func TestRebinding(t *testing.T) {
	t.Parallel()
	forbidden, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(forbidden.Addr().String())
	require.NoError(t, err)
	allowed, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil && runtime.GOOS != "linux" { // where all of 127.0.0.0/8 is this machine
		_ = forbidden.Close()
		t.Skip("this system has no second address of its own: ", err)
	}
	require.NoError(t, err)
	serve := func(l net.Listener) *atomic.Int64 {
		var asked atomic.Int64
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
		_ = server.Listener.Close()
		server.Listener = l
		server.Start()
		t.Cleanup(server.Close)
		return &asked
	}
	inside, outside := serve(forbidden), serve(allowed)
	rebinds := func(times int64) *net.Resolver {
		var asked atomic.Int64
		return resolver(func(string) []netip.Addr {
			if asked.Add(1) <= 2*times { // A and AAAA
				return parsed([]string{"127.0.0.2"})
			}
			return parsed([]string{"127.0.0.1"})
		})
	}
	n, err := strconv.ParseUint(port, 10, 16)
	require.NoError(t, err)
	allow := []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	guarded := func(r *net.Resolver) *Client {
		return New(&Options{Insecure: true, Allow: allow, Ports: []uint16{uint16(n)}, Resolver: r})
	}
	target := "http://service.example.org.:" + port

	c := guarded(rebinds(1))
	require.NoError(t, ask(t, target, c.Do), "the address that may be reached")
	c.CloseIdle()
	for range 20 {
		require.ErrorIs(t, ask(t, target, c.Do), ErrRefused)
	}
	require.EqualValues(t, 1, outside.Load())
	require.Zero(t, inside.Load())

	c = guarded(always("127.0.0.1", "127.0.0.2"))
	defer c.CloseIdle()
	require.NoError(t, ask(t, target, c.Do), "of two addresses it takes the one that may be reached")
	require.EqualValues(t, 2, outside.Load())
	require.Zero(t, inside.Load())

	// A guard with the bug that this is about: it looks at what the name resolves to, and then dials the name.
	r := rebinds(1)
	before := func(req *http.Request) (*http.Response, error) {
		as, err := r.LookupNetIP(req.Context(), "ip", req.URL.Hostname())
		if err != nil {
			return nil, err
		}
		for _, a := range as {
			if a = a.Unmap(); !Public(a) && !within(allow, a) {
				return nil, ErrRefused
			}
		}
		transport := &http.Transport{DialContext: (&net.Dialer{Resolver: r}).DialContext, DisableKeepAlives: true}
		return transport.RoundTrip(req)
	}
	require.NoError(t, ask(t, target, before))
	require.EqualValues(t, 1, inside.Load(), "the test sees a guard that looks before the dial")
}

func TestWhatMayBeReached(t *testing.T) {
	t.Parallel()
	check := func(o *Options, target string) error {
		u, err := url.Parse(target)
		require.NoError(t, err)
		return New(o).Check(u)
	}
	internal := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}
	campus := []netip.Prefix{netip.MustParsePrefix("131.114.0.0/16"), netip.MustParsePrefix("10.1.2.0/24")}
	for target, o := range map[string]*Options{
		"https://service.example.org/hook?x=1": nil,
		"HTTPS://service.example.org:443/":     nil,
		"https://8.8.8.8/":                     nil,
		"https://[2606:4700::1]/":              {},
		"https://[::ffff:8.8.8.8]/":            {},
		"http://service.example.org/":          {Insecure: true},
		"https://service.example.org/":         {Insecure: true},
		"https://service.example.org:8443/":    {Ports: []uint16{8443}},
		"https://10.1.1.1/":                    {Allow: internal, Deny: campus},
		"https://[::ffff:10.1.1.1]/":           {Allow: internal},
		"https://[fd00:1::1]/":                 {Allow: internal},
	} {
		require.NoError(t, check(o, target), target)
	}
	for target, o := range map[string]*Options{
		"https://service.example.org/":      {Ports: []uint16{8443}},
		"https://service.example.org:80/":   {},
		"https://service.example.org:8443/": {Ports: []uint16{}},
		"http://service.example.org:443/":   {},
		"https://131.114.1.1/":              {Deny: campus},
		"https://[::ffff:131.114.1.1]/":     {Deny: campus},
		"https://10.1.2.3/":                 {Allow: internal, Deny: campus},
		"https://10.2.1.1/":                 {Allow: internal},
		"https://user@service.example.org/": {},
		"https://@service.example.org/":     {},
		"https://[fd00:2::1]/":              {Allow: internal},
	} {
		require.ErrorIs(t, check(o, target), ErrRefused, target)
	}
}

// TestConnectionsThatDieInSilence has a connection by HTTP/2 that leads nowhere any more, as when a router on the way has forgotten it:
// nothing comes, not even an end. Requests after the first must not go on waiting on it.
func TestConnectionsThatDieInSilence(t *testing.T) {
	t.Parallel()
	target, o := serve(t, func(http.ResponseWriter, *http.Request) {}, true)
	o.Timeout = 10 * time.Second
	c := New(o)
	defer c.CloseIdle()
	c.transport.HTTP2.SendPingTimeout /= 10
	c.transport.HTTP2.PingTimeout /= 10
	var dials atomic.Int64
	var dead atomic.Bool
	dial := c.transport.DialContext
	c.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if dials.Add(1) == 1 {
			return &mute{conn, &dead}, nil
		}
		return conn, nil
	}
	require.NoError(t, ask(t, target, c.Do))
	require.NoError(t, ask(t, target, c.Do))
	require.EqualValues(t, 1, dials.Load(), "it is used again")
	dead.Store(true)
	require.Error(t, ask(t, target, c.Do))
	require.NoError(t, ask(t, target, c.Do), "by another connection")
	require.EqualValues(t, 2, dials.Load())
}

// A mute connection swallows what is written, once it is dead, so that nothing is answered.
type mute struct {
	net.Conn
	dead *atomic.Bool
}

func (m *mute) Write(p []byte) (int, error) {
	if m.dead.Load() {
		return len(p), nil
	}
	return m.Conn.Write(p)
}

// TestOneNameLeadsToFewConnections: who enters an endpoint also says what its name resolves to, which may be other people's machines.
// Here nobody listens at any but the last.
func TestOneNameLeadsToFewConnections(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{1: "", maxTries: "", maxTries + 1: "the connection failed: connection refused", 200: "the connection failed: connection refused"} {
		l, err := net.Listen("tcp", netip.AddrFrom4([4]byte{127, 0, 1, byte(n)}).String()+":0")
		if err != nil && runtime.GOOS != "linux" {
			t.Skip("this system has no second address of its own: ", err)
		}
		require.NoError(t, err)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		_ = server.Listener.Close()
		server.Listener = l
		server.Start()
		t.Cleanup(server.Close)
		var answer []netip.Addr
		for i := range n {
			answer = append(answer, netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}))
		}
		port := l.Addr().(*net.TCPAddr).Port
		c := New(&Options{
			Insecure: true, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Ports: []uint16{uint16(port)},
			Resolver: resolver(func(string) []netip.Addr { return answer }),
		})
		err = ask(t, "http://service.example.org.:"+strconv.Itoa(port), c.Do)
		c.CloseIdle()
		if want == "" {
			require.NoError(t, err, n)
		} else {
			require.EqualError(t, err, want, n)
		}
	}
}

// A server that takes connections and says nothing, as one behind a broken balancer, has no more of them than there are requests.
func TestDialsEndWithTheirRequest(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"https", "http"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		var open atomic.Int64
		var serving sync.WaitGroup
		serving.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				open.Add(1)
				serving.Go(func() {
					_, _ = io.Copy(io.Discard, conn)
					_ = conn.Close()
					open.Add(-1)
				})
			}
		})
		at := netip.MustParseAddrPort(l.Addr().String())
		c := New(&Options{Allow: []netip.Prefix{netip.PrefixFrom(at.Addr(), 32)}, Ports: []uint16{at.Port()}, Insecure: true})
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+"://"+at.String(), http.NoBody)
			require.NoError(t, err)
			_, err = c.Do(req)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		require.Eventually(t, func() bool { return open.Load() == 0 }, 5*time.Second, 10*time.Millisecond, "connections outlive their requests")
		require.NoError(t, l.Close())
		serving.Wait()
	}
}
