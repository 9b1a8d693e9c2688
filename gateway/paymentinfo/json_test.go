package paymentinfo

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
)

var id = pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"}

func TestDebt(t *testing.T) {
	t.Parallel()
	whole := appio.Debt{
		RPTID: id, Amount: 114_00, Payee: "Comune di Esempio", Description: "TARI", Due: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC),
	}
	one := appio.Debt{RPTID: id, Amount: 1}
	for body, want := range map[string]appio.Debt{
		`{"rptId": "01199250158302032002700000251", "paFiscalCode": "01199250158", "paName": "Comune di Esempio", "description": "TARI",
			"amount": 11400, "dueDate": "2026-11-30"}`: whole,
		`{"amount": 1}`:               one,
		" \t\r\n{\"amount\" : 1 } \n": one,
		`{"amount": 1, "rptId": null, "paFiscalCode": null, "paName": null, "description": null, "dueDate": null}`: one,
		`{"amount": 1, "rptId": "", "paFiscalCode": "", "paName": "", "description": "", "dueDate": ""}`:           one,
		`{"amount": 1, "Amount": 2, "AMOUNT": "x", "a\u006dounts": 3, "": [], "new": {"amount": [9, {}]}}`:         one,
		`{"a\u006dount": 1}`:     one,
		`{"amount": 9999999999}`: {RPTID: id, Amount: pagopa.MaxAmount},
		`{"amount": 1, "paName": "\u00e0\ud83c\udfdb\n\"", "description": "` + strings.Repeat("\U0001F3DB", 140) + `"}`: {
			RPTID: id, Amount: 1, Payee: "à\U0001F3DB\n\"", Description: strings.Repeat("\U0001F3DB", 140)},
		`{"amount": 1, "dueDate": "2028-02-29"}`: {RPTID: id, Amount: 1, Due: time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC)},
		`{"amount": 1, "dueDate": "9999-12-31"}`: {RPTID: id, Amount: 1, Due: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)},
	} {
		d, err := debtOf(id, []byte(body))
		require.NoError(t, err, body)
		require.Equal(t, want, d, body)
	}
}

func TestDebtIsRefused(t *testing.T) {
	t.Parallel()
	for says, bodies := range map[string][]string{
		"the answer is not a JSON object": {
			"", " ", "null", "1", `"x"`, "[]", `[{"amount": 1}]`, `{"amount": 1`, `{"amount": 1}}`, `{"amount": 1} {"amount": 1}`, `{"amount" 1}`,
			`{"amount": 1,}`, `{amount: 1}`, `{'amount': 1}`, `{"amount": 01}`, `{"amount": +1}`, `{"amount": 0x1}`, `{"amount": NaN}`,
			"{\"amount\": 1, \"paName\": \"\xff\"}", "{\"amount\": 1, \"x\": \"a\nb\"}", "\ufeff{\"amount\": 1}", "{\"amount\": 1}\x00",
			strings.Repeat(`{"x":`, 20000) + "1" + strings.Repeat("}", 20000), strings.Repeat("[", 60000), "<amount>1</amount>",
		},
		"has a member twice": {
			`{"amount": 1, "amount": 1}`, `{"amount": 1, "a\u006dount": 2}`, `{"amount": 1, "x": 1, "x": 1}`, `{"amount": 1, "rptId": null, "rptId": null}`,
		},
		"amount is not an integer of 1 to 9999999999": {
			`{}`, `{"Amount": 1}`, `{"amount": null}`, `{"amount": "1"}`, `{"amount": true}`, `{"amount": [1]}`, `{"amount": {}}`, `{"amount": 0}`,
			`{"amount": -1}`, `{"amount": -0}`, `{"amount": 1.0}`, `{"amount": 1.5}`, `{"amount": 1e2}`, `{"amount": 1E0}`, `{"amount": 10000000000}`,
			`{"amount": 18446744073709551617}`, `{"amount": 1` + strings.Repeat("0", 5000) + `}`, `{"amount": 1e999999999}`,
		},
		"is about another notice": {
			`{"amount": 1, "rptId": "01199250158302032002700000252"}`, `{"amount": 1, "rptId": "02342520158302032002700000251"}`,
			`{"amount": 1, "rptId": "01199250158302032002700000251 "}`, `{"amount": 1, "rptId": "x"}`, `{"amount": 1, "paFiscalCode": "02342520158"}`,
		},
		"rptId is not a string":          {`{"amount": 1, "rptId": 1}`, `{"amount": 1, "rptId": ["01199250158302032002700000251"]}`},
		"paFiscalCode is not a string":   {`{"amount": 1, "paFiscalCode": 1199250158}`},
		"paName is not a string":         {`{"amount": 1, "paName": {}}`, `{"amount": 1, "paName": false}`},
		"paName is longer than 140":      {`{"amount": 1, "paName": "` + strings.Repeat("à", 141) + `"}`},
		"description is not a string":    {`{"amount": 1, "description": []}`},
		"description is longer than 140": {`{"amount": 1, "description": "` + strings.Repeat("x", 141) + `"}`},
		"dueDate is not a string":        {`{"amount": 1, "dueDate": 20261130}`},
		"in the answer, dueDate is not a dat": {`{"amount": 1, "dueDate": "2026-02-29"}`, `{"amount": 1, "dueDate": "2026-11-31"}`, `{"amount": 1, "dueDate": "30/11/2026"}`,
			`{"amount": 1, "dueDate": "2026-11-30T00:00:00Z"}`, `{"amount": 1, "dueDate": "2026-1-1"}`, `{"amount": 1, "dueDate": "0000-01-01"}`, `{"amount": 1, "dueDate": "0001-01-01"}`,
			`{"amount": 1, "dueDate": "2026-13-01"}`, `{"amount": 1, "dueDate": " 2026-11-30"}`, `{"amount": 1, "dueDate": "12026-11-30"}`, `{"amount": 1, "dueDate": "٢٠٢٦-11-30"}`},
	} {
		for _, body := range bodies {
			d, err := debtOf(id, []byte(body))
			require.ErrorContains(t, err, says, "%.100s", body)
			require.Zero(t, d)
		}
	}
}

