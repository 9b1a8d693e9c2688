package email

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"

	"github.com/appio-go/appio"
)

// A page is what an e-mail shows, in its two forms.
type page struct {
	*words
	Title        string
	TextLang     string // of Title and Text, which are the sender's; empty: not known
	Platform     string
	Logo         template.URL // of the part that the mail brings with it; empty: none
	LogoText     string
	Organization string // with Service: who writes; both empty: the platform
	Service      string
	Lead         []string // what the mail says itself
	Text         template.HTML
	Plain        string // the same as Text
	Details      string // what Rows are about; empty: none
	Rows         []row
	Note         string // below them
	Action       string // what Link is for
	Link         string
	Why          string // the mail was sent
	Withdraw     string // a link; empty: none
}

type row struct{ Label, Value string }

// page is that of a delivery.
func (c *Channel) page(d *appio.Delivery) *page {
	w := wordsOf(d.Language)
	p := &page{
		words: w, Platform: clean(c.o.Platform), LogoText: clean(c.o.LogoText), Organization: clean(d.OrganizationName), Service: clean(d.ServiceName),
	}
	if c.logo != "" {
		p.Logo = template.URL("cid:" + c.logoID())
	}
	p.Why = fmt.Sprintf(w.because, p.Platform)
	if c.o.Message != nil && d.Digest == nil { // whose id is no message's
		if link := c.o.Message(d.Message); https(link) != nil {
			p.Action, p.Link = w.read, link
		}
	}
	if c.o.Withdraw != "" && d.Withdraw != "" {
		p.Withdraw = withToken(c.o.Withdraw, d.Withdraw)
	}
	if d.Content != appio.Full {
		p.Title = w.generic
		if who := p.who(); who != "" {
			p.Title = fmt.Sprintf(w.genericFrom, who)
		}
		p.Lead = []string{fmt.Sprintf(w.enter, p.Platform)}
		if d.Reminder != "" {
			p.Title, p.Lead = w.reminder+p.Title, append([]string{w.waiting}, p.Lead...)
		}
		return p
	}
	p.Title, p.TextLang = clean(d.Subject), d.TextLanguage
	if p.Title == "" {
		p.Title = w.generic
	}
	if d.Reminder != "" {
		p.Title = w.reminder + p.Title
		p.Lead = []string{w.reminders[d.Reminder]}
		if p.Lead[0] == "" {
			p.Lead[0] = w.waiting
		}
	}
	if c.o.Body == Whole {
		p.Plain, p.Text = body(d.Markdown), toHTML(d.Markdown)
	} else {
		p.Plain = preview(d.Markdown, w.linkRemoved)
		p.Text = template.HTML("<p>" + template.HTMLEscapeString(p.Plain) + "</p>") //nolint:gosec // escaped
	}
	if n := d.Payment; n != nil {
		p.Details = w.payment
		p.Rows = append(p.Rows, row{w.amount, w.form().Euros(n.Amount)}, row{w.notice, grouped(string(n.Number))})
		if n.Payee != "" {
			p.Rows = append(p.Rows, row{w.payee, clean(string(n.Payee))})
		}
		if n.InvalidAfterDue && !d.Due.IsZero() {
			p.Note = w.invalidAfter
		}
	}
	if !d.Due.IsZero() {
		if p.Details == "" {
			p.Details = w.deadline
		}
		p.Rows = append(p.Rows, row{w.due, w.moment(d.Due)})
	}
	return p
}

// validationPage is that of the mail that asks whether an address is its reader's.
func (c *Channel) validationPage(v *appio.Validation) *page {
	w := wordsOf(v.Language)
	p := &page{
		words: w, Title: w.validation, Platform: clean(c.o.Platform), LogoText: clean(c.o.LogoText),
		Action: w.confirm, Link: withToken(c.o.Validate, v.Token),
	}
	if c.logo != "" {
		p.Logo = template.URL("cid:" + c.logoID())
	}
	p.Lead = []string{fmt.Sprintf(w.asked, p.Platform), fmt.Sprintf(w.validUntil, w.moment(v.ExpiresAt))}
	p.Why = w.notAsked
	return p
}

// who writes, for one line.
func (p *page) who() string {
	if p.Organization != "" {
		return p.Organization
	}
	return p.Service
}

func withToken(base, token string) string { return base + "?t=" + url.QueryEscape(token) }

// grouped is a number of many digits as it is printed on notices, so that it can be read aloud and typed.
func grouped(s string) string {
	s = clean(s)
	if len(s) != 18 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i += 4 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s[i:min(i+4, len(s))])
	}
	return b.String()
}

// text is the page as plain text.
func (p *page) text() string {
	var b strings.Builder
	part := func(s string) {
		if s = strings.TrimSpace(s); s != "" {
			b.WriteString(s)
			b.WriteString("\n\n")
		}
	}
	switch {
	case p.Organization != "" && p.Service != "":
		part(p.Organization + "\n" + p.Service)
	default:
		part(p.who())
	}
	part(p.Title)
	for _, s := range p.Lead {
		part(s)
	}
	part(p.Plain)
	if p.Details != "" {
		b.WriteString(p.Details + "\n")
		for _, r := range p.Rows {
			b.WriteString("- " + r.Label + ": " + r.Value + "\n")
		}
		b.WriteString("\n")
		part(p.Note)
	}
	if p.Link != "" {
		part(p.Action + ":\n" + p.Link)
	}
	b.WriteString("-- \n")
	part(p.Why)
	part(p.NoReply)
	if p.Withdraw != "" {
		part(p.Leave + ":\n" + p.Withdraw)
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// pageTemplate is the HTML form. It loads nothing and runs nothing; one column of any width, light or dark as the reader's program is.
// Programs that drop the style show the same in the same order. The roles keep the table one where the style of narrow windows makes
// blocks of its cells.
var pageTemplate = template.Must(template.New("mail").Parse(`<!DOCTYPE html>
<html lang="{{.Lang}}" dir="ltr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<meta name="format-detection" content="telephone=no, date=no, address=no, email=no">
<title>{{.Title}}</title>
<style>` + pageStyle + `</style>
</head>
<body>
<div class="sheet" role="article" aria-roledescription="email" aria-label="{{.Title}}" lang="{{.Lang}}">
<div class="card">
<div class="who">{{if .Logo}}<img class="logo" src="{{.Logo}}" alt="{{.LogoText}}">{{end}}{{if .Organization}}<p class="organization"><bdi>{{.Organization}}</bdi></p>{{end}}{{if .Service}}<p class="service"><bdi>{{.Service}}</bdi></p>{{end}}{{if not (or .Organization .Service)}}<p class="organization"><bdi>{{.Platform}}</bdi></p>{{end}}</div>
<h1{{if .TextLang}} lang="{{.TextLang}}"{{end}}><bdi>{{.Title}}</bdi></h1>
{{range .Lead}}<p class="lead">{{.}}</p>
{{end}}{{if .Text}}<div class="text" dir="auto"{{if .TextLang}} lang="{{.TextLang}}"{{end}}>
{{.Text}}
</div>
{{end}}{{if .Details}}<h2>{{.Details}}</h2>
<table class="details" role="table">
<tbody role="rowgroup">{{range .Rows}}
<tr role="row"><th role="rowheader" scope="row">{{.Label}}</th><td role="cell"><bdi>{{.Value}}</bdi></td></tr>{{end}}
</tbody>
</table>
{{end}}{{if .Note}}<p class="note">{{.Note}}</p>
{{end}}{{if .Link}}<p class="action"><a href="{{.Link}}" rel="noreferrer">{{.Action}}</a></p>
{{end}}</div>
<div class="foot">
<p>{{.Why}}</p>
<p>{{.NoReply}}</p>{{if .Withdraw}}
<p><a href="{{.Withdraw}}" rel="noreferrer">{{.Leave}}</a></p>{{end}}
</div>
</div>
</body>
</html>
`))

const pageStyle = `
:root { color-scheme: light dark; supported-color-schemes: light dark; }
body { margin: 0; padding: 0; background: #eef2f6; color: #17324d; font: 16px/1.5 "Titillium Web", "Segoe UI", Roboto, Helvetica, Arial, sans-serif; -webkit-text-size-adjust: 100%; }
.sheet { max-width: 600px; margin: 0 auto; padding: 24px 12px; overflow-wrap: anywhere; word-break: break-word; }
.card { padding: 24px; background: #ffffff; border: 1px solid #c5d0db; border-radius: 8px; }
.logo { display: block; height: 40px; max-width: 100%; margin: 0 0 12px; border: 0; }
.who { padding: 0 0 12px; border-bottom: 1px solid #c5d0db; }
.who p { margin: 0; }
.organization { font-weight: bold; }
.service { color: #455b71; }
h1 { margin: 20px 0 12px; font-size: 24px; line-height: 1.25; }
h2, h3, h4, h5, h6 { margin: 20px 0 8px; font-size: 18px; line-height: 1.3; }
p { margin: 0 0 12px; }
a { color: #0059b3; }
.text table { border-collapse: collapse; }
.text th, .text td { padding: 4px 8px; border: 1px solid #c5d0db; text-align: start; vertical-align: top; }
.text blockquote { margin: 0 0 12px; padding: 0 0 0 12px; border-left: 4px solid #c5d0db; }
.text pre { white-space: pre-wrap; }
.details { width: 100%; border-collapse: collapse; }
.details th, .details td { padding: 8px 12px 8px 0; border-top: 1px solid #c5d0db; text-align: start; vertical-align: top; }
.details th { width: 38%; color: #455b71; font-weight: normal; }
.details td { font-weight: bold; }
.note { margin: 12px 0 0; }
.action { margin: 20px 0 0; }
.action a { display: inline-block; padding: 12px 20px; background: #0059b3; border-radius: 4px; color: #ffffff; font-weight: bold; text-decoration: none; }
.foot { padding: 16px 24px 0; color: #455b71; font-size: 14px; }
.foot p { margin: 0 0 8px; }
@media (max-width: 480px) {
  .sheet { padding: 8px 0; }
  .card { padding: 16px; border-left: 0; border-right: 0; border-radius: 0; }
  .foot { padding: 12px 16px 0; }
  .action a { display: block; text-align: center; }
  .details tr, .details th, .details td { display: block; width: auto; }
  .details th { padding: 8px 0 0; }
  .details td { padding: 0 0 8px; border-top: 0; }
}
@media (prefers-color-scheme: dark) {
  body { background: #0e151c; color: #e6edf4; }
  .card { background: #18222c; border-color: #3a4a5a; }
  .who, .details th, .details td, .text th, .text td, .text blockquote { border-color: #3a4a5a; }
  .service, .details th, .foot { color: #b4c3d1; }
  a { color: #8fc7ff; }
  .action a { background: #8fc7ff; color: #0e151c; }
  .logo { padding: 4px; background: #ffffff; border-radius: 4px; }
}
`
