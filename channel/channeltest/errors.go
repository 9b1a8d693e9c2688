package channeltest

import (
	"context"
	"fmt"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/conformance"
)

var errorChecks = []check{
	{"an error names no person", false, func(t tester, s *subject) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		var ds []appio.Delivery
		for _, value := range oddAddresses {
			d := full()
			d.Address.Value = value
			ds = append(ds, d)
		}
		for _, d := range append(ds, full(), byCode()) {
			for _, ctx := range []context.Context{t.Context(), ended} {
				names(t, "Deliver", s.deliver(t, ctx, "what may be refused", d), d)
				if _, ok := s.Channel.(appio.BatchChannel); ok {
					names(t, "DeliverBatch", s.deliverBatch(t, ctx, []appio.Delivery{d})[0], d)
				}
			}
		}
	}},
}

// names checks that an error does not tell whom the delivery was for, or what it said.
func names(t tester, call string, err error, d appio.Delivery) {
	t.Helper()
	if err == nil {
		return
	}
	said := fmt.Sprintf("%v\n%+v", err, err)
	for _, secret := range []struct{ what, value string }{
		{"the address", d.Address.Value}, {"the fiscal code", string(d.To)}, {"the subject", d.Subject},
		{"the text", d.Markdown[:min(len(d.Markdown), 60)]}, {"the token for withdrawing", d.Withdraw},
	} {
		if how, ok := conformance.Tells(said, secret.value); ok {
			t.Errorf("an error of %s holds %s%s: it goes into logs and to the operator, who must not learn who the person is. "+
				"Errors of HTTP clients have the URL in them: keep what they wrap (url.Error.Err)", call, secret.what, how)
			return
		}
	}
}
