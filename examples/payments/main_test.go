package main

import (
	"bytes"
	"context"
	"flag"
	"net/http"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/gateway/paymentinfo"
	"github.com/appio-go/appio/pagopa"
)

var update = flag.Bool("update", false, "write the golden file")

// The example's output, but for ids and times.
func TestExample(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var out bytes.Buffer
	require.NoError(t, payments(t.Context(), &out))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NotContains(t, out.String(), string(mario))

	got := out.String()
	for pattern, with := range map[string]string{
		`example.org/[a-z2-7]+`: "example.org/KEY", `[0-9A-HJKMNP-TV-Z]{26}`: "MESSAGE", `UID:[0-9a-f]{32}`: "UID:X",
		`\d{4}-\d\d-\d\dT[0-9:.]+Z`: "TIME", `\d{8}T\d{6}Z`: "TIME", `DATE:\d{8}`: "DATE:DAY",
	} {
		got = regexp.MustCompile(pattern).ReplaceAllString(got, with)
	}
	const golden = "testdata/output.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestStopped(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, payments(ctx, &bytes.Buffer{}), context.Canceled)
}

func TestNode(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	n := newNode(debt{RPTID: tari.String(), Amount: 1})
	address, stop, err := serve(n.routes())
	require.NoError(t, err)
	defer stop()
	told := 0
	tell, stopTold, err := serve(http200(func() { told++ }))
	require.NoError(t, err)
	defer stopTold()
	n.tell = tell
	g, err := paymentinfo.New(address+"/payment-requests", &paymentinfo.Options{CheckoutURL: address + "/checkout"})
	require.NoError(t, err)
	category := func(err error) string {
		var fault *pagopa.Fault
		require.ErrorAs(t, err, &fault)
		return fault.Category
	}

	d, err := g.Verify(ctx, tari)
	require.NoError(t, err)
	require.Equal(t, appio.Debt{RPTID: tari, Amount: 1}, d)
	_, err = g.Verify(ctx, pagopa.RPTID{Creditor: town, Notice: "301202400000000164"})
	require.Equal(t, pagopa.PaymentUnknown, category(err))

	first, err := g.Start(ctx, d, "one")
	require.NoError(t, err)
	again, err := g.Start(ctx, d, "one")
	require.NoError(t, err)
	require.Equal(t, first, again, "the same key is the same payment")
	require.Error(t, n.pay(ctx, checkoutPage+"another"))
	require.NoError(t, n.pay(ctx, first.URL))
	require.Equal(t, 1, told)
	_, err = g.Verify(ctx, tari)
	require.Equal(t, pagopa.PaymentDuplicated, category(err))
	_, err = g.Start(ctx, d, "two")
	require.Equal(t, pagopa.PaymentDuplicated, category(err))

	stopTold()
	require.Error(t, n.pay(ctx, first.URL), "who is told does not answer")
}

func http200(f func()) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { f() })
}
