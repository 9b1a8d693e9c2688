package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// journal is a log that can be read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// echo are routes for what no path of IO does.
var echo = []route{
	{"POST /echo", anybody, 0, func(c *call) (answer, error) {
		var v struct {
			Text string `json:"text"`
		}
		err := c.body(&v)
		return ok(v), err
	}},
	{"POST /deaf", anybody, 0, func(*call) (answer, error) { return noContent, nil }},
	{"POST /slow", anybody, 0, func(c *call) (answer, error) {
		var v struct{}
		if err := c.body(&v); err != nil {
			return answer{}, err
		}
		select {
		case <-time.After(300 * time.Millisecond):
			return noContent, nil
		case <-c.ctx.Done():
			return answer{}, c.ctx.Err()
		}
	}},
	{"GET /large", anybody, 0, func(*call) (answer, error) { return ok(raw{"text/plain", make([]byte, 64<<20)}), nil }},
	{"GET /endless", anybody, 0, func(*call) (answer, error) { return ok(stream{"text/plain", -1, endless{}}), nil }},
	{"GET /slowly", anybody, 0, func(*call) (answer, error) { return ok(stream{"text/plain", -1, &slowly{left: 3}}), nil }},
	{"GET /panic", anybody, 0, func(*call) (answer, error) { panic("RSSMRA85M10H501S") }},
	{"GET /never", anybody, 0, func(c *call) (answer, error) { <-c.ctx.Done(); return answer{}, c.ctx.Err() }},
}

// slowly is a stream that takes its time for each of some pieces.
type slowly struct{ left int }

func (s *slowly) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	time.Sleep(400 * time.Millisecond)
	return copy(p, strings.Repeat("x", 3000)), nil
}

func (s *slowly) Close() error { return nil }

// endless is a stream without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (endless) Close() error               { return nil }

func served(t *testing.T, o *Options) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(newHandler(nil, o, echo))
	t.Cleanup(srv.Close)
	return srv
}

func dial(t *testing.T, srv *httptest.Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

// A client that sends its body too slowly, or not at all, has its connection for BodyTimeout, whether anybody reads the body or not.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	srv := served(t, &Options{BodyTimeout: 100 * time.Millisecond})
	for path, status := range map[string]string{"/echo": "408", "/deaf": "204", "/none": "404"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			c := dial(t, srv)
			began := time.Now()
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"te", path)
			b, err := io.ReadAll(c)
			require.NoError(t, err, "the connection ends")
			require.Less(t, time.Since(began), 15*time.Second)
			require.Contains(t, string(b), "HTTP/1.1 "+status+" ")
		})
	}
}

// A client that goes away in the middle of its body is no failure of the server's.
func TestClientsThatGoAway(t *testing.T) {
	t.Parallel()
	var log journal
	status := make(chan int, 1)
	srv := served(t, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Served: func(_ string, s int, _ time.Duration) { status <- s }})
	for name, leave := range map[string]func(c *net.TCPConn) error{
		"for good":  func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
		"one-sided": (*net.TCPConn).CloseWrite,
	} {
		c := dial(t, srv)
		_, err := fmt.Fprint(c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"te")
		require.NoError(t, err)
		time.Sleep(50 * time.Millisecond)
		require.NoError(t, leave(c.(*net.TCPConn)))
		select {
		case s := <-status:
			require.Equal(t, http.StatusBadRequest, s, name)
		case <-time.After(15 * time.Second):
			t.Fatal("nobody noticed")
		}
	}
	require.Empty(t, log.String())
}

// A body without an end, or with one that is far away, is refused as soon as it is too large, and not read on.
func TestEndlessBodies(t *testing.T) {
	t.Parallel()
	srv := served(t, &Options{BodyTimeout: 15 * time.Second})
	for _, header := range []string{"Transfer-Encoding: chunked", "Content-Length: 1099511627776"} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			c := dial(t, srv)
			_, err := fmt.Fprintf(c, "POST /echo HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", header)
			require.NoError(t, err)
			answered := make(chan string)
			go func() {
				b, _ := io.ReadAll(c) // which a reset may end
				answered <- string(b)
			}()
			chunk := []byte("1000\r\n" + strings.Repeat(" ", 0x1000) + "\r\n")
			sent := 0
			for err == nil && sent < 1<<30 {
				var n int
				n, err = c.Write(chunk)
				sent += n
			}
			require.Less(t, sent, 64<<20, "what the buffers of two sockets hold, and the body's bound")
			if b := <-answered; b != "" {
				require.Contains(t, b, "HTTP/1.1 413 ")
			}
		})
	}
}

