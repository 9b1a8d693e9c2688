package gatewaytest

import (
	"fmt"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
)

var verifyChecks = []check{
	{"a debt is what its creditor says", func(t tester, s *subject) {
		for n := range 3 {
			s.verified(t, "an ordinary debt", s.put(n))
		}
	}},

	{"what the creditor does not say is not said", func(t tester, s *subject) {
		d := appio.Debt{RPTID: numbered(1).RPTID, Amount: 150_00}
		s.creditors.Put(d)
		s.verified(t, "a debt without payee, description and due date", d)
	}},

	{"amounts are exact", func(t tester, s *subject) {
		for n, amount := range []pagopa.Amount{
			1, 9, 10, 99, 100, 101, 19_99, 1_000_00, 1<<24 + 1, 99_999_999, 1<<31 - 1, 1<<32 - 1, pagopa.MaxAmount - 1, pagopa.MaxAmount,
		} {
			d := numbered(n)
			d.Amount = amount
			s.creditors.Put(d)
			s.verified(t, fmt.Sprintf("a debt of %d cents", amount), d)
		}
	}},

	{"texts come as they are", func(t tester, s *subject) {
		for n, text := range []string{
			"TARI 2026, 1ª rata: è dovuta entro il 30/11",
			strings.Repeat("à", 140),
			strings.Repeat("\U0001F3DB", 140),
			`"virgolette", <b>&amp;</b>, \u0041, C:\n, {{.}}, %s %00`,
			"Občina Primer — Πόλη — 市役所 — e\u0301",
		} {
			d := numbered(n)
			d.Payee, d.Description = text, text
			s.creditors.Put(d)
			s.verified(t, fmt.Sprintf("a debt whose payee and description are text %d of the suite", n), d)
		}
	}},

	{"days are days", func(t tester, s *subject) {
		for n, due := range []time.Time{
			time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC), // a day of 23 hours in Rome
			time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC),
			time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC),
			time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC), // long past
			time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		} {
			d := numbered(n)
			d.Due = due
			s.creditors.Put(d)
			s.verified(t, "a debt that is due on "+due.Format(time.DateOnly), d)
		}
	}},

	{"a debt is what it is now", func(t tester, s *subject) {
		d := s.put(1)
		s.verified(t, "a debt", d)
		d.Amount += 12_00
		s.creditors.Put(d)
		s.verified(t, "a debt whose amount has changed since it was verified", d)
		d.Due = d.Due.AddDate(0, 2, 0)
		s.creditors.Put(d)
		s.verified(t, "a debt whose due date has changed since it was verified", d)
		d.Due = time.Time{}
		s.creditors.Put(d)
		s.verified(t, "a debt whose due date was given up since it was verified", d)
	}},

	{"a debt is the one that was asked for", func(t tester, s *subject) {
		d, e := s.put(1), s.put(2)
		f := d
		f.RPTID.Creditor, f.Amount, f.Payee = other, 7_00, "ASL di Esempio"
		s.creditors.Put(f)
		for range 2 {
			s.verified(t, "one of two notices of a creditor", d)
			s.verified(t, "another notice of that creditor", e)
			s.verified(t, "a notice of another creditor with the same number", f)
		}
	}},
}
