package httpapi_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// The persons and services of the tests are invented.
const (
	ada     = fiscalcode.Person("LVLDAA85T50G702B") // enrolled, in AUTO
	bruno   = fiscalcode.Person("BRNBRN75B15F205B") // enrolled, and refused mensa
	carla   = fiscalcode.Person("CRLCRL90C50L219C") // closed her inbox
	nobody  = fiscalcode.Person("RSSMRA85M10H501S") // never came
	mensa   = appio.ServiceID("01MENSA")            // live; may send premium messages and notices
	tributi = appio.ServiceID("01TRIBUTI")          // live
	comune  = fiscalcode.Organization("15376371009")

	keyOf = "key-of-the-service-" // and its id
)

// A world is an engine behind its handler, served over HTTP.
type world struct {
	t   testing.TB
	eng *appio.Engine
	url string
}

// setup makes a world with the services and citizens above. Options that are nil are zero.
func setup(t testing.TB, eo *appio.Options, o *httpapi.Options) *world {
	t.Helper()
	return setupOn(t, memstore.New(), eo, o)
}

func setupOn(t testing.TB, s store.Store, eo *appio.Options, o *httpapi.Options) *world {
	t.Helper()
	if eo == nil {
		eo = &appio.Options{}
	}
	if eo.Keys == nil {
		eo.Keys = appio.RandomKeys()
	}
	for _, rate := range []*float64{&eo.FeedRate, &eo.ManageRate, &eo.DebtRate, &eo.AddressRate, &eo.ActivationRate, &eo.CitizenRate} { // few tests are about these
		*rate = cmp.Or(*rate, 1e6)
	}
	eng, err := appio.New(s, eo)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, eng.Close()) })
	srv := httptest.NewServer(httpapi.Handler(eng, o))
	t.Cleanup(srv.Close)
	w := &world{t, eng, srv.URL}
	ctx := context.Background()
	require.NoError(t, eng.PutOrganization(ctx, appio.Organization{Code: comune, Name: "Comune di Esempio"}))
	w.service(appio.Service{ID: mensa, Name: "Mensa", State: appio.Live, Premium: true, MaxPayment: 100_00})
	w.service(appio.Service{ID: tributi, Name: "Tributi", State: appio.Live})
	for _, code := range []fiscalcode.Person{ada, bruno, carla} {
		require.NoError(t, w.citizen(code).SetMode(ctx, appio.Auto))
	}
	require.NoError(t, w.citizen(bruno).SetPreference(ctx, mensa, appio.Preference{}))
	require.NoError(t, w.citizen(carla).UpdateProfile(ctx, func(p *appio.Profile) error { p.Inbox = false; return nil }))
	return w
}

// damageListed damages the codes of all persons whom lists name, and says how many.
func damageListed(t *testing.T, s store.Store) (damaged int) {
	t.Helper()
	owners, err := s.Owners(t.Context(), "", store.MaxRange)
	require.NoError(t, err)
	for _, owner := range owners {
		snaps, err := s.View(t.Context(), []store.Read{{Owner: owner, Keys: []store.Key{"L"}}})
		require.NoError(t, err)
		if strings.HasPrefix(string(owner), "c/") && len(snaps[0].Records) > 0 {
			r := snaps[0].Records[0]
			r.Value = append(bytes.Clone(r.Value), 0)
			_, err := s.Commit(t.Context(), []store.Change{{Owner: owner, Rev: snaps[0].Rev, Put: []store.Record{r}}})
			require.NoError(t, err)
			damaged++
		}
	}
	return damaged
}

func (w *world) citizen(code fiscalcode.Person) *appio.Citizen {
	return w.eng.Citizen(appio.Identity{Code: code, Level: appio.L2})
}

// service puts a service of the comune, with its key.
func (w *world) service(s appio.Service) {
	w.t.Helper()
	if s.Organization == "" {
		s.Organization = comune
	}
	require.NoError(w.t, w.eng.PutService(context.Background(), s))
	require.NoError(w.t, w.eng.PutKey(context.Background(), s.ID, appio.Primary, keyOf+string(s.ID)))
}

// An answered request.
type answered struct {
	*http.Response
	t    testing.TB
	body []byte
}

// as asks with a service's key, or without one where it is empty. A body that is no string is sent as JSON; headers are pairs.
func (w *world) as(id appio.ServiceID, method, path string, body any, headers ...string) answered {
	w.t.Helper()
	if id != "" {
		headers = append([]string{httpapi.KeyHeader, keyOf + string(id)}, headers...)
	}
	return w.ask(method, path, body, headers...)
}

func (w *world) ask(method, path string, body any, headers ...string) answered {
	w.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		j, err := json.Marshal(b)
		require.NoError(w.t, err)
		r = strings.NewReader(string(j))
	}
	req, err := http.NewRequest(method, w.url+path, r)
	require.NoError(w.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return answered{resp, w.t, got}
}

// into reads the body of an answer that must have this status.
func (a answered) into(status int, v any) {
	a.t.Helper()
	require.Equal(a.t, status, a.StatusCode, "%s", a.body)
	require.Equal(a.t, "application/json", a.Header.Get("Content-Type"))
	require.NoError(a.t, json.Unmarshal(a.body, v))
}

// problem is what an answer that must be a problem says.
func (a answered) problem(status int, title string) httpapi.Problem {
	a.t.Helper()
	require.Equal(a.t, status, a.StatusCode, "%s", a.body)
	require.Equal(a.t, "application/problem+json", a.Header.Get("Content-Type"))
	var p httpapi.Problem
	require.NoError(a.t, json.Unmarshal(a.body, &p))
	require.Equal(a.t, status, p.Status)
	if title != "" {
		require.Equal(a.t, title, p.Title)
	}
	return p
}