// The time for a body is over with the body: neither what is done with it nor the next request is cut short.
func TestBodyTimeoutEnds(t *testing.T) {
	t.Parallel()
	srv := served(t, &Options{BodyTimeout: 100 * time.Millisecond})
	c := dial(t, srv)
	r := bufio.NewReader(c)
	for range 2 {
		fmt.Fprint(c, "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, resp.StatusCode)
		time.Sleep(200 * time.Millisecond)
	}
}

// A client that does not read its answer has it for Timeout.
func TestUnreadAnswers(t *testing.T) {
	t.Parallel()
	done := make(chan time.Duration, 1)
	srv := served(t, &Options{Timeout: 200 * time.Millisecond, Served: func(_ string, _ int, took time.Duration) { done <- took }})
	c := dial(t, srv)
	fmt.Fprint(c, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case took := <-done:
		require.GreaterOrEqual(t, took, 200*time.Millisecond)
	case <-time.After(15 * time.Second):
		t.Fatal("the handler waits for who does not read")
	}
}

// Who reads at once gets a stream whole, however long it takes to be made.
func TestSlowStreams(t *testing.T) {
	t.Parallel()
	srv := served(t, &Options{Timeout: 100 * time.Millisecond})
	resp, err := http.Get(srv.URL + "/slowly")
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Len(t, b, 9000)
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	srv := served(t, &Options{BodyTimeout: time.Millisecond, Timeout: 50 * time.Millisecond})
	resp, err := http.Get(srv.URL + "/never")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Equal(t, "1", resp.Header.Get("Retry-After"))
}

func TestPanicsAreAnswered(t *testing.T) {
	t.Parallel()
	var log journal
	srv := served(t, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 {
		resp, err := http.Get(srv.URL + "/panic")
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.NoError(t, err)
		require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
		require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
		require.JSONEq(t, `{"title":"Internal server error","status":500}`, string(b))
	}
	require.Contains(t, log.String(), `route="GET /panic"`)
	require.Contains(t, log.String(), "hostile_test.go")
	require.NotContains(t, log.String(), "RSSMRA85M10H501S")
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(newHandler(nil, &Options{BodyTimeout: 100 * time.Millisecond}, echo))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	for range 2 {
		resp, err := srv.Client().Post(srv.URL+"/echo", "application/json", strings.NewReader(`{"text":"x"}`))
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.NoError(t, err)
		require.Equal(t, 2, resp.ProtoMajor)
		require.Equal(t, `{"text":"x"}`, string(b))
		time.Sleep(200 * time.Millisecond)
	}
	body, end := io.Pipe()
	defer end.Close()
	req, err := http.NewRequest("POST", srv.URL+"/echo", body)
	require.NoError(t, err)
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusRequestTimeout, resp.StatusCode)
}

func TestServed(t *testing.T) {
	t.Parallel()
	type one struct {
		route  string
		status int
	}
	got := make(chan one, 1)
	srv := served(t, &Options{Served: func(route string, status int, took time.Duration) {
		if took <= 0 {
			route = "took no time"
		}
		got <- one{route, status}
	}})
	for path, want := range map[string]one{
		"/none?RSSMRA85M10H501S": {"", 404}, "/echo": {"", 405}, "/panic": {"GET /panic", 500}, "/panic/": {"", 404},
	} {
		resp, err := http.Get(srv.URL + path)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, want, <-got, path)
	}
}

// failing is a store that fails when it is told to.
type failing struct {
	store.Store
	err atomic.Pointer[error]
}

func (s *failing) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if err := s.err.Load(); err != nil {
		return nil, *err
	}
	return s.Store.View(ctx, reads)
}

func (s *failing) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	if err := s.err.Load(); err != nil {
		return nil, *err
	}
	return s.Store.Commit(ctx, changes)
}

// A store that fails is 500, or 503 where it is known that nothing was changed, and the log says why, without a word of who it was about.
func TestFailingStores(t *testing.T) {
	t.Parallel()
	s := &failing{Store: memstore.New()}
	e, err := appio.New(s, &appio.Options{Keys: appio.RandomKeys()})
	require.NoError(t, err)
	defer e.Close()
	ctx := context.Background()
	const key = "key-of-the-service"
	require.NoError(t, e.PutService(ctx, appio.Service{ID: "mensa", Name: "Mensa", Organization: "15376371009", State: appio.Live}))
	require.NoError(t, e.PutKey(ctx, "mensa", appio.Primary, key))
	var log journal
	srv := httptest.NewServer(Handler(e, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}))
	defer srv.Close()
	const code = "RSSMRA85M10H501S"
	body := `{"content":{"subject":"Iscrizione alla mensa","markdown":"` + strings.Repeat("Le iscrizioni aprono. ", 6) + `"}}`
	ask := func(method, path string) (int, string) {
		req, err := http.NewRequest(method, srv.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set(KeyHeader, key)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(b)
	}
	for failure, want := range map[error]int{
		fmt.Errorf("%w: disk", store.ErrFailed): 500, errors.New("something else"): 500, store.ErrCorrupt: 500, store.ErrFull: 503,
	} {
		s.err.Store(&failure)
		for _, c := range [][2]string{{"POST", "/api/v1/messages/" + code}, {"GET", "/api/v1/messages/" + code + "/01BX9NSMKVXXS5PSP2FATZMYYY"}, {"GET", "/api/v1/profiles/" + code}} {
			status, b := ask(c[0], c[1])
			require.Equal(t, want, status)
			require.NotContains(t, b, "disk")
		}
		s.err.Store(nil)
		status, _ := ask("POST", "/api/v1/messages/"+code)
		require.Equal(t, 201, status)
	}
	require.Contains(t, log.String(), `route="POST /api/v1/messages/{fiscal_code}"`)
	require.Contains(t, log.String(), "disk")
	require.NotContains(t, log.String(), code)
}
