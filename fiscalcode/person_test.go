package fiscalcode_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/fiscalcode"
)

// personReference is the pattern as the interfaces of IO publish it.
var personReference = regexp.MustCompile(
	`^[A-Z]{6}[0-9LMNPQRSTUV]{2}[ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]$`)

func TestParsePerson(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"RSSMRA85M10H501S",
		"RSSMRA85M10H501U", // the check character does not matter
		"CCCFBAURDLPLNMVU", // omocodia in all seven digits
		"SPNDNL80R13C555X",
		"RSRNOU70S54S000L", // a woman: day of birth + 40
		"ABCDEF99T99Z999Z", // no such day: not looked at
		string(fiscalcode.Sandbox),
	} {
		p, err := fiscalcode.ParsePerson(s)
		require.NoError(t, err, s)
		require.Equal(t, s, string(p))
		require.True(t, p.Valid(), s)
	}
	for name, s := range map[string]string{
		"empty":                      "",
		"short":                      "RSSMRA85M10H501",
		"long":                       "RSSMRA85M10H501SS",
		"lower case":                 "rssmra85m10h501s",
		"blank before":               " RSSMRA85M10H501S",
		"line end after":             "RSSMRA85M10H501S\n",
		"digit in the name":          "RSSMR085M10H501S",
		"letter O for zero":          "RSSMRA85M1OH501S",
		"letter that is no omocodia": "RSSMRA8AM10H501S",
		"month F":                    "RSSMRA85F10H501S",
		"digit as place":             "RSSMRA85M101501S",
		"digit as check character":   "RSSMRA85M10H5010",
		"organization":               "15376371009",
		"two bytes for one letter":   "RSSMRÀ85M10H501",
		"zero byte":                  "RSSMRA85M10H501\x00",
		"full-width letters":         "ＲＳＳＭＲ1",
	} {
		p, err := fiscalcode.ParsePerson(s)
		require.ErrorIs(t, err, fiscalcode.ErrInvalid, name)
		require.Empty(t, string(p), name)
		require.False(t, fiscalcode.Person(s).Valid(), name)
		if s != "" {
			require.NotContains(t, err.Error(), s, name)
		}
	}
}

func TestPersonCheck(t *testing.T) {
	t.Parallel()
	for code, want := range map[fiscalcode.Person]bool{
		"CCCFBA85D03L219P": true,
		"CCCFBA85D03L21VE": true, // omocodia
		"CCCFBA85D0PLNMVA": true, // omocodia
		"CCCFBAURDLPLNMVU": true, // omocodia
		"RSSMRA85M10H501S": true,
		"GRBGPP87L04L741X": true,
		"BSCMTT83A12L719R": true,
		"ABCDEF12B23P432P": true,
		"LSSLCU79B24L219P": true,
		"RSRNOU70S54S000L": true,
		"BNCNNA80A41H501R": true,
		"CCCFBA85D03L219B": false, // P
		"SPNDNL80R13C555X": false, // T
		fiscalcode.Sandbox: false, // I
		"":                 false,
		"cccfba85d03l219p": false,
		"CCCFBA85D03L219":  false,
		"CCCFBA85D03L219à": false,
	} {
		require.Equal(t, want, code.Check(), "%s", string(code))
	}
}

func TestPersonCheckSeesEverySingleError(t *testing.T) {
	t.Parallel()
	const right = "RSSMRA85M10H501S"
	for i := range right {
		for c := byte('0'); c <= 'Z'; c++ {
			wrong := []byte(right)
			wrong[i] = c
			if c == right[i] || !personReference.Match(wrong) {
				continue
			}
			// A digit and the letter at its place in the alphabet count alike: the sum cannot tell them apart.
			if d, l := min(c, right[i]), max(c, right[i]); d <= '9' && l-'A' == d-'0' {
				continue
			}
			require.False(t, fiscalcode.Person(wrong).Check(), "%s", wrong)
		}
	}
}

func TestPersonCheckCountsOmocodiaAsWritten(t *testing.T) {
	t.Parallel()
	// Every one of the 128 codes that one person can have matches, and exactly one last letter of each is right.
	const base, omocodia = "RSSMRA85M10H501", "LMNPQRSTUV"
	positions := []int{6, 7, 9, 10, 12, 13, 14}
	for set := range 1 << len(positions) {
		code := []byte(base)
		for bit, at := range positions {
			if set&(1<<bit) != 0 {
				code[at] = omocodia[code[at]-'0']
			}
		}
		right := 0
		for c := 'A'; c <= 'Z'; c++ {
			p, err := fiscalcode.ParsePerson(string(code) + string(c))
			require.NoError(t, err)
			if p.Check() {
				right++
			}
		}
		require.Equal(t, 1, right, "%s", code)
	}
}

// mario is a code and what every output must not hold: its hidden half.
const (
	mario  = fiscalcode.Person("RSSMRA85M10H501S")
	masked = "RSSM********501S"
	hidden = "RA85M10H"
)

