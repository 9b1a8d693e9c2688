package email

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"github.com/appio-go/appio"
)

// A Withdrawer is an *appio.Engine.
type Withdrawer interface {
	Withdraw(ctx context.Context, token string) error
}

// A Confirmer is an *appio.Engine.
type Confirmer interface {
	ConfirmAddress(ctx context.Context, token string) error
}

// WithdrawHandler is what Options.Withdraw leads to: a POST as of RFC 8058, which mail programs send for the one click, withdraws; a GET
// shows a page with a button that does, and changes nothing, since programs follow the links in mail before people do. Neither asks
// for a login or a cookie: the token in the query is all. When the POST is answered with 200 no e-mail of the service begins to be sent
// to the person; it is 202 where one was under way and may still arrive, 400 for a token that is none, 503 if it should be sent again.
func WithdrawHandler(e Withdrawer) http.Handler {
	return &linkHandler{
		ask: func(w *words) ask { return ask{w.withdrawTitle, w.withdrawAsk, w.withdrawButton} },
		do: func(ctx context.Context, w *words, token string) (int, string) {
			err := e.Withdraw(ctx, token)
			var late *appio.InFlightError
			switch {
			case err == nil:
				return http.StatusOK, w.withdrawn
			case errors.As(err, &late):
				return http.StatusAccepted, w.withdrawnLate
			case errors.Is(err, appio.ErrUnauthorized):
				return http.StatusBadRequest, w.badLink
			}
			return http.StatusServiceUnavailable, w.later
		},
	}
}

// ValidationHandler is what Options.Validate leads to: a GET shows a page with a button, and the POST that this sends confirms the address.
// It is 400 for a token that is none, or no longer good, 409 where somebody else has proved the address, and 503 if it should be sent
// again.
func ValidationHandler(e Confirmer) http.Handler {
	return &linkHandler{
		ask: func(w *words) ask { return ask{w.confirmTitle, w.confirmAsk, w.confirm} },
		do: func(ctx context.Context, w *words, token string) (int, string) {
			err := e.ConfirmAddress(ctx, token)
			switch {
			case err == nil:
				return http.StatusOK, w.confirmed
			case errors.Is(err, appio.ErrUnauthorized):
				return http.StatusBadRequest, w.badLink
			case errors.Is(err, appio.ErrExpired):
				return http.StatusBadRequest, w.oldLink
			case errors.Is(err, appio.ErrTaken):
				return http.StatusConflict, w.taken
			}
			return http.StatusServiceUnavailable, w.later
		},
	}
}

// A linkHandler does what a link in a mail is for, if asked to by a POST.
type linkHandler struct {
	ask func(*words) ask
	do  func(ctx context.Context, w *words, token string) (status int, say string)
}

type ask struct{ Title, Text, Button string }

// maxForm is the most of a body that is read. That of RFC 8058 has 26 bytes, or some 200 as multipart.
const maxForm = 4 << 10

func (h *linkHandler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := wordsOf(r.Header.Get("Accept-Language"))
	p := &linkPage{Lang: w.Lang, ask: h.ask(w)}
	status := http.StatusOK
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		p.Button = ""
		r.Body = http.MaxBytesReader(rw, r.Body, maxForm)
		if r.PostFormValue("List-Unsubscribe") != "One-Click" {
			status, p.Text = http.StatusBadRequest, w.tooLong
			break
		}
		status, p.Text = h.do(r.Context(), w, r.URL.Query().Get("t"))
	default:
		rw.Header().Set("Allow", "GET, HEAD, POST")
		status, p.Text, p.Button = http.StatusMethodNotAllowed, w.tooLong, ""
	}
	for k, v := range linkHeaders {
		rw.Header().Set(k, v)
	}
	if status == http.StatusServiceUnavailable {
		rw.Header().Set("Retry-After", "60")
	}
	rw.WriteHeader(status)
	_ = linkTemplate.Execute(rw, p)
}

type linkPage struct {
	Lang string
	ask
}

// linkHeaders keep the token in the page's URL to those who have it, and the page to itself.
var linkHeaders = map[string]string{
	"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
	"X-Robots-Tag": "noindex", "Vary": "Accept-Language", "Content-Security-Policy": linkPolicy(),
}

func linkPolicy() string {
	sum := sha256.Sum256([]byte(linkStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

const linkStyle = `
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 36rem; padding: 1.5rem; font: 1rem/1.5 system-ui, sans-serif; color: #17324d; background: #fff; }
h1 { font-size: 1.5rem; }
button { padding: 0.75rem 1.25rem; border: 0; border-radius: 4px; background: #0059b3; color: #fff; font: inherit; font-weight: bold; }
@media (prefers-color-scheme: dark) {
  body { color: #e6edf4; background: #0e151c; }
  button { background: #8fc7ff; color: #0e151c; }
}
`

// linkTemplate's form goes to the page's own URL, which has the token.
var linkTemplate = template.Must(template.New("link").Parse(strings.TrimSpace(`
<!DOCTYPE html>
<html lang="{{.Lang}}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>`+linkStyle+`</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>{{if .Button}}
<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click"><button>{{.Button}}</button></form>{{end}}
</main>
</body>
</html>
`) + "\n"))
