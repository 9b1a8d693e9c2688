package pagopa_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/pagopa"
)

func TestRPTID(t *testing.T) {
	t.Parallel()
	const text = "01199250158302032002700000251"
	r, err := pagopa.ParseRPTID(text)
	require.NoError(t, err)
	require.Equal(t, pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"}, r)
	require.Equal(t, text, r.String())
	require.Equal(t, text, fmt.Sprint(r))
	require.True(t, r.Valid())
	require.True(t, r.Check())

	for _, s := range []string{"12345678901302012387654312384", "12345678901302032002700000251", "01199250158302012387654312384"} {
		r, err := pagopa.ParseRPTID(s)
		require.NoError(t, err, "check digits are not checked, neither the creditor's nor the notice's")
		require.True(t, r.Valid())
		require.False(t, r.Check())
	}

	for name, s := range map[string]string{
		"empty":               "",
		"notice only":         "302032002700000251",
		"short":               text[1:],
		"long":                text + "0",
		"aux digit 4":         "01199250158402032002700000251",
		"letter in creditor":  "0119925015A302032002700000251",
		"letter in notice":    "0119925015830203200270000025A",
		"dash between, short": "01199250158-02032002700000251",
	} {
		r, err := pagopa.ParseRPTID(s)
		require.ErrorIs(t, err, pagopa.ErrInvalid, name)
		require.Zero(t, r, name)
		if s != "" {
			require.NotContains(t, err.Error(), s, name)
		}
	}

	require.False(t, pagopa.RPTID{}.Valid())
	require.False(t, pagopa.RPTID{}.Check())
	require.False(t, pagopa.RPTID{Creditor: "01199250158"}.Valid())
	require.False(t, pagopa.RPTID{Notice: "302032002700000251"}.Valid())
	require.Empty(t, pagopa.RPTID{}.String())
}

func FuzzParseRPTID(f *testing.F) {
	for _, s := range []string{"", "01199250158302032002700000251", "01199250158402032002700000251", "0119925015A302032002700000251"} {
		f.Add(s)
	}
	reference := regexp.MustCompile(`^[0-9]{11}[0123][0-9]{17}$`)
	f.Fuzz(func(t *testing.T, s string) {
		r, err := pagopa.ParseRPTID(s)
		if (err == nil) != reference.MatchString(s) {
			t.Fatalf("%q: %v", s, err)
		}
		if err == nil && (r.String() != s || !r.Valid()) {
			t.Fatalf("%q reads as %q", s, r)
		}
		if err != nil && r != (pagopa.RPTID{}) {
			t.Fatalf("%q gives an id beside the error", s)
		}
	})
}

func BenchmarkParseRPTID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pagopa.ParseRPTID("01199250158302032002700000251"); err != nil {
			b.Fatal(err)
		}
	}
}
