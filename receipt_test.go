package appio_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
)

func sampleReceipt() appio.Receipt {
	return appio.Receipt{
		RPTID: rptID, Amount: 1234_56, Payee: "Comune di Esempio", Description: "TARI 2026, prima rata: l'immobile è \"A/2\" & <box>",
		PaidAt: time.Date(2026, 3, 1, 23, 5, 6, 789_000_000, time.UTC), Event: "ev-1", Message: "01JNA8Y2ZT5J9W3K7Q4R6S8V0X",
	}
}

func TestReceiptJSON(t *testing.T) {
	t.Parallel()
	t.Run("is what it says", func(t *testing.T) {
		t.Parallel()
		b, err := json.Marshal(sampleReceipt())
		require.NoError(t, err)
		require.JSONEq(t, `{
			"creditor_fiscal_code": "01199250158", "notice_number": "302032002700000251", "iuv": "02032002700000251", "amount": 123456,
			"payee": "Comune di Esempio", "description": "TARI 2026, prima rata: l'immobile è \"A/2\" & <box>",
			"paid_at": "2026-03-01T23:05:06.789Z", "event": "ev-1", "message_id": "01JNA8Y2ZT5J9W3K7Q4R6S8V0X"
		}`, string(b))
		paper, err := json.Marshal(appio.Receipt{RPTID: rptID, Amount: 1, PaidAt: sampleReceipt().PaidAt, Event: "ev-2"})
		require.NoError(t, err)
		require.JSONEq(t, `{
			"creditor_fiscal_code": "01199250158", "notice_number": "302032002700000251", "iuv": "02032002700000251", "amount": 1,
			"paid_at": "2026-03-01T23:05:06.789Z", "event": "ev-2"
		}`, string(paper), "what is not known is left out")
	})
	t.Run("comes back", func(t *testing.T) {
		t.Parallel()
		for _, number := range []pagopa.NoticeNumber{notice, "001000000000000141", "100000000000000000", "201234567890123415"} {
			want := sampleReceipt()
			want.RPTID.Notice = number
			want.PaidAt = want.PaidAt.Add(123 * time.Microsecond)
			b, err := json.Marshal(want)
			require.NoError(t, err)
			var got appio.Receipt
			require.NoError(t, json.Unmarshal(b, &got))
			require.Equal(t, want, got)
			want.PaidAt = want.PaidAt.In(time.FixedZone("", 7200))
			same, err := json.Marshal(want)
			require.NoError(t, err)
			require.Equal(t, string(b), string(same), "whatever the zone")
		}
	})
	t.Run("what an engine kept comes back", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		w.send(w.put(), messageTo(giuseppe, withNotice))
		require.NoError(t, w.Settle(ctx, event("1", appio.Paid, 5)))
		w.flush()
		want := collect(t, c.Payments())
		require.Len(t, want, 1)
		b, err := json.Marshal(want)
		require.NoError(t, err)
		require.NotContains(t, string(b), string(giuseppe))
		var got []appio.Receipt
		require.NoError(t, json.Unmarshal(b, &got))
		require.Equal(t, want, got)
	})
	t.Run("what is no receipt is refused, without being quoted", func(t *testing.T) {
		t.Parallel()
		good, err := json.Marshal(sampleReceipt())
		require.NoError(t, err)
		for name, change := range map[string][2]string{
			"the notice number": {`"302032002700000251"`, `"30203200270000025X"`},
			"the creditor":      {`"01199250158"`, `"1199250158"`},
			"another iuv":       {`"02032002700000251"`, `"02032002700000252"`},
			"the amount":        {`123456`, `-1`},
			"half a cent":       {`123456`, `123456.5`},
			"a text":            {`123456`, `"BSCMTT83A12L719R"`},
			"the day":           {`2026-03-01T23:05:06.789Z`, `BSCMTT83A12L719R`},
		} {
			text := strings.Replace(string(good), change[0], change[1], 1)
			require.NotEqual(t, string(good), text, name)
			before := appio.Receipt{Payee: "as it was"}
			got := before
			err := json.Unmarshal([]byte(text), &got)
			require.ErrorIs(t, err, appio.ErrInvalid, name)
			require.NotContains(t, err.Error(), "BSCMTT83A12L719R", name)
			require.Equal(t, before, got, name)
		}
		require.ErrorIs(t, json.Unmarshal([]byte(`[]`), &appio.Receipt{}), appio.ErrInvalid)
		got := appio.Receipt{Payee: "as it was"}
		require.NoError(t, json.Unmarshal([]byte(`null`), &got))
		require.Equal(t, "as it was", got.Payee)
		more := strings.Replace(string(good), `{`, `{"new":1,`, 1)
		require.NoError(t, json.Unmarshal([]byte(more), &got), "a later version may say more")
		require.Equal(t, sampleReceipt(), got)
	})
}

