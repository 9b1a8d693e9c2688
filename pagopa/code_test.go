package pagopa_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

// sample is IO's own: its Data Matrix is one character short, in the field of the name.
var sample = pagopa.Code{
	RPTID:  pagopa.RPTID{Creditor: "00085240950", Notice: "300715700000000032"},
	Amount: 1,
	Debtor: "BSCMTT83A12L719R",
	Name:   "Name Surname",
	Reason: "test",
}

var (
	sampleMatrix = "codfase=NBPA;183007157000000000321200001630209310000000000138961P100085240950BSCMTT83A12L719R" +
		"NAME SURNAME" + strings.Repeat(" ", 28) + "test" + strings.Repeat(" ", 106+12) + "A"
	sampleShort = strings.Replace(sampleMatrix, "NAME SURNAME ", "Name Surname", 1)
)

func TestParseCodeOfQR(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]pagopa.Code{
		"PAGOPA|002|302032002700000251|03334231200|11":         {RPTID: pagopa.RPTID{Creditor: "03334231200", Notice: "302032002700000251"}, Amount: 11},
		"PAGOPA|002|000000000000000000|01199250158|0000015000": {RPTID: pagopa.RPTID{Creditor: "01199250158", Notice: "000000000000000000"}, Amount: 150_00},
		"PAGOPA|002|000000000000000000|00000000000|9999":       {RPTID: pagopa.RPTID{Creditor: "00000000000", Notice: "000000000000000000"}, Amount: 99_99},
		"PAGOPA|002|302032002700000251|03334231200|01":         {RPTID: pagopa.RPTID{Creditor: "03334231200", Notice: "302032002700000251"}, Amount: 1},
		"PAGOPA|002|302032002700000251|03334231200|1":          {RPTID: pagopa.RPTID{Creditor: "03334231200", Notice: "302032002700000251"}, Amount: 1},
		"PAGOPA|002|302032002700000251|03334231200|0":          {RPTID: pagopa.RPTID{Creditor: "03334231200", Notice: "302032002700000251"}},
		"PAGOPA|002|302032002700000251|03334231200|9999999999": {RPTID: pagopa.RPTID{Creditor: "03334231200", Notice: "302032002700000251"}, Amount: pagopa.MaxAmount},
		" PAGOPA|002|302012387654312384|12345678901|11\r\n":    {RPTID: pagopa.RPTID{Creditor: "12345678901", Notice: "302012387654312384"}, Amount: 11},
	} {
		c, err := pagopa.ParseCode(text)
		require.NoError(t, err, text)
		require.Equal(t, want, c, text)
	}
	requireNoCode(t, map[string]string{
		"version 003":               "PAGOPA|003|302032002700000251|03334231200|11",
		"no version":                "PAGOPA|302032002700000251|03334231200|11",
		"aux digit 5":               "PAGOPA|002|502032002700000251|03334231200|11",
		"short notice number":       "PAGOPA|002|30203200270000025|03334231200|11",
		"letter in creditor":        "PAGOPA|002|302032002700000251|0333423120A|11",
		"person as creditor":        "PAGOPA|002|302032002700000251|RSSMRA85M10H501S|11",
		"no amount":                 "PAGOPA|002|302032002700000251|03334231200",
		"empty amount":              "PAGOPA|002|302032002700000251|03334231200|",
		"amount of 11 digits":       "PAGOPA|002|302032002700000251|03334231200|00000000011",
		"amount with decimals":      "PAGOPA|002|302032002700000251|03334231200|0.11",
		"negative amount":           "PAGOPA|002|302032002700000251|03334231200|-11",
		"amount of other digits":    "PAGOPA|002|302032002700000251|03334231200|١١",
		"one part more":             "PAGOPA|002|302032002700000251|03334231200|11|",
		"lower case":                "pagopa|002|302032002700000251|03334231200|11",
		"something in front of it":  "xPAGOPA|002|302032002700000251|03334231200|11",
		"blanks within":             "PAGOPA|002|3020 3200 2700 0002 51|03334231200|11",
		"creditor and notice twist": "PAGOPA|002|03334231200|302032002700000251|11",
	})
}

