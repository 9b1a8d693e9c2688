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