func TestPersonPrintsMasked(t *testing.T) {
	t.Parallel()
	type letter struct {
		To    fiscalcode.Person
		Copy  *fiscalcode.Person
		Other []fiscalcode.Person
		By    map[fiscalcode.Person]int
		Any   any
	}
	m := mario
	all := letter{To: m, Copy: &m, Other: []fiscalcode.Person{m}, By: map[fiscalcode.Person]int{m: 1}, Any: m}

	for _, format := range []string{
		"%v", "%+v", "%#v", "%s", "%q", "%+q", "%#q", "%x", "%X", "% x", "%#x", "%d", "%c", "%U", "%t", "%b", "%o", "%e", "%z",
		"%20s", "%-20s", "%.2s", "%020d", "%*s",
		"no verb, so that the value is surplus", "%[3]v, which is missing",
	} {
		for _, v := range []any{m, &m, all, &all, []fiscalcode.Person{m}, [1]fiscalcode.Person{m}, map[string]any{"m": m}, fmt.Errorf("to %v", m)} {
			args := []any{v}
			if strings.Contains(format, "*") {
				args = []any{20, v}
			}
			require.NotContains(t, fmt.Sprintf(format, args...), hidden, "%s of %T", format, v)
			require.NotContains(t, fmt.Sprintf(format, args...), fmt.Sprintf("%x", hidden), "%s of %T", format, v)
		}
	}

	for _, c := range []struct{ format, want string }{
		{"%v", masked},
		{"%+v", masked},
		{"%s", masked},
		{"%d", masked},
		{"%x", masked},
		{"%q", `"` + masked + `"`},
		{"%#v", `"` + masked + `"`},
		{"%#q", "`" + masked + "`"},
		{"%18s|", "  " + masked + "|"},
		{"%-18s|", masked + "  |"},
		{"%.4s", "RSSM"},
		{"%T", "fiscalcode.Person"},
	} {
		require.Equal(t, c.want, fmt.Sprintf(c.format, mario), c.format)
	}
	require.Equal(t, masked, fmt.Sprint(mario))
	require.Equal(t, "[a b] "+masked+"\n", fmt.Sprintln([]string{"a", "b"}, mario))
	require.Equal(t, "<nil>", fmt.Sprint((*fiscalcode.Person)(nil)))
}

func TestPersonPrintsNothingOfWhatIsNoCode(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"rssmra85m10h501s", "RSSMRA85M10H501", "to RSSMRA85M10H501S", "RSSMRA85M10H501S ", "x", "Mario Rossi"} {
		require.Equal(t, "****************", fmt.Sprint(fiscalcode.Person(s)))
	}
	require.Equal(t, `""`, fmt.Sprintf("%q", fiscalcode.Person("")), "the empty one stays recognisable")
}

func TestPersonLogsMasked(t *testing.T) {
	t.Parallel()
	type letter struct{ To fiscalcode.Person }
	var text, js bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&js, nil)} {
		log := slog.New(h).With("with", mario)
		log.Info("m", "p", mario, slog.Any("any", mario), slog.Group("g", "p", mario))
		log.WithGroup("h").Error("m", "err", fmt.Errorf("to %v", mario))
	}
	require.NotContains(t, text.String()+js.String(), hidden)
	require.Contains(t, text.String(), "p="+masked)
	require.Contains(t, js.String(), `"p":"`+masked+`"`)

	text.Reset()
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "letter", letter{To: mario}, "list", []fiscalcode.Person{mario})
	require.NotContains(t, text.String(), hidden)
}

// What the package documentation names as whole is whole: a change of it is a change of the promise.
func TestPersonIsWholeWhereAsked(t *testing.T) {
	t.Parallel()
	type letter struct{ To fiscalcode.Person }
	b, err := json.Marshal(map[fiscalcode.Person]letter{mario: {To: mario}})
	require.NoError(t, err)
	require.JSONEq(t, `{"RSSMRA85M10H501S":{"To":"RSSMRA85M10H501S"}}`, string(b))

	var back map[fiscalcode.Person]letter
	require.NoError(t, json.Unmarshal(b, &back))
	require.True(t, back[mario].To == mario)

	require.Equal(t, "RSSMRA85M10H501S", string(mario))

	var js bytes.Buffer
	slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "letter", letter{To: mario})
	require.Contains(t, js.String(), hidden)
}

func TestPersonParsingDoesNotAllocate(t *testing.T) {
	require.Zero(t, testing.AllocsPerRun(100, func() {
		p, err := fiscalcode.ParsePerson("RSSMRA85M10H501S")
		if err != nil || !p.Check() {
			t.Fail()
		}
		if _, err := fiscalcode.ParsePerson("RSSMRA85M10H501"); err == nil {
			t.Fail()
		}
	}))
}

func FuzzParsePerson(f *testing.F) {
	for _, s := range []string{"", "RSSMRA85M10H501S", "CCCFBAURDLPLNMVU", "AAAAAA00A00A000A", "rssmra85m10h501s", "RSSMRA85M10H501S\n", "****************"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := fiscalcode.ParsePerson(s)
		valid := personReference.MatchString(s)
		if valid != (err == nil) || valid != fiscalcode.Person(s).Valid() {
			t.Fatalf("parsing %q: %v; the reference pattern says %v", s, err, valid)
		}
		if fiscalcode.Person(s).Check() && !valid {
			t.Fatalf("check of %q passes without the pattern", s)
		}
		if valid && string(p) != s {
			t.Fatalf("parsing %q gives another code", s)
		}

		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("", "p", fiscalcode.Person(s))
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%40s"} {
			got := fmt.Sprintf(format, struct{ P fiscalcode.Person }{fiscalcode.Person(s)})
			switch {
			case valid:
				if strings.Contains(got+log.String(), s[4:12]) {
					t.Fatalf("%s of %q shows its hidden half: %s", format, s, got)
				}
			case s != "":
				if want := fmt.Sprintf(format, struct{ P fiscalcode.Person }{"x"}); got != want {
					t.Fatalf("%s of %q, which is no code, is %s and not %s", format, s, got, want)
				}
			}
		}
	})
}

func BenchmarkParsePerson(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := fiscalcode.ParsePerson("RSSMRA85M10H501S"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPersonCheck(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if !mario.Check() {
			b.Fatal("wrong")
		}
	}
}