func TestCheckout(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 11, 22, 9, 15, 0, 0, time.UTC)
	for body, want := range map[string]appio.Checkout{
		`{"url": "https://checkout.example.org/c/1?x=y#z", "expiresAt": "2026-11-22T09:15:00Z", "new": 1}`: {URL: "https://checkout.example.org/c/1?x=y#z", ExpiresAt: until},
		`{"url": "https://x.example:8443", "expiresAt": "2026-11-22T10:15:00+01:00"}`:                      {URL: "https://x.example:8443", ExpiresAt: until},
		`{"url": "https://x.example/", "expiresAt": null}`:                                                 {URL: "https://x.example/"},
		`{"url": "https://x.example/"}`:                                                                    {URL: "https://x.example/"},
	} {
		c, err := checkoutOf([]byte(body))
		require.NoError(t, err, body)
		require.Equal(t, want.URL, c.URL)
		require.True(t, want.ExpiresAt.Equal(c.ExpiresAt), body)
	}
	for says, bodies := range map[string][]string{
		"not a JSON object":   {"", "[]", `"https://x.example"`},
		"has a member twice":  {`{"url": "https://x.example", "url": "https://y.example"}`},
		"url is not a string": {`{"url": 1}`, `{"url": ["https://x.example"]}`},
		"url is not an absolute URL of https": {
			`{}`, `{"url": null}`, `{"url": ""}`, `{"url": "http://x.example"}`, `{"url": "/c/1"}`, `{"url": "//x.example"}`, `{"url": "https:"}`,
			`{"url": "https:///c"}`, `{"url": "https://:443/"}`, `{"url": "https://x@y.example"}`, `{"url": "javascript:alert(1)"}`,
			`{"url": "https://x.example\n"}`, `{"url": " https://x.example"}`, `{"url": "https://[x"}`, `{"URL": "https://x.example"}`,
		},
		"url is longer than 2048":   {`{"url": "https://x.example/` + strings.Repeat("x", 2048) + `"}`},
		"expiresAt is not a string": {`{"url": "https://x.example", "expiresAt": 1795338900}`},
		"expiresAt is not a time": {
			`{"url": "https://x.example", "expiresAt": "2026-11-22"}`, `{"url": "https://x.example", "expiresAt": "2026-11-22T09:15:00"}`,
			`{"url": "https://x.example", "expiresAt": "0001-01-01T00:00:00Z"}`,
		},
	} {
		for _, body := range bodies {
			c, err := checkoutOf([]byte(body))
			require.ErrorContains(t, err, says, "%.100s", body)
			require.Empty(t, c.URL)
		}
	}
}