func TestParseCodeOfDataMatrix(t *testing.T) {
	t.Parallel()
	upper := sample
	upper.Name = "NAME SURNAME"
	require.Len(t, sampleMatrix, 256)
	require.Len(t, sampleShort, 255)
	with := func(change func(*pagopa.Code)) pagopa.Code {
		c := upper
		change(&c)
		return c
	}
	for name, c := range map[string]struct {
		text string
		want pagopa.Code
	}{
		"256 characters":                      {sampleMatrix, upper},
		"IO's sample of 255":                  {sampleShort, sample},
		"as a scanner ends a line":            {sampleMatrix + "\r\n", upper},
		"cut off after the creditor":          {sampleMatrix[:77], pagopa.Code{RPTID: sample.RPTID, Amount: 1}},
		"cut off within the debtor":           {sampleMatrix[:80], pagopa.Code{RPTID: sample.RPTID, Amount: 1}},
		"cut off within the name":             {sampleMatrix[:97], with(func(c *pagopa.Code) { c.Name, c.Reason = "NAME", "" })},
		"blanks at the end cut off":           {strings.TrimRight(sampleMatrix[:255], " "), upper},
		"without lengths and type":            {sampleMatrix[:13] + "xx" + sampleMatrix[15:33] + "yy" + sampleMatrix[35:47] + "zz" + sampleMatrix[49:59] + "-------" + sampleMatrix[66:], upper},
		"debtor that is an organization":      {strings.Replace(sampleMatrix, "BSCMTT83A12L719R", "01199250158     ", 1), with(func(c *pagopa.Code) { c.Debtor = "01199250158" })},
		"debtor that is no code":              {strings.Replace(sampleMatrix, "BSCMTT83A12L719R", "ANONIMO         ", 1), with(func(c *pagopa.Code) { c.Debtor = "" })},
		"accents in UTF-8":                    {strings.Replace(sampleMatrix, "NAME", "NÀMÈ", 1), with(func(c *pagopa.Code) { c.Name = "NÀMÈ SURNAME" })},
		"accents in ISO 8859-1":               {strings.Replace(sampleMatrix, "NAME", "N\xc0M\xc8", 1), with(func(c *pagopa.Code) { c.Name = "NÀMÈ SURNAME" })},
		"longer name than there is place for": {strings.Replace(sampleMatrix, "NAME", "NAME OF SOMEBODY WHO HAS MANY OF THEM", 1), with(func(c *pagopa.Code) { c.Name = "NAME OF SOMEBODY WHO HAS MANY OF THEM SURNAME" })},
		"something behind it":                 {sampleMatrix + "B", with(func(c *pagopa.Code) {})},
	} {
		got, err := pagopa.ParseCode(c.text)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
	for end := range len(sampleMatrix) {
		c, err := pagopa.ParseCode(sampleMatrix[:end])
		require.Equal(t, end >= 77, err == nil, "cut off after %d characters", end)
		if err == nil {
			require.Equal(t, sample.RPTID, c.RPTID, "cut off after %d characters", end)
		}
	}
	requireNoCode(t, map[string]string{
		"prefix only":              "codfase=NBPA;",
		"cut off in the creditor":  sampleMatrix[:76],
		"other phase":              strings.Replace(sampleMatrix, "NBPA", "NBPB", 1),
		"letter in notice number":  strings.Replace(sampleMatrix, "3007157", "30071A7", 1), // IO's own
		"aux digit 5":              strings.Replace(sampleMatrix, "183007157", "185007157", 1),
		"letter in amount":         strings.Replace(sampleMatrix, "100000000001", "10000000000l", 1),
		"blank in amount":          strings.Replace(sampleMatrix, "100000000001", "1000000000 1", 1),
		"blanks for the creditor":  strings.Replace(sampleMatrix, "00085240950", "           ", 1),
		"letter in creditor":       strings.Replace(sampleMatrix, "00085240950", "0008524095O", 1),
		"wide digits":              strings.Replace(sampleMatrix, "3007157", "３００７１５７", 1),
		"more than anybody prints": sampleMatrix + strings.Repeat("x", 1024),
	})
}

func TestParseCodeAsTyped(t *testing.T) {
	t.Parallel()
	want := pagopa.Code{RPTID: pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"}}
	for _, text := range []string{
		"01199250158 302032002700000251",
		"01199250158 3020 3200 2700 0002 51", // as on paper
		"\t01199250158\n302032002700000251 \n",
		"01199250158\u00a0302032002700000251",
	} {
		c, err := pagopa.ParseCode(text)
		require.NoError(t, err, "%q", text)
		require.Equal(t, want, c, "%q", text)
	}
	requireNoCode(t, map[string]string{
		"empty":                     "",
		"blank":                     " \n",
		"creditor only":             "01199250158",
		"notice number only":        "302032002700000251",
		"notice number in groups":   "3020 3200 2700 0002 51",
		"notice number first":       "302032002700000251 01199250158", // reads as another one's debt if blanks do not count
		"no blank between":          "01199250158302032002700000251",
		"blanks within the code":    "0119 9250 158 302032002700000251",
		"dash":                      "01199250158-302032002700000251",
		"one digit too many":        "01199250158 3020320027000002511",
		"an amount behind it":       "01199250158 302032002700000251 150",
		"aux digit 4":               "01199250158 402032002700000251",
		"letter":                    "01199250158 30203200270000025O",
		"a person for the creditor": "RSSMRA85M10H501S 302032002700000251",
		"something else":            "https://example.com/302032002700000251",
	})
}

func requireNoCode(t *testing.T, texts map[string]string) {
	t.Helper()
	for name, text := range texts {
		c, err := pagopa.ParseCode(text)
		require.ErrorIs(t, err, pagopa.ErrInvalid, name)
		require.Zero(t, c, name)
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == '|' || r == ' ' }) {
			if len(word) > 3 && !strings.EqualFold(word, "PAGOPA") && word != "codfase=NBPA;" {
				require.NotContains(t, err.Error(), word, name)
			}
		}
	}
}

