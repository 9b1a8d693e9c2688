package appio

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/rome"
	"github.com/appio-go/appio/internal/text"
	"github.com/appio-go/appio/pagopa"
)

// receiptJSON is a receipt as others read it.
type receiptJSON struct {
	Creditor    string    `json:"creditor_fiscal_code"`
	Notice      string    `json:"notice_number"`
	IUV         string    `json:"iuv"`
	Amount      int64     `json:"amount"`
	Payee       string    `json:"payee,omitempty"`
	Description string    `json:"description,omitempty"`
	PaidAt      time.Time `json:"paid_at"`
	Event       string    `json:"event"`
	Message     MessageID `json:"message_id,omitempty"`
}

// MarshalJSON gives an object with creditor_fiscal_code, notice_number, iuv (which follows from the number), amount in euro cents,
// payee, description, paid_at (RFC 3339, in UTC), event and message_id. What is not known is left out.
func (r Receipt) MarshalJSON() ([]byte, error) {
	return json.Marshal(r.json())
}

func (r Receipt) json() receiptJSON {
	return receiptJSON{
		string(r.RPTID.Creditor), string(r.RPTID.Notice), r.RPTID.Notice.IUV(), int64(r.Amount), r.Payee, r.Description, r.PaidAt.UTC(),
		r.Event, r.Message,
	}
}

// UnmarshalJSON reads what [Receipt.MarshalJSON] wrote. What is not a receipt of a notice is ErrInvalid, and leaves r as it was; members
// with other names are left out.
func (r *Receipt) UnmarshalJSON(b []byte) error {
	if string(b) == "null" { // as encoding/json asks
		return nil
	}
	var j receiptJSON
	if err := json.Unmarshal(b, &j); err != nil { // its error may quote what the receipt says
		return invalid("Receipt", "an object as MarshalJSON writes it")
	}
	id := pagopa.RPTID{Creditor: fiscalcode.Organization(j.Creditor), Notice: pagopa.NoticeNumber(j.Notice)}
	switch {
	case !id.Valid():
		return invalid("RPTID", "a creditor's code and a notice number")
	case j.IUV != "" && j.IUV != id.Notice.IUV():
		return invalid("iuv", "that of the notice number")
	case j.Amount < 0:
		return invalid("Amount", "euro cents, not negative")
	}
	*r = Receipt{id, pagopa.Amount(j.Amount), j.Payee, j.Description, j.PaidAt.UTC(), j.Event, j.Message}
	return nil
}

// WriteHTML writes the receipt as a page to read and to print: in English for "en" and its variants (BCP 47: "en-GB"), in Italian for
// every other language. Times are Italian time. The page is whole, asks nobody for anything, and runs no scripts; whatever the texts
// hold, it shows them as texts. An error is w's.
func (r Receipt) WriteHTML(w io.Writer, lang string) error {
	words := &inItalian
	if strings.EqualFold(text.Primary(lang), "en") {
		words = &inEnglish
	}
	paid := r.PaidAt.In(rome.Location())
	page := receiptPage{receiptWords: words}
	row := func(label, text string) {
		if text != "" {
			page.Rows = append(page.Rows, receiptRow{Label: label, Text: printable(text)})
		}
	}
	row(words.Payee, r.Payee)
	row(words.Creditor, string(r.RPTID.Creditor))
	row(words.Description, r.Description)
	written := text.FormOf(words.Lang)
	row(words.Amount, written.Euros(r.Amount))
	page.Rows = append(page.Rows, receiptRow{words.PaidAt, written.MomentInZone(paid), paid.Format(time.RFC3339)})
	row(words.Notice, string(r.RPTID.Notice))
	row(words.IUV, r.RPTID.Notice.IUV())
	row(words.Message, string(r.Message))

	var b bytes.Buffer
	if err := receiptTemplate().Execute(&b, page); err != nil {
		return fmt.Errorf("appio: receipt: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// printable is a text without what no page may hold: bytes that are not UTF-8, and control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, newlines.Replace(strings.ToValidUTF8(s, "\uFFFD")))
}

type receiptPage struct {
	*receiptWords
	Rows []receiptRow
}

type receiptRow struct {
	Label, Text string
	Time        string // of a moment, for programs
}

// receiptWords are a language's.
type receiptWords struct {
	Lang, Title, Note                                                         string
	Payee, Creditor, Description, Amount, PaidAt, Notice, IUV, Message, Table string
}

var inItalian = receiptWords{
	Lang: "it", Title: "Ricevuta di pagamento", Table: "Dati del pagamento",
	Note: "Riepilogo di quanto il sistema dei pagamenti ha comunicato; l’importo è l’ultimo noto prima del pagamento. " +
		"Non sostituisce la ricevuta di chi ha incassato il pagamento.",
	Payee: "Ente creditore", Creditor: "Codice fiscale dell’ente", Description: "Causale", Amount: "Importo", PaidAt: "Pagato il",
	Notice: "Codice avviso", IUV: "IUV (identificativo univoco di versamento)", Message: "Messaggio",
}

var inEnglish = receiptWords{
	Lang: "en", Title: "Payment receipt", Table: "Payment details",
	Note: "A summary of what the payment system has reported; the amount is the last that was known before the payment. " +
		"It does not replace the receipt of whoever took the payment.",
	Payee: "Creditor", Creditor: "Creditor’s tax code", Description: "Reason", Amount: "Amount", PaidAt: "Paid on",
	Notice: "Notice number", IUV: "IUV (unique payment identifier)", Message: "Message",
}

const receiptStyle = `
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 44rem; padding: 1.5rem; font: 1rem/1.5 system-ui, sans-serif; color: #17324d; background: #fff; }
h1 { font-size: 1.5rem; }
table { width: 100%; border-collapse: collapse; }
caption { text-align: start; font-weight: bold; padding: 0.5rem 0; }
th, td { text-align: start; vertical-align: top; padding: 0.5rem 1rem 0.5rem 0; border-top: 1px solid #5d7083; overflow-wrap: anywhere; }
th { width: 38%; font-weight: normal; color: #455b71; }
td { white-space: pre-line; }
@page { size: A4; margin: 20mm; }
@media print {
  body { max-width: none; padding: 0; color: #000; }
  th { color: #000; }
  tr { break-inside: avoid; }
}
`

var (
	receiptOnce   sync.Once
	receiptParsed *template.Template
)

// receiptTemplate is made at the first use, and is nothing that the package's start refers to: programs that print no receipts are
// then linked without html/template.
func receiptTemplate() *template.Template {
	receiptOnce.Do(func() { receiptParsed = template.Must(template.New("receipt").Parse(receiptSource())) })
	return receiptParsed
}

// receiptSource has a policy that permits the page's own style, and nothing else.
func receiptSource() string {
	sum := sha256.Sum256([]byte(receiptStyle))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
	return `<!DOCTYPE html>
<html lang="{{.Lang}}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="` + policy + `">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>{{.Title}}</title>
<style>` + receiptStyle + `</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<table>
<caption>{{.Table}}</caption>
<tbody>{{range .Rows}}
<tr><th scope="row">{{.Label}}</th><td>{{if .Time}}<time datetime="{{.Time}}">{{.Text}}</time>{{else}}<bdi>{{.Text}}</bdi>{{end}}</td></tr>{{end}}
</tbody>
</table>
<p>{{.Note}}</p>
</main>
</body>
</html>
`
}