// FuzzAnswer gives anything to the three decoders. What they take must be what a lenient reader finds in it, and no error may have
// the RPT id, which the seeds hold.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		`{"rptId": "01199250158302032002700000251", "paFiscalCode": "01199250158", "paName": "Comune", "description": "TARI", "amount": 11400, "dueDate": "2026-11-30"}`,
		`{"amount": 1, "amount": 2}`, `{"AMOUNT": 1}`, `{"amount": 1e2}`, `{"amount": "01199250158302032002700000251"}`, `{}`, `[`, ``, `null`,
		`{"faultCodeCategory": "PAYMENT_UNKNOWN", "faultCodeDetail": "PAA_PAGAMENTO_SCONOSCIUTO", "title": "01199250158302032002700000251"}`,
		`{"faultCodeCategory": "PAYMENT_DUPLICATED"}`, `{"faultCodeCategory": "X", "faultCodeDetail": "about 302032002700000251"}`,
		`{"url": "https://checkout.example.org/1", "expiresAt": "2026-11-22T09:15:00Z"}`, `{"url": "http://x"}`,
	} {
		f.Add([]byte(body), 404)
		f.Add([]byte(body), 409)
	}
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		d, err := debtOf(id, body)
		if err != nil {
			quiet(t, err)
		} else {
			members := lenient(t, body)
			n, ok := new(big.Int).SetString(string(members["amount"].(json.Number)), 10)
			if !ok || n.Cmp(big.NewInt(int64(d.Amount))) != 0 || d.Amount < 1 || d.Amount > pagopa.MaxAmount {
				t.Fatalf("the amount %v is read as %d", members["amount"], d.Amount)
			}
			if got, there := members["rptId"].(string); there && got != "" && got != id.String() || d.RPTID != id {
				t.Fatalf("an answer about %q", got)
			}
			due, _ := members["dueDate"].(string)
			if d.Due.IsZero() != (due == "") || due != "" && (d.Due.Format(time.DateOnly) != due || d.Due != d.Due.UTC().Truncate(24*time.Hour)) {
				t.Fatalf("the day %q is read as %v", due, d.Due)
			}
			name, _ := members["paName"].(string)
			text, _ := members["description"].(string)
			if d.Payee != name || d.Description != text || utf8.RuneCountInString(text) > maxText || !utf8.ValidString(name+text) {
				t.Fatalf("texts are read as %q and %q", d.Payee, d.Description)
			}
		}

		err = faultOf(status, body)
		quiet(t, err)
		var fault *pagopa.Fault
		if errors.As(err, &fault) {
			category := lenient(t, body)["faultCodeCategory"].(string)
			if !fault.Valid() || fault.Category != category && fault.Category != pagopa.GenericError || fault.Category == category && fault.Status() != status {
				t.Fatalf("the category %q with status %d is read as %s", category, status, fault.Category)
			}
			if strings.ContainsAny(fault.Detail, " \n<>") || len(fault.Detail) > 64 {
				t.Fatalf("the detail is %q", fault.Detail)
			}
		}

		if c, err := checkoutOf(body); err != nil {
			quiet(t, err)
		} else if c.URL != lenient(t, body)["url"] || !strings.HasPrefix(strings.ToLower(c.URL), "https://") {
			t.Fatalf("the URL is %q", c.URL)
		}
	})
}

// lenient reads an object as encoding/json does.
func lenient(t *testing.T, body []byte) map[string]any {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var members map[string]any
	if err := dec.Decode(&members); err != nil {
		t.Fatalf("what was read is no JSON object: %v", err)
	}
	return members
}

// quiet checks that an error has nothing of the answer but names of members and of categories.
func quiet(t *testing.T, err error) {
	if s := err.Error(); strings.Contains(s, string(id.Notice[1:])) || strings.Contains(s, string(id.Creditor)) || len(s) > 200 {
		t.Fatalf("the error is %q", s)
	}
}
