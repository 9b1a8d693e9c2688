package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/remotecontent"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// everywhere is a platform on a store that fails when it is told to, with somebody of each kind.
type everywhere struct {
	t     *testing.T
	store *failing
	eng   *appio.Engine
	conf  appio.ConfigurationID
	url   string
}

const (
	anyService      = "key-of-a-service-here"
	anyOrganization = "key-of-an-organization"
	anySpecial      = "key-of-a-special-service"
	keyElsewhere    = "key-of-a-service-that-calls-from-elsewhere"
)

func newEverywhere(t *testing.T, o Options) *everywhere {
	s := &failing{Store: memstore.New()}
	e, err := appio.New(s, &appio.Options{Keys: appio.RandomKeys(), Payments: &gatewaytest.Gateway{}, CitizenRate: 1e9})
	require.NoError(t, err)
	t.Cleanup(func() {
		s.err.Store(nil)
		require.NoError(t, e.Close())
	})
	o.Remote, err = remotecontent.New(e, nil)
	require.NoError(t, err)
	ctx := t.Context()
	const comune = "15376371009"
	require.NoError(t, e.PutOrganization(ctx, appio.Organization{Code: comune, Name: "Comune", SignedAt: time.Now()}))
	require.NoError(t, e.PutService(ctx, appio.Service{ID: "mensa", Name: "Mensa", Organization: comune, State: appio.Live}))
	require.NoError(t, e.PutKey(ctx, "mensa", appio.Primary, anyService))
	require.NoError(t, e.PutService(ctx, appio.Service{ID: "carta", Name: "Carta", Organization: comune, State: appio.Live, Category: appio.Special}))
	require.NoError(t, e.PutKey(ctx, "carta", appio.Primary, anySpecial))
	require.NoError(t, e.PutService(ctx, appio.Service{ID: "altrove", Name: "Altrove", Organization: comune, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}))
	require.NoError(t, e.PutKey(ctx, "altrove", appio.Primary, keyElsewhere))
	require.NoError(t, e.Authority(comune).PutManageKey(ctx, appio.ManageKey{ID: "one", Role: appio.Administrator}))
	require.NoError(t, e.Authority(comune).SetManageKey(ctx, "one", appio.Primary, anyOrganization))
	system := configured()
	made, err := e.Authority(comune).PutRemoteConfiguration(ctx, system.configuration(&appio.RemoteConfiguration{}))
	require.NoError(t, err)
	o.Send, o.Validate = "mensa", func(context.Context, appio.Validation) error { return nil }
	o.Citizen = func(r *http.Request) (appio.Identity, error) {
		switch r.Header.Get("Authorization") {
		case "":
			return appio.Identity{}, appio.ErrUnauthorized
		case "minor":
			return appio.Identity{}, appio.ErrForbidden
		}
		return appio.Identity{Code: fiscalcode.Sandbox, Level: appio.L2}, nil
	}
	srv := httptest.NewServer(Handler(e, &o))
	t.Cleanup(srv.Close)
	return &everywhere{t, s, e, made.ID, srv.URL}
}

