package fiscalcode_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/fiscalcode"
)

var organizationReference = regexp.MustCompile(`^[0-9]{11}$`)

func TestParseOrganization(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"15376371009", "12345678901", "00000000000"} {
		o, err := fiscalcode.ParseOrganization(s)
		require.NoError(t, err, s)
		require.Equal(t, fiscalcode.Organization(s), o)
	}
	for name, s := range map[string]string{
		"empty":                 "",
		"short":                 "1537637100",
		"long":                  "153763710090",
		"letter":                "1537637100A",
		"sign":                  "+5376371009",
		"country before":        "IT15376371009",
		"blank after":           "1537637100 ",
		"line end after":        "15376371009\n",
		"digits of other lands": "١٢٣٤٥a",
		"person":                "RSSMRA85M10H501S",
	} {
		o, err := fiscalcode.ParseOrganization(s)
		require.ErrorIs(t, err, fiscalcode.ErrInvalid, name)
		require.Empty(t, o, name)
		if s != "" {
			require.NotContains(t, err.Error(), s, name)
		}
	}
}

func TestOrganizationCheck(t *testing.T) {
	t.Parallel()
	for code, want := range map[fiscalcode.Organization]bool{
		"15376371009": true,
		"02342520158": true,
		"01199250158": true,
		"86334519757": true,
		"80078750587": true,
		"00085240950": true,
		"12345678903": true,
		"12345678901": false,
		"00000000000": false,
		"":            false,
		"1537637100":  false,
		"1537637100a": false,
	} {
		require.Equal(t, want, code.Check(), "%s", code)
	}
}

func TestOrganizationCheckSeesEverySingleError(t *testing.T) {
	t.Parallel()
	const right = "15376371009"
	for i := range right {
		for c := byte('0'); c <= '9'; c++ {
			code := []byte(right)
			code[i] = c
			require.Equal(t, c == right[i], fiscalcode.Organization(code).Check(), "%s", code)
		}
	}
}

func TestOrganizationPrintsWhole(t *testing.T) {
	t.Parallel()
	const o fiscalcode.Organization = "15376371009"
	require.Equal(t, "15376371009", fmt.Sprint(o))
	b, err := json.Marshal(o)
	require.NoError(t, err)
	require.Equal(t, `"15376371009"`, string(b))
}

func FuzzParseOrganization(f *testing.F) {
	for _, s := range []string{"", "15376371009", "00000000000", "1537637100\n", "-5376371009"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := fiscalcode.ParseOrganization(s)
		valid := organizationReference.MatchString(s)
		if valid != (err == nil) || valid != fiscalcode.Organization(s).Valid() {
			t.Fatalf("parsing %q: %v; the reference pattern says %v", s, err, valid)
		}
		if valid && string(o) != s {
			t.Fatalf("parsing %q gives %q", s, o)
		}
		if fiscalcode.Organization(s).Check() && !valid {
			t.Fatalf("check of %q passes without the pattern", s)
		}
	})
}

func BenchmarkOrganizationCheck(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if !fiscalcode.Organization("15376371009").Check() {
			b.Fatal("wrong")
		}
	}
}
