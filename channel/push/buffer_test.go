package push

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An answer that goes on and on does not come before it is read, but for a little.
func TestAnAnswerDoesNotComeBeforeItIsRead(t *testing.T) {
	t.Parallel()
	var wrote atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			n, err := w.Write(make([]byte, 1<<14))
			if wrote.Add(int64(n)); err != nil {
				return
			}
		}
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	client := provider(nil, true)
	client.Transport.(*http.Transport).TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	defer client.CloseIdleConnections()
	resp, err := client.Get(server.URL)
	require.NoError(t, err)
	defer resp.Body.Close()
	time.Sleep(300 * time.Millisecond)
	require.LessOrEqual(t, wrote.Load(), int64(4*maxAnswer))
}
