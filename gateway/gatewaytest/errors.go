package gatewaytest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/conformance"
	"github.com/appio-go/appio/pagopa"
)

var errorChecks = []check{
	{"an error tells nothing of a debt", func(t tester, s *subject) {
		d := s.put(1)
		look := func(call string, err error) { tellsNothing(t, call, err, d) }
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		s.both(t, ended, "a context that had ended", d, look)

		s.creditors.Refuse(d.RPTID, &pagopa.Fault{Category: pagopa.GenericError, Detail: "no " + d.RPTID.String() + ": " + d.Description})
		s.both(t, t.Context(), "a debt that is refused", d, look)
		for _, f := range faults() {
			s.creditors.Refuse(d.RPTID, f)
			s.both(t, t.Context(), "a debt that is refused", d, look)
		}
		s.creditors.Refuse(d.RPTID, nil)

		s.creditors.Fail(errors.New("out of order"))
		s.both(t, t.Context(), "a debt, while the service fails", d, look)
		s.creditors.Fail(nil)

		s.creditors.Delay(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		s.both(t, ctx, "a service that does not answer", d, look)
		s.creditors.Delay(0)

		d.RPTID.Notice = "30203200270000/?#%"
		s.both(t, t.Context(), "what is no RPT id", d, look)
	}},
}

// tellsNothing checks that an error does not say which debt it was about.
func tellsNothing(t tester, call string, err error, d appio.Debt) {
	t.Helper()
	if err == nil {
		return
	}
	said := fmt.Sprintf("%v\n%+v", err, err)
	for _, secret := range []struct{ what, value string }{
		{"the notice number", string(d.RPTID.Notice)}, {"the IUV", string(d.RPTID.Notice[1:])},
		{"the creditor's code", string(d.RPTID.Creditor)}, {"the description", d.Description},
	} {
		if how, ok := conformance.Tells(said, secret.value); ok {
			t.Errorf("an error of %s holds %s%s: it goes into logs, where nobody must learn who owes what. Errors of HTTP clients have the "+
				"URL in them: keep what they wrap (url.Error.Err), and nothing of what the service said", call, secret.what, how)
			return
		}
	}
}
