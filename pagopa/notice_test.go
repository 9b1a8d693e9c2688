package pagopa_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/pagopa"
)

func TestNoticeNumber(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		number string
		check  bool
		aux    int
		iuv    string
	}{
		{"322201151398574181", true, 3, "22201151398574181"},
		{"300715700000000032", true, 3, "00715700000000032"},
		{"302032002700000251", true, 3, "02032002700000251"},
		{"301202400000000164", true, 3, "01202400000000164"},
		{"347123456789012389", true, 3, "47123456789012389"},
		{"300000000000000104", true, 3, "00000000000000104"}, // check digits with a zero in front
		{"399999999999999903", true, 3, "99999999999999903"},
		{"001000000000000141", true, 0, "000000000000141"},
		{"002202400000012337", true, 0, "202400000012337"},
		{"000000000000000000", true, 0, "000000000000000"},
		{"201234567890123415", true, 2, "01234567890123415"},
		{"100000000000000000", true, 1, "00000000000000000"}, // no check digits, so none is wrong
		{"199999999999999999", true, 1, "99999999999999999"},
		{"302012387654312384", false, 3, "02012387654312384"}, // 86; three samples of pagoPA's own
		{"344012345678901233", false, 3, "44012345678901233"},
		{"301000000000000000", false, 3, "01000000000000000"},
		{"300000000000000194", false, 3, "00000000000000194"}, // above 92: never right
		{"001000000000000142", false, 0, "000000000000142"},
		{"201234567890123416", false, 2, "01234567890123416"},
	} {
		n, err := pagopa.ParseNoticeNumber(c.number)
		require.NoError(t, err, c.number)
		require.Equal(t, c.number, string(n))
		require.Equal(t, c.check, n.Check(), c.number)
		require.Equal(t, c.aux, n.AuxDigit(), c.number)
		require.Equal(t, c.iuv, n.IUV(), c.number)
	}
	for name, s := range map[string]string{
		"empty":               "",
		"short":               "30203200270000025",
		"long":                "3020320027000002511",
		"aux digit 4":         "402032002700000251",
		"aux digit 5":         "502032002700000251",
		"blanks as on paper":  "3020 3200 2700 0002 51",
		"letter":              "30203200270000025O",
		"sign":                "+02032002700000251",
		"below zero in ASCII": "/02032002700000251",
		"line end after":      "302032002700000251\n",
	} {
		n, err := pagopa.ParseNoticeNumber(s)
		require.ErrorIs(t, err, pagopa.ErrInvalid, name)
		require.Empty(t, n, name)
		if s != "" {
			require.NotContains(t, err.Error(), s, name)
		}
		n = pagopa.NoticeNumber(s)
		require.False(t, n.Valid(), name)
		require.False(t, n.Check(), name)
		require.Equal(t, -1, n.AuxDigit(), name)
		require.Empty(t, n.IUV(), name)
	}
}

func TestNoticeNumberCheckSeesEverySingleError(t *testing.T) {
	t.Parallel()
	const right = "302032002700000251"
	for i := 1; i < len(right); i++ { // another aux digit may mean that there is nothing to check
		for c := byte('0'); c <= '9'; c++ {
			number := []byte(right)
			number[i] = c
			require.Equal(t, c == right[i], pagopa.NoticeNumber(number).Check(), "%s", number)
		}
	}
}

func FuzzParseNoticeNumber(f *testing.F) {
	for _, s := range []string{"", "302032002700000251", "001000000000000141", "100000000000000000", "402032002700000251"} {
		f.Add(s)
	}
	reference := regexp.MustCompile(`^[0123][0-9]{17}$`)
	f.Fuzz(func(t *testing.T, s string) {
		n, err := pagopa.ParseNoticeNumber(s)
		if (err == nil) != reference.MatchString(s) || (err == nil) != pagopa.NoticeNumber(s).Valid() {
			t.Fatalf("%q: %v", s, err)
		}
		raw := pagopa.NoticeNumber(s)
		if err != nil {
			if raw.Check() || raw.AuxDigit() != -1 || raw.IUV() != "" {
				t.Fatalf("%q is no notice number, but has an aux digit, an IUV or right check digits", s)
			}
			return
		}
		want := 17
		if n.AuxDigit() == 0 {
			want = 15
		}
		if string(n) != s || len(n.IUV()) != want || s[18-want:] != n.IUV() {
			t.Fatalf("%q gives %q with IUV %q", s, n, n.IUV())
		}
	})
}

func BenchmarkNoticeNumberCheck(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if !pagopa.NoticeNumber("302032002700000251").Check() {
			b.Fatal("wrong")
		}
	}
}