func page(t *testing.T, r appio.Receipt, lang string) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, r.WriteHTML(&b, lang))
	return b.String()
}

func TestReceiptPage(t *testing.T) {
	t.Parallel()
	t.Run("is as it was", func(t *testing.T) {
		t.Parallel()
		for _, lang := range []string{"it", "en"} {
			got, path := page(t, sampleReceipt(), lang), "testdata/receipt."+lang+".html"
			if flag.Lookup("update").Value.String() == "true" {
				require.NoError(t, os.WriteFile(path, []byte(got), 0o666))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		}
	})
	t.Run("is Italian unless English is asked for", func(t *testing.T) {
		t.Parallel()
		italian, english := page(t, sampleReceipt(), "it"), page(t, sampleReceipt(), "en")
		for _, lang := range []string{"", "de", "it-IT", "eng", `"><script>`} {
			require.Equal(t, italian, page(t, sampleReceipt(), lang), lang)
		}
		for _, lang := range []string{"EN", "en-GB", "en-US"} {
			require.Equal(t, english, page(t, sampleReceipt(), lang), lang)
		}
	})
	t.Run("has amounts and times as the language writes them", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			amount pagopa.Amount
			it, en string
		}{
			{1, "0,01\u00a0€", "€0.01"}, {100, "1,00\u00a0€", "€1.00"}, {999_99, "999,99\u00a0€", "€999.99"}, {1000_00, "1.000,00\u00a0€", "€1,000.00"},
			{999_999_99, "999.999,99\u00a0€", "€999,999.99"}, {pagopa.MaxAmount, "99.999.999,99\u00a0€", "€99,999,999.99"},
		} {
			r := sampleReceipt()
			r.Amount = c.amount
			require.Contains(t, page(t, r, "it"), "<bdi>"+c.it+"</bdi>")
			require.Contains(t, page(t, r, "en"), "<bdi>"+c.en+"</bdi>")
		}
		for at, want := range map[string][3]string{
			"2026-03-01T23:05:06Z": {"2 marzo 2026, ore 00:05 (ora italiana)", "2 March 2026, 00:05 (Italian time)", "2026-03-02T00:05:06&#43;01:00"},
			"2026-08-15T10:00:00Z": {"15 agosto 2026, ore 12:00 (ora italiana)", "15 August 2026, 12:00 (Italian time)", "2026-08-15T12:00:00&#43;02:00"},
			"2026-12-31T23:00:00Z": {"1 gennaio 2027, ore 00:00 (ora italiana)", "1 January 2027, 00:00 (Italian time)", "2027-01-01T00:00:00&#43;01:00"},
		} {
			r := sampleReceipt()
			var err error
			r.PaidAt, err = time.Parse(time.RFC3339, at)
			require.NoError(t, err)
			require.Contains(t, page(t, r, "it"), `<time datetime="`+want[2]+`">`+want[0]+"</time>")
			require.Contains(t, page(t, r, "en"), `<time datetime="`+want[2]+`">`+want[1]+"</time>")
		}
	})
	t.Run("leaves out what is not known", func(t *testing.T) {
		t.Parallel()
		r := appio.Receipt{RPTID: rptID, Amount: 1, PaidAt: sampleReceipt().PaidAt}
		require.Equal(t, 5, strings.Count(page(t, r, "it"), "<tr>"))
		require.Equal(t, 8, strings.Count(page(t, sampleReceipt(), "it"), "<tr>"))
	})
	t.Run("says when it could not be written", func(t *testing.T) {
		t.Parallel()
		require.ErrorIs(t, sampleReceipt().WriteHTML(brokenWriter{}, "it"), errBroken)
	})
}

var errBroken = errors.New("the pipe is broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }
