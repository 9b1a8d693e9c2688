package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/pagopa"
)

// This file stands for people and partners of a platform: who reviews services, who hands out copies of data, and pagoPA with its creditors.

// operatorToken is what the operator's paths ask for, as Authorization: Bearer operator. It is no secret, as nothing is here; but a page of the web
// that a browser of this machine shows cannot send it.
const operatorToken = "Bearer operator"

// An office is the operator's side, of which IO has no API.
type office struct {
	eng       *appio.Engine
	creditors *sandbox
}

func (o office) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /operator/reviews", o.reviews)
	mux.HandleFunc("POST /operator/reviews/{id}/approve", func(w http.ResponseWriter, r *http.Request) {
		_, err := o.eng.Approve(r.Context(), appio.ServiceID(r.PathValue("id")), "operator")
		done(w, r, err)
	})
	mux.HandleFunc("POST /operator/reviews/{id}/reject", func(w http.ResponseWriter, r *http.Request) {
		_, err := o.eng.Reject(r.Context(), appio.ServiceID(r.PathValue("id")), "operator", r.URL.Query().Get("reason"))
		done(w, r, err)
	})
	mux.HandleFunc("POST /operator/payments/{rpt_id}", func(w http.ResponseWriter, r *http.Request) {
		event, err := o.creditors.pay(r.PathValue("rpt_id"))
		if err == nil {
			err = o.eng.Settle(r.Context(), event)
		}
		done(w, r, err)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(operatorToken)) == 0 {
			http.Error(w, "this is for the operator", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// reviews are the services that wait for a decision, oldest first.
func (o office) reviews(w http.ResponseWriter, r *http.Request) {
	type review struct {
		ID           appio.ServiceID `json:"id"`
		Name         string          `json:"name"`
		Organization string          `json:"organization_fiscal_code"`
	}
	all := []review{}
	for d, err := range o.eng.Reviews().All(r.Context()) {
		if errors.Is(err, appio.ErrIncomplete) { // the others are still to be decided
			break
		}
		if err != nil {
			done(w, r, err)
			return
		}
		all = append(all, review{d.ID, d.Name, string(d.Organization)})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(all) // who asked may have gone
}

// done says how it went, as the paths of IO's API do.
func done(w http.ResponseWriter, r *http.Request, err error) {
	if p := httpapi.ProblemOf(err); p != nil {
		p.ServeHTTP(w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// handOut writes the copies of their data that citizens ask for, each to a file that only this user can read, and says where. A real platform
// keeps them where their own login gives them to citizens, and tells them.
func handOut(ctx context.Context, eng *appio.Engine, dir string, out io.Writer) error {
	if err := removeUnfinished(dir); err != nil {
		return err
	}
	for {
		found, err := eng.ServeDownload(ctx, func(ctx context.Context, c *appio.Citizen) error { return export(ctx, c, dir, out) })
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(out, "a copy of a citizen's data could not be written:", err)
		}
		if found && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func export(ctx context.Context, c *appio.Citizen, dir string, out io.Writer) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, "*.json"+unfinished)
	if err != nil {
		return err
	}
	whole := strings.TrimSuffix(file.Name(), unfinished)
	err = errors.Join(c.Export(ctx, file), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), whole)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	_, err = fmt.Fprintf(out, "a copy of a citizen's data is in %s\n", whole)
	return err
}

// unfinished is how the name of a copy ends while it is written.
const unfinished = ".partial"

// removeUnfinished removes what a crash left of copies, which are written anew: a person's data lies nowhere that nobody knows of.
func removeUnfinished(dir string) error {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), unfinished) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	return err
}

// A sandbox is pagoPA, with the debts of the seed; it forgets at the end what was paid.
type sandbox struct {
	mu    sync.Mutex
	debts map[pagopa.RPTID]appio.Debt
	paid  map[pagopa.RPTID]time.Time
}

// Verify answers for the creditor.
func (s *sandbox) Verify(_ context.Context, id pagopa.RPTID) (appio.Debt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, owed := s.debts[id]
	switch {
	case !owed:
		return d, &pagopa.Fault{Category: pagopa.PaymentUnknown}
	case !s.paid[id].IsZero():
		return d, &pagopa.Fault{Category: pagopa.PaymentDuplicated}
	}
	return d, nil
}

// Start sends a payer to a page that is not there: what is paid here is paid by the operator's path.
func (s *sandbox) Start(ctx context.Context, d appio.Debt, key string) (appio.Checkout, error) {
	_, err := s.Verify(ctx, d.RPTID)
	return appio.Checkout{URL: "https://checkout.example.org/" + key}, err
}

// pay pays a debt of the seed, and is the news of it: the same however often.
func (s *sandbox) pay(rptID string) (event appio.PaymentEvent, err error) {
	id, err := pagopa.ParseRPTID(rptID)
	if err != nil {
		return event, appio.ErrNotFound
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, owed := s.debts[id]; !owed {
		return event, appio.ErrNotFound
	}
	if s.paid[id].IsZero() {
		s.paid[id] = time.Now()
	}
	return appio.PaymentEvent{ID: "sandbox-" + rptID, RPTID: id, State: appio.Paid, At: s.paid[id]}, nil
}
