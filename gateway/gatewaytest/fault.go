package gatewaytest

import (
	"errors"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
)

var faultChecks = []check{
	{"an unknown notice is PAYMENT_UNKNOWN", func(t tester, s *subject) {
		s.put(1)
		s.refused(t, "a notice that its creditor does not know", numbered(2), pagopa.NewFault("PAA_PAGAMENTO_SCONOSCIUTO"))
	}},

	{"each fault keeps its category", func(t tester, s *subject) {
		for n, want := range faults() {
			d := s.put(n)
			s.creditors.Refuse(d.RPTID, want)
			s.refused(t, "a debt that is refused as "+want.Category, d, want)
		}
	}},

	{"a debt that was paid is PAYMENT_DUPLICATED", func(t tester, s *subject) {
		d := s.put(1)
		s.verified(t, "a debt", d)
		s.creditors.Pay(d.RPTID)
		s.refused(t, "a debt that was paid since it was verified", d, pagopa.NewFault("PAA_PAGAMENTO_DUPLICATO"))
	}},

	{"a fault is of its moment", func(t tester, s *subject) {
		d := s.put(1)
		for _, f := range faults() {
			s.creditors.Refuse(d.RPTID, f)
			s.refused(t, "a debt", d, f)
			s.creditors.Refuse(d.RPTID, nil)
			s.verified(t, "a debt that was refused a moment ago and is no more", d)
			s.started(t, "a debt that was refused a moment ago and is no more", d, newKey())
		}
	}},

	{"a service that fails says nothing of the debt", func(t tester, s *subject) {
		d := s.put(1)
		s.creditors.Fail(errors.New("out of order"))
		s.both(t, t.Context(), "a debt, while the service fails", d, func(call string, err error) {
			if err == nil {
				t.Errorf("%s succeeded while the service that it asks failed; want an error", call)
			} else if !passes(err) {
				t.Errorf("%s while the service that it asks fails: fault %q, which the engine takes for the creditor's word; want an "+
					"error that is no fault, or one of category %s or %s: then it tries again", call, err, pagopa.GenericError,
					pagopa.PaymentUnavailable)
			}
		})
		s.creditors.Fail(nil)
		s.verified(t, "a debt, when the service works again", d)
		s.started(t, "a debt, when the service works again", d, newKey())
	}},

	{"one call asks once", func(t tester, s *subject) {
		d, unknown := s.put(1), numbered(2)
		refused := s.put(3)
		s.creditors.Refuse(refused.RPTID, pagopa.NewFault("PPT_SYSTEM_ERROR"))
		for _, fail := range []error{nil, errors.New("out of order")} {
			s.creditors.Fail(fail)
			for _, d := range []appio.Debt{d, unknown, refused} {
				for _, method := range []string{"Verify", "Start"} {
					before := s.asked(method)
					if method == "Verify" {
						_, _ = s.verify(t, t.Context(), "a debt", d.RPTID)
					} else {
						_, _ = s.start(t, t.Context(), "a debt", d, newKey())
					}
					if n := s.asked(method) - before; n > 1 {
						t.Errorf("one call of %s asked %d times; want once: it is the engine that tries again", method, n)
						return
					}
				}
			}
		}
	}},

	{"what is no RPT id is no debt", func(t tester, s *subject) {
		for _, id := range []pagopa.RPTID{
			{},
			{Creditor: creditor},
			{Creditor: "../../../..", Notice: numbered(1).RPTID.Notice},
			{Creditor: creditor, Notice: "30203200270000/?#%"},
			{Creditor: creditor, Notice: "3020320027\r\nX: \x00\xff"},
		} {
			s.both(t, t.Context(), "what is no RPT id", appio.Debt{RPTID: id, Amount: 150_00}, func(call string, err error) {
				if err == nil {
					t.Errorf("%s of an RPTID that is not Valid succeeded; want an error", call)
				}
			})
		}
	}},
}

// faults returns one of each category.
func faults() []*pagopa.Fault {
	var fs []*pagopa.Fault
	for _, detail := range []string{
		"PAA_PAGAMENTO_SCONOSCIUTO", "PPT_DOMINIO_SCONOSCIUTO", "PPT_PAGAMENTO_IN_CORSO", "PAA_PAGAMENTO_SCADUTO",
		"PAA_PAGAMENTO_ANNULLATO", "PPT_PAGAMENTO_DUPLICATO", "PPT_SEMANTICA", "PPT_STAZIONE_INT_PA_TIMEOUT",
		"PPT_ERRORE_IDEMPOTENZA",
	} {
		fs = append(fs, pagopa.NewFault(detail))
	}
	return fs
}

// asked counts the calls that the creditors have got.
func (s *subject) asked(method string) (n int) {
	for _, c := range s.creditors.Calls() {
		if c.Method == method {
			n++
		}
	}
	return n
}
