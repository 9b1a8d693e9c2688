package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/httpapi"
)

// Software written for IO sends to a platform that embeds appio by changing the address that it sends to.
func ExampleHandler() {
	dir, err := os.MkdirTemp("", "appio")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	eng, err := appio.Open(filepath.Join(dir, "appio.db"), nil)
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	ctx := context.Background()
	err = errors.Join(
		eng.PutService(ctx, appio.Service{ID: "mensa", Name: "Mensa scolastica", Organization: "15376371009", State: appio.Live}),
		eng.PutKey(ctx, "mensa", appio.Primary, "la-chiave-della-mensa"),
		eng.Citizen(appio.Identity{Code: "LVLDAA85T50G702B"}).SetMode(ctx, appio.Auto),
	)
	if err != nil {
		panic(err)
	}

	// A host gives the handler to a server of its own, with TLS and bounds on headers and connections.
	srv := httptest.NewServer(httpapi.Handler(eng, &httpapi.Options{
		Citizen: func(*http.Request) (appio.Identity, error) { return appio.Identity{}, appio.ErrUnauthorized }, // nobody is logged in
	}))
	defer srv.Close()

	for _, key := range []string{"la-chiave-della-mensa", "another"} {
		req, err := http.NewRequest("POST", srv.URL+"/api/v1/messages", strings.NewReader(`{
			"fiscal_code": "LVLDAA85T50G702B",
			"content": {
				"subject": "Iscrizione alla mensa",
				"markdown": "Le iscrizioni alla mensa per il nuovo anno scolastico sono aperte fino alla fine del mese."
			}
		}`))
		if err != nil {
			panic(err)
		}
		req.Header.Set(httpapi.KeyHeader, key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			panic(err)
		}
		if resp.StatusCode != http.StatusCreated {
			fmt.Println(resp.Status, string(body))
			continue
		}
		fmt.Println(resp.Status)
	}
	// Output:
	// 201 Created
	// 401 Unauthorized {"title":"Unauthorized","status":401,"detail":"The key is not known, or is no longer in use."}
}

// A host adds paths of its own, here for quiet hours, which IO does not have. They know citizens by the same login, and answer errors alike.
func ExampleProblemOf() {
	dir, err := os.MkdirTemp("", "appio")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	eng, err := appio.Open(filepath.Join(dir, "appio.db"), nil)
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	login := func(r *http.Request) (appio.Identity, error) {
		if r.Header.Get("Authorization") != "Bearer session-of-ada" { // a host looks its sessions up
			return appio.Identity{}, appio.ErrUnauthorized
		}
		return appio.Identity{Code: "LVLDAA85T50G702B", Level: appio.L2, Provider: "cie"}, nil
	}

	mux := http.NewServeMux()
	mux.Handle("/api/", httpapi.Handler(eng, &httpapi.Options{Citizen: login}))
	mux.HandleFunc("PUT /quiet/{from}/{to}", func(w http.ResponseWriter, r *http.Request) {
		from, err1 := time.ParseDuration(r.PathValue("from"))
		to, err2 := time.ParseDuration(r.PathValue("to"))
		id, err := login(r)
		if err == nil {
			err = eng.Citizen(id).UpdateProfile(r.Context(), func(p *appio.Profile) error {
				if err1 != nil || err2 != nil {
					return appio.ErrInvalid
				}
				p.Quiet = appio.QuietHours{From: from, To: to}
				return nil
			})
		}
		if p := httpapi.ProblemOf(err); p != nil {
			p.ServeHTTP(w, r) // with 500 and 503 err goes to the log
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()

	for _, path := range []string{"/quiet/22h/7h", "/quiet/22h/21h", "/quiet/22h/late"} {
		req, err := http.NewRequest("PUT", srv.URL+path, nil)
		if err != nil {
			panic(err)
		}
		req.Header.Set("Authorization", "Bearer session-of-ada")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			panic(err)
		}
		fmt.Println(strings.TrimSpace(resp.Status + " " + string(body)))
	}
	// Output:
	// 204 No Content
	// 400 Bad Request {"title":"Bad parameters","status":400,"detail":"Quiet: at most 20 hours"}
	// 400 Bad Request {"title":"Bad parameters","status":400}
}