func TestQR(t *testing.T) {
	t.Parallel()
	for want, amount := range map[string]pagopa.Amount{
		"PAGOPA|002|302032002700000251|03334231200|11":         11,
		"PAGOPA|002|302032002700000251|03334231200|05":         5, // never one digit
		"PAGOPA|002|302032002700000251|03334231200|15000":      150_00,
		"PAGOPA|002|302032002700000251|03334231200|9999999999": pagopa.MaxAmount,
	} {
		got, err := pagopa.Code{RPTID: pagopa.RPTID{Creditor: "03334231200", Notice: "302032002700000251"}, Amount: amount, Name: "not in it"}.QR()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestDataMatrix(t *testing.T) {
	t.Parallel()
	text, err := sample.DataMatrix("16302093")
	require.NoError(t, err)
	require.Equal(t, sampleMatrix, text)

	for name, c := range map[string]struct {
		change func(*pagopa.Code)
		want   func(*pagopa.Code)
	}{
		"nothing but a debt": {
			func(c *pagopa.Code) { c.Debtor, c.Name, c.Reason = "", "", "" },
			func(c *pagopa.Code) { c.Debtor, c.Name, c.Reason = "", "", "" },
		},
		"an organization": {
			func(c *pagopa.Code) { c.Debtor, c.Name = "01199250158", "Comune di Milano" },
			func(c *pagopa.Code) { c.Debtor, c.Name = "01199250158", "COMUNE DI MILANO" },
		},
		"accents": {
			func(c *pagopa.Code) {
				c.Name, c.Reason = "Niccolò D’Alò-Müller Čuk Groß", "Città “È” – n° 3, 10 €"
			},
			func(c *pagopa.Code) {
				c.Name, c.Reason = "NICCOLO D'ALO-MULLER CUK GROSS", `Citta "E" - n. 3, 10 EUR`
			},
		},
		"accents written apart": {
			func(c *pagopa.Code) { c.Name, c.Reason = "Niccolo\u0300", "Citta\u0300 \u0300 di" },
			func(c *pagopa.Code) { c.Name, c.Reason = "NICCOLO", "Citta di" },
		},
		"white space": {
			func(c *pagopa.Code) { c.Name, c.Reason = " Maria \u00a0 Rossi\t", "TARI\r\n2026" },
			func(c *pagopa.Code) { c.Name, c.Reason = "MARIA ROSSI", "TARI 2026" },
		},
		"full fields": {
			func(c *pagopa.Code) { c.Name, c.Reason = strings.Repeat("N", 40), strings.Repeat("r", 110) },
			func(c *pagopa.Code) { c.Name, c.Reason = strings.Repeat("N", 40), strings.Repeat("r", 110) },
		},
		"a reason like the end": {
			func(c *pagopa.Code) { c.Reason = "A            A" },
			func(c *pagopa.Code) { c.Reason = "A A" },
		},
	} {
		code, want := sample, sample
		want.Name = "NAME SURNAME"
		c.change(&code)
		c.want(&want)
		text, err := code.DataMatrix("000016302093")
		require.NoError(t, err, name)
		require.Len(t, text, 256, name)
		got, err := pagopa.ParseCode(text)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}

	for name, change := range map[string]func(*pagopa.Code){
		"name of 41":              func(c *pagopa.Code) { c.Name = strings.Repeat("N", 41) },
		"name of 41 once plain":   func(c *pagopa.Code) { c.Name = strings.Repeat("N", 39) + "ß" },
		"name in Greek":           func(c *pagopa.Code) { c.Name = "Μαρία" },
		"name that is not UTF-8":  func(c *pagopa.Code) { c.Name = "Mar\xeca" },
		"name with an escape":     func(c *pagopa.Code) { c.Name = "Maria\x1b[1m" },
		"reason of 111":           func(c *pagopa.Code) { c.Reason = strings.Repeat("r", 111) },
		"reason with a nul":       func(c *pagopa.Code) { c.Reason = "r\x00" },
		"reason with an emoji":    func(c *pagopa.Code) { c.Reason = "rifiuti 🗑" },
		"debtor that is no code":  func(c *pagopa.Code) { c.Debtor = "RSSMRA85M10H501" },
		"debtor in lower case":    func(c *pagopa.Code) { c.Debtor = "rssmra85m10h501s" },
		"debtor of many letters":  func(c *pagopa.Code) { c.Debtor = fiscalcode.Person(strings.Repeat("A", 1000)) },
		"reason of another debt|": func(c *pagopa.Code) { c.Reason = "r\n" + strings.Repeat("x", 110) },
	} {
		code := sample
		change(&code)
		_, err := code.QR()
		require.NoError(t, err, "a QR code has no debtor")
		text, err := code.DataMatrix("16302093")
		require.ErrorIs(t, err, pagopa.ErrInvalid, name)
		require.Empty(t, text, name)
		require.NotContains(t, err.Error(), "RSSM", name)
	}
	for _, account := range []string{"", "1234567890123", "1630209A", "-1", "１", " 1"} {
		text, err := sample.DataMatrix(account)
		require.ErrorIs(t, err, pagopa.ErrInvalid, account)
		require.Empty(t, text)
	}
}

func TestNothingIsPrintedWithoutDebt(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*pagopa.Code){
		"no amount":              func(c *pagopa.Code) { c.Amount = 0 },
		"negative amount":        func(c *pagopa.Code) { c.Amount = -1 },
		"amount of eleven":       func(c *pagopa.Code) { c.Amount = pagopa.MaxAmount + 1 },
		"no notice number":       func(c *pagopa.Code) { c.Notice = "" },
		"notice of aux digit 4":  func(c *pagopa.Code) { c.Notice = "402032002700000251" },
		"notice with separators": func(c *pagopa.Code) { c.Notice = "30203200270000|251" },
		"no creditor":            func(c *pagopa.Code) { c.Creditor = "" },
		"creditor with letter":   func(c *pagopa.Code) { c.Creditor = "0008524095O" },
	} {
		code := sample
		change(&code)
		text, err := code.QR()
		require.ErrorIs(t, err, pagopa.ErrInvalid, name)
		require.Empty(t, text, name)
		text, err = code.DataMatrix("16302093")
		require.ErrorIs(t, err, pagopa.ErrInvalid, name)
		require.Empty(t, text, name)
	}
}

func TestCodePrintsWithoutDebtor(t *testing.T) {
	t.Parallel()
	for _, text := range []string{fmt.Sprint(sample), fmt.Sprintf("%v %+v %s", sample, sample, sample)} {
		require.Contains(t, text, "00085240950300715700000000032")
		require.NotContains(t, text, "BSCM")
		require.NotContains(t, text, "Surname")
	}
}

func FuzzParseCode(f *testing.F) {
	for _, s := range []string{
		"", "PAGOPA|002|302032002700000251|03334231200|11", "PAGOPA|002|000000000000000000|01199250158|0000015000", sampleMatrix, sampleShort,
		"01199250158 3020 3200 2700 0002 51", "01199250158302032002700000251", sampleMatrix[:77], "codfase=NBPA;", "PAGOPA|",
		strings.Replace(sampleMatrix, "NAME", "N\xc0M\xc8", 1),
	} {
		f.Add(s)
	}
	qr := regexp.MustCompile(`^PAGOPA\|002\|[0-3][0-9]{17}\|[0-9]{11}\|[0-9]{1,10}$`)
	typed := regexp.MustCompile(`^[0-9]{11}[\pZ\s\x{85}\v]`)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := pagopa.ParseCode(s)
		if err != nil {
			if c != (pagopa.Code{}) {
				t.Fatalf("%q gives a code beside the error", s)
			}
			if qr.MatchString(s) {
				t.Fatalf("%q is a QR code's text: %v", s, err)
			}
			return
		}
		if !c.Valid() || c.Amount < 0 || c.Amount > pagopa.MaxAmount || !utf8.ValidString(c.Name) || !utf8.ValidString(c.Reason) {
			t.Fatalf("%q gives %#v", s, c)
		}
		if c.Debtor != "" && !c.Debtor.Valid() && !fiscalcode.Organization(c.Debtor).Valid() {
			t.Fatalf("%q gives a debtor that is no code", s)
		}
		s = strings.TrimSpace(s)
		if matrix := strings.HasPrefix(s, "codfase=NBPA;"); !matrix && !qr.MatchString(s) && !typed.MatchString(s) {
			t.Fatalf("%q is read as %v", s, c)
		} else if !matrix && (c.Debtor != "" || c.Name != "" || c.Reason != "") {
			t.Fatalf("%q gives a debtor", s)
		}
	})
}

