package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/store/memstore"
)

// target is a handler over an engine in memory, for requests without a network.
func target(f *testing.F) http.Handler {
	e, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys(), ContactRate: 1e9})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { e.Close() })
	ctx := f.Context()
	for _, err := range []error{
		e.PutService(ctx, appio.Service{ID: mensa, Name: "Mensa", Organization: comune, State: appio.Live, Premium: true, MaxPayment: 100_00}),
		e.PutKey(ctx, mensa, appio.Primary, keyOf+string(mensa)),
		e.Citizen(appio.Identity{Code: ada}).SetMode(ctx, appio.Auto),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	return httpapi.Handler(e, nil)
}

// sound is how each answer must be, whatever was asked: no failure of the server's, and a problem where it is no success.
func sound(t *testing.T, w *httptest.ResponseRecorder) {
	switch {
	case w.Code >= 500:
		t.Fatalf("%d: %s", w.Code, w.Body)
	case w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json":
		t.Fatalf("%d is no problem: %s", w.Code, w.Body)
	case w.Code >= 300 && w.Code < 400:
		t.Fatalf("%d", w.Code)
	}
}

func FuzzBody(f *testing.F) {
	h := target(f)
	for _, s := range []string{
		`{"fiscal_code":"LVLDAA85T50G702B","content":{"subject":"Iscrizione alla mensa","markdown":"` + strings.Repeat("x", 80) + `"}}`,
		`{"fiscal_code":"LVLDAA85T50G702B","time_to_live":3600,"feature_level_type":"ADVANCED","content":{"subject":"Iscrizione alla mensa","markdown":"` +
			strings.Repeat("x", 80) + `","due_date":"2026-12-31T23:59:59Z","payment_data":{"amount":1,"notice_number":"302032002700000251"},"prescription_data":{"nre":"010A12345678901"}}}`,
		`{"fiscal_code":"LVLDAA85T50G702B"}`, `{}`, ``, `[`,
	} {
		f.Add(s, "key")
	}
	f.Fuzz(func(t *testing.T, body, idempotency string) {
		for _, path := range []string{"/api/v1/messages", "/api/v1/messages/LVLDAA85T50G702B", "/api/v1/profiles"} {
			r := httptest.NewRequest("POST", path, strings.NewReader(body))
			r.Header.Set(httpapi.KeyHeader, keyOf+string(mensa))
			r.Header.Set("Idempotency-Key", idempotency)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			sound(t, w)
		}
	})
}

func FuzzPath(f *testing.F) {
	h := target(f)
	for _, s := range []string{"/api/v1/messages", "/api/v1/messages/LVLDAA85T50G702B/01BX9NSMKVXXS5PSP2FATZMYYY", "/api/v1/profiles/LVLDAA85T50G702B",
		"/api/v1/profiles/%00?x=1", "/../api//v1", "*"} {
		for _, m := range []string{"GET", "POST", "PUT", "OPTIONS"} {
			f.Add(m, s, keyOf+string(mensa))
		}
	}
	f.Fuzz(func(t *testing.T, method, path, key string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		r := httptest.NewRequest("GET", "/", strings.NewReader("{}"))
		r.Method, r.URL, r.RequestURI = method, u, path
		r.Header[http.CanonicalHeaderKey(httpapi.KeyHeader)] = []string{key}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		sound(t, w)
	})
}
