package netguard

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serve starts a server with TLS, and returns options by which it can be reached.
func serve(t *testing.T, h http.HandlerFunc, http2 bool) (target string, o *Options) {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = http2
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return server.URL + "/path-s3cr3t?query=s3cr3t", &Options{
		TLS: &tls.Config{RootCAs: roots}, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Ports: []uint16{uint16(server.Listener.Addr().(*net.TCPAddr).Port)},
	}
}

// read makes a request and reads what there is.
func read(t *testing.T, ctx context.Context, target string, o *Options) ([]byte, error) {
	t.Helper()
	c := New(o)
	defer c.CloseIdle()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader("s3cr3t"))
	require.NoError(t, err)
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

func TestBodiesHaveAnEnd(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		target, o := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1000)) }, http2)
		for most, want := range map[int64]error{0: nil, 1000: nil, 1001: nil, 999: ErrTooLong, 1: ErrTooLong, 1<<63 - 1: nil} {
			o.MaxBody = most
			body, err := read(t, t.Context(), target, o)
			require.ErrorIs(t, err, want)
			if want == nil {
				require.Len(t, body, 1000)
			} else {
				require.Len(t, body, int(most))
			}
		}
		var wrote atomic.Int64
		done := make(chan struct{})
		target, o = serve(t, func(w http.ResponseWriter, _ *http.Request) {
			defer close(done)
			for {
				n, err := w.Write(make([]byte, 1<<16))
				if wrote.Add(int64(n)); err != nil {
					return
				}
			}
		}, http2)
		body, err := read(t, t.Context(), target, o)
		require.ErrorIs(t, err, ErrTooLong)
		require.Len(t, body, 64<<10)
		<-done
		require.Less(t, wrote.Load(), int64(64<<20), "what is in the buffers of the connection, at most")
	}
}

// TestBodiesDoNotComeBeforeTheyAreRead has an answer that goes on and on, and somebody who looks at its status alone.
func TestBodiesDoNotComeBeforeTheyAreRead(t *testing.T) {
	t.Parallel()
	var wrote atomic.Int64
	full := make(chan struct{})
	target, o := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		time.AfterFunc(300*time.Millisecond, func() { close(full) })
		for {
			n, err := w.Write(make([]byte, 1<<14))
			if wrote.Add(int64(n)); err != nil {
				return
			}
		}
	}, true)
	c := New(o)
	defer c.CloseIdle()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	require.NoError(t, err)
	resp, err := c.Do(req)
	require.NoError(t, err)
	<-full
	require.LessOrEqual(t, wrote.Load(), int64(256<<10))
	require.NoError(t, resp.Body.Close())
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	target, o := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}, true)
	c := New(o)
	defer c.CloseIdle()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	require.NoError(t, err)
	resp, err := c.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusTemporaryRedirect, resp.StatusCode)
	require.EqualValues(t, 1, asked.Load())
	require.Nil(t, c.transport.Proxy, "what the environment says of proxies does not count")
}

func TestPackedBodiesStayPacked(t *testing.T) {
	t.Parallel()
	target, o := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, r.Header.Get("Accept-Encoding")+"packed")
	}, true)
	body, err := read(t, t.Context(), target, o)
	require.NoError(t, err)
	require.Equal(t, "packed", string(body))
}

// TestErrorsAreClean has whatever can go wrong, at a host and a path that must not be told.
func TestErrorsAreClean(t *testing.T) {
	t.Parallel()
	answers := func(text string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, text)
				_ = c.Close()
			}
		}()
		return "http://" + l.Addr().String() + "/path-s3cr3t"
	}
	slow := func(after int) (string, *Options) {
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			_, _ = w.Write(make([]byte, after))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // else it may end its answer while the client goes away, and that is one
		}, after%2 == 1)
	}
	closed := answers("")
	const nobody = "http://127.0.0.1:1/s3cr3t" // no port that a test gets

	look := func(name, target string, o *Options, says string, is error) {
		t.Helper()
		u, err := url.Parse(target)
		require.NoError(t, err)
		if o == nil {
			n, err := strconv.ParseUint(u.Port(), 10, 16)
			require.NoError(t, err)
			o = &Options{Insecure: true, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Ports: []uint16{uint16(n)}}
		}
		_, err = read(t, t.Context(), target, o)
		require.EqualError(t, err, says, name)
		for e := err; e != nil; e = errors.Unwrap(e) {
			for _, secret := range []string{"s3cr3t", "127.0.0.1", ":" + u.Port(), "service.example"} {
				require.NotContains(t, fmt.Sprintf("%v %+v", e, e), secret, name)
			}
		}
		if is != nil {
			require.ErrorIs(t, err, is, name)
		}
	}
	look("nobody listens", nobody, nil, "the connection failed: connection refused", syscall.ECONNREFUSED)
	look("closed", closed, nil, "the answer breaks off: unexpected EOF", io.ErrUnexpectedEOF)
	look("no HTTP", answers("220 s3cr3t\r\n"), nil, "the request failed, or the answer is not HTTP", nil)
	look("a status that is none", answers("HTTP/1.1 s3cr3t\r\n\r\n"), nil, "the request failed, or the answer is not HTTP", nil)
	look("a body that breaks off", answers("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ns3cr3t"), nil, "the answer breaks off: unexpected EOF", io.ErrUnexpectedEOF)
	look("chunks that are none", answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ns3cr3t\r\n"), nil, "the request failed, or the answer is not HTTP", nil)
	look("headers without end", answers("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("s3cr3t", 30_000)), nil, "the request failed, or the answer is not HTTP", nil)
	look("a redirect to what is no URL", answers("HTTP/1.1 302 Found\r\nLocation: https://%s3cr3t\r\nContent-Length: 0\r\n\r\n"), nil,
		"the request failed, or the answer is not HTTP", nil)

	target, o := serve(t, func(http.ResponseWriter, *http.Request) {}, true)
	o.TLS = nil
	look("an unknown root", target, o, "the certificate of the host is not valid", nil)
	target, o = serve(t, func(http.ResponseWriter, *http.Request) {}, true)
	o.Resolver = always("127.0.0.1")
	look("another host's certificate", strings.Replace(target, "127.0.0.1", "service.example", 1), o, "the certificate of the host is not valid", nil)
	o.Resolver = always()
	look("a name that is not there", strings.Replace(target, "127.0.0.1", "service.example", 1), o, "the name of the host could not be resolved", nil)
	o.Resolver = always("10.0.0.1", "fd00::1")
	look("a name of a private address", strings.Replace(target, "127.0.0.1", "service.example", 1), o, "not an address that may be reached", ErrRefused)
	plain := answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	look("no TLS where there should be", strings.Replace(plain, "http:", "https:", 1), nil, "the request failed, or the answer is not HTTP", nil)

	for _, after := range []int{0, 1, 2} { // no headers, or a body that stops, by HTTP/2 and HTTP/1.1
		target, o = slow(after)
		o.Timeout = 100 * time.Millisecond
		look("slow", target, o, "no answer in time: context deadline exceeded", context.DeadlineExceeded)
		o.Timeout = 0
		why := errors.New("withdrawn")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
		_, err := read(t, ctx, target, o)
		require.ErrorIs(t, err, why)
	}
	target, o = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 100))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}, true)
	look("a stream that is reset", target, o, "the request failed, or the answer is not HTTP", nil)
}