func FuzzQR(f *testing.F) {
	f.Add("01199250158", "302032002700000251", int64(150_00))
	f.Add("01199250158", "302032002700000251", int64(0))
	f.Add("0119925015|", "302032002700000251", int64(-1))
	f.Fuzz(func(t *testing.T, creditor, notice string, amount int64) {
		c := pagopa.Code{RPTID: pagopa.RPTID{Creditor: fiscalcode.Organization(creditor), Notice: pagopa.NoticeNumber(notice)}, Amount: pagopa.Amount(amount)}
		text, err := c.QR()
		if err != nil {
			if text != "" || c.Valid() && c.Amount >= 1 && c.Amount <= pagopa.MaxAmount {
				t.Fatalf("%v: %q, %v", c, text, err)
			}
			return
		}
		if got, err := pagopa.ParseCode(text); err != nil || got != c || len(text) < 44 || len(text) > 52 {
			t.Fatalf("%v is written as %q, which reads as %v, %v", c, text, got, err)
		}
	})
}

func FuzzDataMatrix(f *testing.F) {
	f.Add("302032002700000251", int64(150_00), "16302093", "RSSMRA85M10H501S", "Mario Rossi", "TARI 2026")
	f.Add("302032002700000251", int64(1), "1", "01199250158", "Niccolò D’Alò", "Città \u0300 di")
	f.Add("302032002700000251", int64(1), "1", "", "", "            A")
	f.Add("302032002700000251", int64(1), "A", "x", "\xff", "🗑")
	f.Fuzz(func(t *testing.T, notice string, amount int64, account, debtor, name, reason string) {
		c := pagopa.Code{
			RPTID:  pagopa.RPTID{Creditor: "01199250158", Notice: pagopa.NoticeNumber(notice)},
			Amount: pagopa.Amount(amount), Debtor: fiscalcode.Person(debtor), Name: name, Reason: reason,
		}
		text, err := c.DataMatrix(account)
		if err != nil {
			if text != "" {
				t.Fatalf("%q beside %v", text, err)
			}
			return
		}
		if len(text) != 256 || !regexp.MustCompile(`^[ -~]*$`).MatchString(text) {
			t.Fatalf("%q has %d characters, or some that are not plain", text, len(text))
		}
		got, err := pagopa.ParseCode(text)
		if err != nil || got.RPTID != c.RPTID || got.Amount != c.Amount || got.Debtor != c.Debtor {
			t.Fatalf("%#v is written as %q, which reads as %#v, %v", c, text, got, err)
		}
		again, err := got.DataMatrix(account)
		if err != nil || again != text {
			t.Fatalf("%q is read and written as %q, %v", text, again, err)
		}
	})
}

func BenchmarkParseCode(b *testing.B) {
	for name, text := range map[string]string{"QR": "PAGOPA|002|302032002700000251|03334231200|11", "DataMatrix": sampleMatrix} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := pagopa.ParseCode(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
