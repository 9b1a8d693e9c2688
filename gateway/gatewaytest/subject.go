package gatewaytest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/conformance"
	"github.com/appio-go/appio/pagopa"
)

// A subject is the gateway that is checked, and the creditors behind it.
type subject struct {
	appio.PaymentGateway
	creditors *Gateway
}

func newCreditors() *Gateway { return &Gateway{Session: 15 * time.Minute} }

const (
	creditor = fiscalcode.Organization("01199250158")
	other    = fiscalcode.Organization("02342520158")
)

// numbered returns one of many debts.
func numbered(n int) appio.Debt {
	return appio.Debt{
		RPTID:       pagopa.RPTID{Creditor: creditor, Notice: pagopa.NoticeNumber(fmt.Sprintf("3020320027%08d", n))},
		Amount:      pagopa.Amount(84_50 + n),
		Payee:       "Comune di Esempio",
		Description: "Retta della mensa, ottobre 2026, Maria Bianchi",
		Due:         time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC),
	}
}

// put makes one of many debts known.
func (s *subject) put(n int) appio.Debt {
	d := numbered(n)
	s.creditors.Put(d)
	return d
}

// verify makes one call, and ends the check if it does not return an answer.
func (s *subject) verify(t tester, ctx context.Context, what string, id pagopa.RPTID) (appio.Debt, error) {
	t.Helper()
	problem, d, err := s.tryVerify(ctx, id)
	if problem != "" {
		t.Fatalf("%s: %s", what, problem)
	}
	return d, err
}

// start is verify for Start.
func (s *subject) start(t tester, ctx context.Context, what string, d appio.Debt, key string) (appio.Checkout, error) {
	t.Helper()
	problem, c, err := s.tryStart(ctx, d, key)
	if problem != "" {
		t.Fatalf("%s: %s", what, problem)
	}
	return c, err
}

// tryVerify makes one call, from any goroutine. A problem is why there is no answer.
func (s *subject) tryVerify(ctx context.Context, id pagopa.RPTID) (problem string, d appio.Debt, err error) {
	type answer struct {
		debt appio.Debt
		err  error
	}
	problem, a := conformance.Guard(ctx, "Verify", func() answer {
		d, err := s.Verify(ctx, id)
		return answer{d, err}
	})
	return problem, a.debt, a.err
}

// tryStart is tryVerify for Start.
func (s *subject) tryStart(ctx context.Context, d appio.Debt, key string) (problem string, c appio.Checkout, err error) {
	type answer struct {
		checkout appio.Checkout
		err      error
	}
	problem, a := conformance.Guard(ctx, "Start", func() answer {
		c, err := s.Start(ctx, d, key)
		return answer{c, err}
	})
	return problem, a.checkout, a.err
}

// verified checks that a debt is verified as it is.
func (s *subject) verified(t tester, what string, want appio.Debt) {
	t.Helper()
	d, err := s.verify(t, t.Context(), what, want.RPTID)
	if err != nil {
		t.Errorf("Verify of %s: error %q; want the debt, for the creditor knows it and answers", what, err)
		return
	}
	if difference := differs(d, want); difference != "" {
		t.Errorf("Verify of %s: %s", what, difference)
	}
}

// differs says in what an answer is not what the creditor said.
func differs(got, want appio.Debt) string {
	switch {
	case got.RPTID != want.RPTID:
		return "the debt is not the one that was asked for: its RPTID is another"
	case got.Amount != want.Amount:
		return fmt.Sprintf("the amount is %d cents, and the creditor said %d", got.Amount, want.Amount)
	case got.Payee != want.Payee:
		return fmt.Sprintf("the payee is %q, and the creditor said %q", got.Payee, want.Payee)
	case got.Description != want.Description:
		return fmt.Sprintf("the description is %q, and the creditor said %q", got.Description, want.Description)
	case got.Due.IsZero() && !want.Due.IsZero():
		return "there is no due date, and the creditor said one"
	case want.Due.IsZero() && !got.Due.IsZero():
		return fmt.Sprintf("the due date is %v, and the creditor said none; want the zero Time", got.Due)
	case !got.Due.Equal(want.Due):
		return fmt.Sprintf("the due date is %v; want %v: the last day, at 00:00 UTC", got.Due, want.Due)
	}
	return ""
}

// started checks that a payment begins.
func (s *subject) started(t tester, what string, d appio.Debt, key string) appio.Checkout {
	t.Helper()
	c, err := s.start(t, t.Context(), what, d, key)
	if err != nil {
		t.Fatalf("Start of %s: error %q; want a checkout, for the debt can be paid", what, err)
	}
	return c
}

// sameCheckout compares two answers.
func sameCheckout(a, b appio.Checkout) bool { return a.URL == b.URL && a.ExpiresAt.Equal(b.ExpiresAt) }

// both makes a call of Verify and one of Start with a new key, and looks at the errors of both.
func (s *subject) both(t tester, ctx context.Context, what string, d appio.Debt, look func(call string, err error)) {
	t.Helper()
	_, err := s.verify(t, ctx, what, d.RPTID)
	look("Verify", err)
	_, err = s.start(t, ctx, what, d, newKey())
	look("Start", err)
}

// refused checks that both calls are answered with a fault.
func (s *subject) refused(t tester, what string, d appio.Debt, want *pagopa.Fault) {
	t.Helper()
	s.both(t, t.Context(), what, d, func(call string, err error) {
		t.Helper()
		var f *pagopa.Fault
		switch {
		case err == nil:
			t.Errorf("%s of %s succeeded; want a fault of category %s", call, what, want.Category)
		case !errors.As(err, &f) || f == nil:
			t.Errorf("%s of %s: error %q, in which errors.As finds no *pagopa.Fault; want one of category %s: by it the engine knows "+
				"what to tell the citizen, and whether to try again", call, what, err, want.Category)
		case f.Category != want.Category:
			t.Errorf("%s of %s: a fault of category %q; want %s", call, what, f.Category, want.Category)
		case f.Detail != "" && f.Detail != want.Detail:
			t.Errorf("%s of %s: the fault's detail is %q; want %q, as it was answered, or nothing", call, what, f.Detail, want.Detail)
		}
	})
}

// passes reports whether an error is one that the engine tries again after.
func passes(err error) bool {
	var f *pagopa.Fault
	return !errors.As(err, &f) || f == nil || f.Category == pagopa.GenericError || f.Category == pagopa.PaymentUnavailable
}
