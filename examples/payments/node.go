package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
)

// A node stands for pagoPA: it knows what is owed, takes payments, and tells of them.
type node struct {
	tell string // URL that is told of payments

	mu    sync.Mutex
	debts map[string]debt
	keys  map[string]string // of payments that were begun: of which debt
	paid  map[string]bool
}

// A debt is what the node says of a notice, in the form of IO's API for citizens.
type debt struct {
	RPTID       string        `json:"rptId"`
	Amount      pagopa.Amount `json:"amount"`
	Payee       string        `json:"paName,omitempty"`
	Description string        `json:"description,omitempty"`
}

const checkoutPage = "https://checkout.example.org/" // nobody is asked there: see pay

func newNode(debts ...debt) *node {
	n := &node{debts: map[string]debt{}, keys: map[string]string{}, paid: map[string]bool{}}
	for _, d := range debts {
		n.debts[d.RPTID] = d
	}
	return n
}

func (n *node) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /payment-requests/{rptId}", func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.answer(w, r.PathValue("rptId"), func(d debt) any { return d })
	})
	mux.HandleFunc("POST /checkout", func(w http.ResponseWriter, r *http.Request) {
		var question struct{ Key, RPTID string }
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&question); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.answer(w, question.RPTID, func(debt) any {
			n.keys[question.Key] = question.RPTID
			return map[string]string{"url": checkoutPage + question.Key}
		})
	})
	return mux
}

// answer answers about a debt that can be paid, or says why it cannot.
func (n *node) answer(w http.ResponseWriter, id string, with func(debt) any) {
	w.Header().Set("Content-Type", "application/json")
	status, answer := http.StatusOK, any(nil)
	switch d, known := n.debts[id]; {
	case !known:
		status, answer = http.StatusNotFound, map[string]string{"faultCodeCategory": pagopa.PaymentUnknown}
	case n.paid[id]:
		status, answer = http.StatusConflict, map[string]string{"faultCodeCategory": pagopa.PaymentDuplicated}
	default:
		answer = with(d)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // who asked may have gone
}

// pay is a citizen who pays at the checkout page. The host is told of it.
func (n *node) pay(ctx context.Context, checkout string) error {
	n.mu.Lock()
	id, begun := n.keys[strings.TrimPrefix(checkout, checkoutPage)]
	if begun {
		n.paid[id] = true
	}
	number := len(n.paid)
	n.mu.Unlock()
	if !begun {
		return errors.New("nothing was begun there")
	}
	body, err := json.Marshal(event{fmt.Sprintf("payment-%d", number), id, appio.Paid, time.Now()})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.tell, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("who was told of a payment answered with status %d", resp.StatusCode)
	}
	return nil
}

// serve serves on this machine until stop is called.
func serve(h http.Handler) (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go s.Serve(l)
	return "http://" + l.Addr().String(), func() { s.Close() }, nil
}
