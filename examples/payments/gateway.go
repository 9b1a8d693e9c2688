package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
)

// A gateway asks a server for debts, and where they are paid. It tries once: the engine tries again what may pass.
type gateway struct{ address string }

// A debt is a notice in the answers of IO's API for citizens.
type debt struct {
	RPTID       string        `json:"rptId"`
	Amount      pagopa.Amount `json:"amount"`
	Payee       string        `json:"paName,omitempty"`
	Description string        `json:"description,omitempty"`
}

func (g gateway) Verify(ctx context.Context, id pagopa.RPTID) (appio.Debt, error) {
	var d debt
	if err := g.ask(ctx, http.MethodGet, "/payment-requests/"+id.String(), nil, &d); err != nil {
		return appio.Debt{}, err
	}
	return appio.Debt{RPTID: id, Amount: d.Amount, Payee: d.Payee, Description: d.Description}, nil
}

func (g gateway) Start(ctx context.Context, d appio.Debt, key string) (appio.Checkout, error) {
	var answer struct {
		URL string `json:"url"`
	}
	err := g.ask(ctx, http.MethodPost, "/checkout", map[string]string{"key": key, "rptId": d.RPTID.String()}, &answer)
	return appio.Checkout{URL: answer.URL}, err
}

// ask sends what is asked as JSON, and reads the answer. Errors do not quote either.
func (g gateway) ask(ctx context.Context, method, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, g.address+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err // without the URL, in which the notice is
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	from := json.NewDecoder(io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode == http.StatusOK {
		return from.Decode(answer)
	}
	var fault struct {
		Category string `json:"faultCodeCategory"`
		Detail   string `json:"faultCodeDetail"`
	}
	if err := from.Decode(&fault); err != nil || fault.Category == "" {
		return fmt.Errorf("the payment server answered with status %d", resp.StatusCode)
	}
	return &pagopa.Fault{Category: fault.Category, Detail: fault.Detail}
}

// An event is news of a notice as the server tells it.
type event struct {
	ID    string             `json:"id"`
	RPTID string             `json:"rptId"`
	State appio.PaymentState `json:"state"`
	At    time.Time          `json:"at"`
}

func readEvent(r io.Reader, to *appio.PaymentEvent) error {
	var ev event
	if err := json.NewDecoder(io.LimitReader(r, 64<<10)).Decode(&ev); err != nil {
		return err
	}
	id, err := pagopa.ParseRPTID(ev.RPTID)
	*to = appio.PaymentEvent{ID: ev.ID, RPTID: id, State: ev.State, At: ev.At}
	return err
}
