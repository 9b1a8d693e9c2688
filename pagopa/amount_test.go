package pagopa_test

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/pagopa"
)

func TestParseAmount(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]pagopa.Amount{
		"150.00":      150_00,
		"150,00":      150_00,
		"150":         150_00,
		"0":           0,
		"0.00":        0,
		"0,01":        1,
		"0.10":        10,
		"84.50":       84_50,
		"10000":       10_000_00,
		"99999999":    99_999_999_00,
		"99999999.99": pagopa.MaxAmount,
	} {
		got, err := pagopa.ParseAmount(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{
		"", ".", ",", "0.", ".50", "-1", "+1", "-1.00", "1.", "1.5", "1.500", "1.000", "1.000,00", "1,000.00", "1'000.00", "1_000",
		"007", "00", "00.50", "1.5 ", " 1.50", "1.50\n", "1.50€", "EUR 1", "1e3", "0x10", "١", "1..00", "1.,00", "1.-1", "1.+1", "a", "1.0a",
		"NaN", "Inf", "100000000", "100000000.00", "99999999.999", "92233720368547758.08", "184467440737095516.17", "1.00.00",
	} {
		got, err := pagopa.ParseAmount(s)
		require.ErrorIs(t, err, pagopa.ErrInvalid, "%q", s)
		require.Zero(t, got, "%q", s)
	}
}

func TestAmountString(t *testing.T) {
	t.Parallel()
	for a, want := range map[pagopa.Amount]string{
		0:                "0.00",
		1:                "0.01",
		99:               "0.99",
		100:              "1.00",
		150_00:           "150.00",
		-1:               "-0.01",
		-150_05:          "-150.05",
		pagopa.MaxAmount: "99999999.99",
		math.MaxInt64:    "92233720368547758.07",
		math.MinInt64:    "-92233720368547758.08",
	} {
		require.Equal(t, want, a.String())
	}
	require.Equal(t, "150.00 150.00 15000", fmt.Sprintf("%v %s %[1]d", pagopa.Amount(150_00), pagopa.Amount(150_00)))
	b, err := json.Marshal(pagopa.Amount(150_00))
	require.NoError(t, err)
	require.Equal(t, "15000", string(b))
}

func FuzzParseAmount(f *testing.F) {
	for _, s := range []string{"", "150.00", "150,00", "150", "1.500", "99999999.99", "100000000", "-1"} {
		f.Add(s)
	}
	reference := regexp.MustCompile(`^(0|[1-9][0-9]{0,7})([.,][0-9]{2})?$`)
	f.Fuzz(func(t *testing.T, s string) {
		a, err := pagopa.ParseAmount(s)
		if (err == nil) != reference.MatchString(s) {
			t.Fatalf("%q gives %d, %v", s, int64(a), err)
		}
		if err != nil {
			return
		}
		if a < 0 || a > pagopa.MaxAmount {
			t.Fatalf("%q gives %d, out of range", s, int64(a))
		}
		if back, err := pagopa.ParseAmount(a.String()); err != nil || back != a {
			t.Fatalf("%q gives %d, which prints as %s and reads as %d, %v", s, int64(a), a, int64(back), err)
		}
	})
}
