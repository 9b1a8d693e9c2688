package push

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pipes is a network without a network: each dial is a pipe to the server.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A mute connection loses what is written into it once it is dead, and brings nothing.
type mute struct {
	net.Conn
	dead *atomic.Bool
}

func (m mute) Write(b []byte) (int, error) {
	if m.dead.Load() {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

func TestAConnectionThatHasDiedIsFound(t *testing.T) {
	t.Parallel()
	pair := httptest.NewUnstartedServer(nil) // for its certificate alone
	pair.StartTLS()
	certificates := pair.TLS.Certificates
	pair.Close()

	synctest.Test(t, func(t *testing.T) {
		network := pipes{make(chan net.Conn), make(chan struct{})}
		server := &http.Server{
			Handler:   http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
			TLSConfig: &tls.Config{Certificates: certificates},
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = server.ServeTLS(network, "", "")
		}()

		client := provider(nil, true)
		transport := client.Transport.(*http.Transport)
		defer func() {
			transport.CloseIdleConnections()
			close(network.closed)
			_ = server.Close()
			<-served
		}()
		var dials int
		var dead atomic.Bool
		transport.DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			dials++
			ours, theirs := net.Pipe()
			network.accept <- theirs
			flag := &atomic.Bool{}
			if dials == 1 {
				flag = &dead
			}
			c := tls.Client(mute{ours, flag}, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			return c, c.HandshakeContext(ctx)
		}
		ask := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.example.org/", strings.NewReader("x"))
			require.NoError(t, err)
			resp, err := client.Do(req)
			if err == nil {
				require.Equal(t, 2, resp.ProtoMajor)
				require.NoError(t, resp.Body.Close())
			}
			return err
		}
		require.NoError(t, ask())
		require.NoError(t, ask())
		require.Equal(t, 1, dials)

		dead.Store(true)
		begun := time.Now()
		require.Error(t, ask())
		require.Less(t, time.Since(begun), 30*time.Second, "it is found before the request's own time ends")
		require.NoError(t, ask(), "the next one has a connection of its own")
		require.Equal(t, 2, dials)
	})
}