// ask asks as the route wants it, but for another key or login if there is one.
func (w *everywhere) ask(r *route, as string, body io.Reader) int {
	method, path, _ := strings.Cut(strings.TrimSuffix(r.pattern, "{$}"), " ")
	path = strings.Replace(path, configurations+"/{id}", configurations+"/"+string(w.conf), 1)
	for name, value := range examples {
		path = strings.ReplaceAll(path, "{"+name+"}", value)
	}
	req, err := http.NewRequest(method, w.url+path, body)
	require.NoError(w.t, err)
	if a, is := body.(announced); is {
		req.ContentLength = a.size
	}
	req.Header.Set("Content-Type", "application/json")
	switch {
	case as == nobodyAtAll:
	case r.who == citizen:
		req.Header.Set("Authorization", "me"+as)
		if as != "" {
			req.Header.Set("Authorization", as)
		}
	case as != "":
		req.Header.Set(KeyHeader, as)
	default:
		req.Header.Set(KeyHeader, keyOf[r.who])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

// An announced body says how long it is.
type announced struct {
	io.Reader
	size int64
}

const nobodyAtAll = "nobody"

var (
	keyOf    = map[who]string{service: anyService, manager: anyOrganization, keyholder: anyOrganization}
	wrongKey = map[who]string{service: anyOrganization, manager: anyService, keyholder: keyElsewhere, citizen: "minor"}
)

// all are the routes that ask who calls.
func (w *everywhere) all(f func(r *route, op operation, body func() io.Reader)) {
	for _, r := range slices.Concat(tables()...) {
		if r.who == anybody {
			continue
		}
		op := operations[r.pattern]
		f(&r, op, func() io.Reader {
			if op.in == nil {
				return nil
			}
			b, err := json.Marshal(op.in)
			require.NoError(w.t, err)
			return bytes.NewReader(b)
		})
	}
}

// What every path refuses alike.
func TestEverywhere(t *testing.T) {
	t.Parallel()
	w := newEverywhere(t, Options{})
	w.all(func(r *route, op operation, body func() io.Reader) {
		require.Equal(t, 401, w.ask(r, nobodyAtAll, body()), r.pattern)
		require.Equal(t, 403, w.ask(r, wrongKey[r.who], body()), r.pattern)
		if op.in == nil {
			return
		}
		for _, wrong := range []string{"", "{", `[]`, `{} {}`} {
			require.Equal(t, 400, w.ask(r, "", strings.NewReader(wrong)), r.pattern)
		}
		large := max(r.body, 256<<10) + 1
		never, end := io.Pipe()
		require.Equal(t, 413, w.ask(r, "", announced{never, large}), r.pattern)
		require.NoError(t, end.Close())
		require.Equal(t, 413, w.ask(r, "", struct{ io.Reader }{strings.NewReader(strings.Repeat(" ", int(large)))}), "%s, of a length that is not said", r.pattern)
	})
	for failure, want := range map[error]int{
		fmt.Errorf("%w: disk", store.ErrFailed): 500, fmt.Errorf("%w: disk", store.ErrFull): 503, appio.ErrBusy: 429, errors.New("other"): 500,
	} {
		w.store.err.Store(&failure)
		w.all(func(r *route, op operation, body func() io.Reader) {
			if want == 429 && !slices.Contains(op.codes(r), 429) || r.pattern == "GET /api/communication/v1/payment/info/{rpt_id}" {
				return // what only reads, and what asks the gateway alone
			}
			require.Equal(t, want, w.ask(r, "", body()), r.pattern)
		})
	}
}

func TestSlowBodiesEverywhere(t *testing.T) {
	t.Parallel()
	w := newEverywhere(t, Options{BodyTimeout: 50 * time.Millisecond})
	var all sync.WaitGroup
	w.all(func(r *route, op operation, _ func() io.Reader) {
		if op.in == nil {
			return
		}
		all.Go(func() {
			body, end := io.Pipe()
			defer end.Close()
			if status := w.ask(r, "", body); status != 408 {
				t.Errorf("%s: %d", r.pattern, status)
			}
		})
	})
	all.Wait()
}

// The document is served to anybody, and is the one that is embedded.
func TestDocument(t *testing.T) {
	t.Parallel()
	w := newEverywhere(t, Options{})
	resp, err := http.Get(w.url + "/api/openapi.json")
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, OpenAPI(), string(got))
}

// What is on two paths is on both.
func TestTwins(t *testing.T) {
	t.Parallel()
	w := newEverywhere(t, Options{})
	do := func(want int, method, path string, body any, into any, headers ...string) {
		t.Helper()
		b, err := json.Marshal(body)
		require.NoError(t, err)
		req, err := http.NewRequest(method, w.url+path, bytes.NewReader(b))
		require.NoError(t, err)
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, want, resp.StatusCode, string(got))
		if into != nil {
			require.NoError(t, json.Unmarshal(got, into))
		}
	}
	me := []string{"Authorization", "me", "Content-Type", "application/json"}
	do(200, "POST", "/api/identity/v1/profile", Profile{Settings: &PreferencesSettings{"AUTO"}, IsInboxEnabled: new(true)}, nil, me...)

	twins := []string{"/api/communication/v1/messages/%s/status", "/api/v1/messages/%s/message-status"}
	once := []string{KeyHeader, anyService, "Idempotency-Key", "one"}
	for _, path := range []string{"/api/v1/messages", "/api/v1/messages/" + *someone()} {
		l := letter(nil)
		if !strings.HasSuffix(path, *someone()) {
			l = letter(someone())
		}
		var first, again CreatedMessage
		do(201, "POST", path, l, &first, once...)
		do(201, "POST", path, l, &again, once...)
		require.Equal(t, first, again)
		l.Content.Subject = "Un altro oggetto"
		do(409, "POST", path, l, nil, once...)

		for _, path := range twins {
			var is MessageStatusChanged
			do(200, "PUT", fmt.Sprintf(path, first.ID), MessageStatusChange{ChangeType: "archiving", IsArchived: new(true)}, &is, me...)
			require.Equal(t, MessageStatusChanged{IsArchived: true}, is)
			do(200, "PUT", fmt.Sprintf(path, first.ID), MessageStatusChange{ChangeType: "archiving", IsArchived: new(false)}, &is, me...)
			require.Zero(t, is)
		}
	}

	special := []string{KeyHeader, anySpecial}
	do(404, "POST", "/api/v1/activations", FiscalCodePayload{*someone()}, nil, special...)
	for i, path := range []string{"/api/v1/activations", "/api/v1/activations/"} {
		var set, is Activation
		do(200, "PUT", path, ActivationPayload{*someone(), []string{"ACTIVE", "INACTIVE"}[i]}, &set, special...)
		for _, path := range []string{"/api/v1/activations", "/api/v1/activations/"} {
			do(200, "POST", path, FiscalCodePayload{*someone()}, &is, special...)
			require.Equal(t, set, is)
		}
	}

	require.NoError(t, w.eng.Citizen(appio.Identity{Code: fiscalcode.Sandbox, Level: appio.L2}).Erase(t.Context()))
	for _, path := range twins {
		do(409, "PUT", fmt.Sprintf(path, examples["id"]), MessageStatusChange{ChangeType: "archiving", IsArchived: new(true)}, nil, me...)
	}
	do(404, "POST", "/api/communication/v1/send/activation?isTest=true", SendActivation{true}, nil, me...)
}
