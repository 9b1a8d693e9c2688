package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/store/memstore"
)

const manageKey = "una chiave fatta altrove"

// managedTarget is a handler for managers over an engine in memory, with one service.
func managedTarget(f *testing.F) http.Handler {
	e, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys(), ManageRate: 1e9, MaxServices: 10_000})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { e.Close() })
	ctx, a := f.Context(), e.Authority(comune)
	_, err = a.PutDraft(ctx, appio.Service{ID: mensa, Name: "Mensa"})
	for _, err := range []error{
		err,
		e.PutOrganization(ctx, appio.Organization{Code: comune, Name: "Comune", SignedAt: time.Now().Add(-time.Hour)}),
		a.PutManageKey(ctx, appio.ManageKey{ID: "k", Role: appio.Administrator}),
		a.SetManageKey(ctx, "k", appio.Primary, manageKey),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	return httpapi.Handler(e, nil)
}

func askManaged(t *testing.T, h http.Handler, method string, u *url.URL, body string) {
	r := httptest.NewRequest("GET", "/", strings.NewReader(body))
	r.Method, r.URL, r.RequestURI = method, u, u.RequestURI()
	r.Header.Set(httpapi.KeyHeader, manageKey)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	sound(t, w)
}

func FuzzManageBody(f *testing.F) {
	h := managedTarget(f)
	for _, body := range []any{payload(), payload("authorized_cidrs", []string{"192.0.2.0/24"}, "metadata.topic_id", 17, "organization.fiscal_code", regione),
		object{"auto_publish": true}, object{"logo": logo(3, 2)}, object{}} {
		b, err := json.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add("[")
	f.Fuzz(func(t *testing.T, body string) {
		for _, where := range []string{"POST " + managed, "PUT " + managed + "/01MENSA", "PUT " + managed + "/01MENSA/logo", "PUT " + managed + "/01MENSA/review",
			"PUT /api/v1/organizations/15376371009/logo", "GET " + managed + "/01MENSA/history", "GET " + managed + "/01MENSA"} {
			method, path, _ := strings.Cut(where, " ")
			askManaged(t, h, method, &url.URL{Path: path}, body)
		}
	})
}

func FuzzManagePath(f *testing.F) {
	h := managedTarget(f)
	for _, p := range managedPaths {
		f.Add(p.method, managed+"/01MENSA"+p.path, text(f, p.body))
	}
	for _, path := range []string{managed + "?limit=1&offset=1", managed + "/topics", managed + "/%00/keys/primary", managed + "/%2F..",
		managed + "/01MENSA/history?order=ASC&limit=3&continuationToken=AAAA", "/api/v1/organizations/15376371009/logo"} {
		f.Add("GET", path, "{}")
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		askManaged(t, h, method, u, body)
	})
}
