package httpapi

import (
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Many hostile clients at once, of each kind, hold little memory each, and a goroutine or two for as long as the bounds say. What is measured is
// the whole process, so that nothing else runs meanwhile.
func TestCrowds(t *testing.T) {
	const clients, bound = 200, time.Second
	for _, c := range []struct {
		name, sends string
		says        string // in the answer; empty: the connection just ends
	}{
		{"headers without an end", "GET /endless HTTP/1.1\r\nHost: x\r\nX-A: a", ""},
		{"headers that are too large", "GET /endless HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 48<<10), "HTTP/1.1 431 "},
		{"many headers", "GET /endless HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("a: b\r\n", 8<<10), "HTTP/1.1 431 "},
		{"bodies that do not come", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", "HTTP/1.1 408 "},
		{"bodies that nobody reads", "POST /deaf HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "HTTP/1.1 204 "},
		{"bodies of a terabyte", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n" + strings.Repeat(" ", 64<<10), "HTTP/1.1 413 "},
		{"answers that are not read", "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 "},
		{"connections that ask nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewUnstartedServer(newHandler(nil, &Options{BodyTimeout: bound, Timeout: bound}, echo))
			srv.Config.ReadHeaderTimeout, srv.Config.MaxHeaderBytes = bound, 32<<10
			srv.Start()
			t.Cleanup(srv.Close) // after the clients have gone
			goroutines, memory := runtime.NumGoroutine(), inUse()
			var conns []net.Conn
			began := time.Now()
			for range clients {
				conn := dial(t, srv)
				require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
				_, _ = io.WriteString(conn, c.sends) // the server may not want it all
				conns = append(conns, conn)
			}
			most, each := 0, 0.
			for more := true; more; more = time.Since(began) < bound/2 {
				most = max(most, runtime.NumGoroutine()-goroutines)
				each = max(each, (inUse()-memory)/clients)
				time.Sleep(20 * time.Millisecond)
			}
			require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+5 }, 20*time.Second, 10*time.Millisecond)
			took := time.Since(began)
			for _, conn := range conns {
				b, _ := io.ReadAll(io.LimitReader(conn, 1<<10)) // which a reset may end
				if c.says == "" {
					require.Empty(t, b)
				} else if len(b) > 0 {
					require.Contains(t, string(b), c.says)
				}
				require.NoError(t, conn.Close())
			}
			t.Logf("%d connections: %d goroutines and %.0f KiB each at most, gone after %v", clients, most, each/1024, took.Round(10*time.Millisecond))
			require.LessOrEqual(t, most, 3*clients)
			require.Less(t, each, 150.*1024)
		})
	}
}

// inUse is the memory of the process that is in use, in bytes.
func inUse() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}
