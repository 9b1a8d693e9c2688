package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A brittle store fails when it is told to.
type brittle struct {
	store.Store
	err atomic.Pointer[error]
}

func (s *brittle) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if err := s.err.Load(); err != nil {
		return nil, *err
	}
	return s.Store.View(ctx, reads)
}

func (s *brittle) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	if err := s.err.Load(); err != nil {
		return nil, *err
	}
	return s.Store.Commit(ctx, changes)
}

// A log is a journal that is written to concurrently.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// reaching is the body of a path's harmless request, or one that gets as far as the engine where that one does not.
func reaching(path string, body any) any {
	if path == identity+"/user-data-processing" {
		return object{"choice": "DOWNLOAD"}
	}
	return body
}

// Where the store fails every path says so, and the log why, without a word of whom it was about.
func TestCitizensWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	s, journal := &brittle{Store: memstore.New()}, &log{}
	w := setupOn(t, s, &appio.Options{Channels: routes(nil), Payments: &gatewaytest.Gateway{}}, &httpapi.Options{
		Citizen: login, Send: "01SEND", Logger: slog.New(slog.NewTextHandler(journal, nil)),
		Validate: func(context.Context, appio.Validation) error { return nil },
	})
	w.service(appio.Service{ID: "01SEND", Name: "SEND", State: appio.Live, Category: appio.Special})
	require.NoError(t, w.citizen(ada).UpdateProfile(t.Context(), func(p *appio.Profile) error {
		p.Addresses = []appio.Address{{Channel: appio.Email, Value: "ada@example.it"}}
		return nil
	}))
	for failure, status := range map[error]int{errors.New("the disk is on fire"): 500, store.ErrFull: 503} {
		s.err.Store(&failure)
		for _, p := range pathsOfCitizens {
			a := w.by(ada, p.method, p.path, reaching(p.path, p.body))
			require.Equal(t, status, a.StatusCode, "%s %s: %s", p.method, p.path, a.body)
			a.problem(status, "")
			require.NotContains(t, string(a.body), "fire")
		}
		s.err.Store(nil)
	}
	require.Contains(t, journal.String(), "the disk is on fire")
	require.NotContains(t, journal.String(), string(ada))
	require.NotContains(t, journal.String(), "ada@example.it")
}

// While somebody is being erased nothing is changed any more, and what is left is not shown.
func TestACitizenWhoIsErased(t *testing.T) {
	t.Parallel()
	w := setupApp(t, &appio.Options{Channels: routes(nil), Payments: &gatewaytest.Gateway{}}, &httpapi.Options{
		Validate: func(context.Context, appio.Validation) error { return nil },
	})
	id := w.message(mensa, ada)
	require.NoError(t, w.citizen(ada).Erase(t.Context()))
	body := object{"version": 0}
	want := map[string]int{
		"GET " + communication + "/messages":                           409,
		"GET " + communication + "/messages/" + string(id):             409,
		"PUT " + communication + "/messages/" + string(id) + "/status": 409,
		"PUT " + communication + "/installations/1":                    409,
		"GET " + thirdParty + string(id):                               409,
		"GET " + thirdParty + string(id) + "/precondition":             409,
		"GET " + thirdParty + string(id) + "/attachments/stored/x":     409,
		"GET " + communication + "/send/activation":                    200,
		"GET " + identity + "/profile":                                 200,
		"POST " + identity + "/profile":                                409,
		"GET " + preferences(mensa):                                    409,
		"POST " + identity + "/email-validation-process":               404,
		"POST " + identity + "/user-data-processing":                   409,
		"GET " + identity + "/user-data-processing/DELETE":             404,
	}
	bodies := map[string]object{
		"PUT " + communication + "/messages/" + string(id) + "/status": {"change_type": "reading", "is_read": true},
		"PUT " + communication + "/installations/1":                    {"platform": "gcm", "pushChannel": "token"},
		"POST " + identity + "/profile":                                body,
		"POST " + identity + "/user-data-processing":                   {"choice": "DELETE"},
	}
	ask := func(what string) answered {
		method, path := what[:3], what[4:]
		if what[:4] == "POST" {
			method, path = "POST", what[5:]
		}
		return w.by(ada, method, path, maps.Clone(bodies[what]))
	}
	for what, status := range want {
		require.Equal(t, status, ask(what).StatusCode, what)
	}
	_, err := w.eng.Flush(t.Context())
	require.NoError(t, err)
	require.False(t, w.profile(ada).HasProfile)
	require.Equal(t, 404, ask("GET "+communication+"/messages/"+string(id)).StatusCode)
	require.Equal(t, 200, ask("POST "+identity+"/profile").StatusCode, "another life begins")
}
