package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/webhook"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/store/memstore"
)

// endpoints are those of a town, each of one citizen, on one server. Some hang, and all refuse what is poison.
type endpoints struct {
	v webhook.Verifier

	mu    sync.Mutex
	taken map[string]bool // by id
}

const (
	hanging = "/hangs/"
	poison  = "Veleno"
)

func (p *endpoints) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, body, err := p.v.Read(r)
	var e webhook.Event
	switch {
	case err != nil || json.Unmarshal(body, &e) != nil:
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasPrefix(r.URL.Path, hanging):
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case strings.HasPrefix(e.Data.Subject, poison):
		http.Error(w, e.Data.Subject, http.StatusUnprocessableEntity)
	default:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.taken[id] = true
	}
}

// TestSickEndpoints sends to endpoints of which one in fifty hangs, and messages of which one in a hundred is poison.
func TestSickEndpoints(t *testing.T) {
	form.Watch(t, 5*time.Minute)
	const citizens = 200
	total := 2_000
	if testing.Short() {
		total = 600
	}
	key := webhook.NewKey()
	town := &endpoints{v: webhook.Verifier{Keys: []webhook.Key{key.Public()}}, taken: map[string]bool{}}
	server := httptest.NewUnstartedServer(town)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	hook, err := webhook.New(&webhook.Options{
		Keys: []webhook.Key{key}, TLS: &tls.Config{RootCAs: roots}, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Ports: []uint16{uint16(server.Listener.Addr().(*net.TCPAddr).Port)},
	})
	require.NoError(t, err)
	e, err := appio.New(memstore.New(), &appio.Options{
		Keys: appio.RandomKeys(), MaxAttempts: 2, Backoff: func(int) time.Duration { return 100 * time.Millisecond },
		Channels: []appio.Route{{
			Name: "webhook", Channel: hook, Default: appio.Full, Unvalidated: true, Workers: 100, Timeout: 3 * time.Second,
		}},
	})
	require.NoError(t, err)
	ctx := t.Context()
	require.NoError(t, e.PutService(ctx, appio.Service{ID: "avvisi", Name: "Avvisi", Organization: "01199250158", State: appio.Live}))
	code := func(i int) fiscalcode.Person { return fiscalcode.Person(fmt.Sprintf("RSSMRA85M10H%03dS", i)) }
	sick := func(i int) bool { return i%50 == 0 }
	for i := range citizens {
		c := e.Citizen(appio.Identity{Code: code(i)})
		require.NoError(t, c.SetMode(ctx, appio.Auto))
		at := fmt.Sprintf("%s/citizen/%d", server.URL, i)
		if sick(i) {
			at = fmt.Sprint(server.URL, hanging, i)
		}
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Channels["webhook"] = appio.Full
			p.Addresses = []appio.Address{{Channel: "webhook", Value: at}}
			return nil
		}))
	}
	running, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(running) }()

	good, poisoned, hung := 0, 0, 0
	for n := range total {
		m := appio.Message{
			To: code(n % citizens), Subject: "Avviso del Comune",
			Markdown: "La informiamo che il servizio di raccolta cambia orario dal prossimo mese, come da calendario.",
		}
		switch {
		case sick(n % citizens):
			hung++
		case n%100 == 1:
			m.Subject = poison + " per chi lo riceve"
			poisoned++
		default:
			good++
		}
		_, err := e.Sender("avvisi").Send(ctx, m)
		require.NoError(t, err)
	}
	taken := func() int {
		town.mu.Lock()
		defer town.mu.Unlock()
		return len(town.taken)
	}
	causes := map[string]int{}
	done := func() bool {
		clear(causes)
		for parked, err := range e.Parked().All(ctx) {
			require.NoError(t, err)
			causes[parked.Cause]++
		}
		return taken()+sum(causes) == total
	}
	for limit := time.Now().Add(2 * time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("good %d, poisoned %d, hung %d; parked are %v", good, poisoned, hung, causes)
		}
	}
	stop()
	require.NoError(t, <-ended)
	require.NoError(t, e.Close())
	ids := taken()
	require.Equal(t, good, ids)
	require.Equal(t, map[string]int{"webhook: the endpoint answered 422": poisoned, "webhook: context deadline exceeded": hung}, causes)
	t.Logf("%d delivered, %d poisoned and %d to endpoints that hang, parked: %v", ids, poisoned, hung, causes)
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}
