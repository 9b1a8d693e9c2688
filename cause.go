package appio

import (
	"errors"
	"html"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/appio-go/appio/internal/verdict"
)

// resultOf reads what a channel answered. Its error is code of the channel, too, and so is Options.Backoff of the host: what panics
// there is a failure of this delivery.
func (e *Engine) resultOf(err error, a *attempt) (r result) {
	if err == nil {
		return result{kind: resultDelivered}
	}
	r = result{kind: resultFailed, cause: "an error that cannot be printed", after: time.Minute}
	defer func() {
		if recover() != nil {
			e.log().Error("a channel's error, or Options.Backoff, panicked", "channel", a.what.Channel)
		}
	}()
	var m *verdict.Error
	if errors.As(err, &m) {
		switch m.Verdict {
		case verdict.Permanent:
			r.kind = resultPermanent
		case verdict.Gone:
			r.kind = resultGone
		}
	}
	r.cause = cause(err.Error(), a)
	if r.after = e.opts.Backoff(a.it.entry.Attempts + 1); planted == "retry-at-once" {
		r.after = 0
	}
	if m != nil {
		r.after, r.asked = max(r.after, m.After), m.Verdict == verdict.Later
	}
	return r
}

const (
	maxError = 16 << 10 // bytes of a channel's error that are looked through; a longer one is not kept
	maxCause = 200      // bytes of it that are kept
	overlap  = 16       // bytes in a row that a cause may share with the message's text
	// leastLocal is how many bytes an address has before its "@" for that to be looked for: fewer stand in many words.
	leastLocal = 3
)

// cause is a channel's error as it is stored and observed: without the recipient's code and address, the text, the notice and the tokens,
// however the channel wrote them, and short.
func cause(s string, a *attempt) string {
	if len(s) > maxError {
		return "an error too long to keep"
	}
	s = strings.ToValidUTF8(s, "?")
	secrets := []string{a.what.Address.Value, a.code, a.delivery.Withdraw, a.delivery.Bounce, a.delivery.Subject}
	if local, _, ok := strings.Cut(a.what.Address.Value, "@"); ok && len(local) >= leastLocal {
		secrets = append(secrets, local) // a mail server may name a mailbox without its domain
	}
	if n := a.delivery.Payment; n != nil {
		secrets = append(secrets, string(n.Number))
	}
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		for _, written := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(strconv.Quote(secret), `"`), html.EscapeString(secret)} {
			s = replaceFold(s, written)
		}
	}
	s = personal.ReplaceAllString(s, "***")
	if len(s) > maxCause {
		s = strings.ToValidUTF8(s[:maxCause], "")
	}
	for i := 0; i+overlap <= len(s); i += overlap / 2 { // a piece of the text, quoted
		if piece := s[i : i+overlap]; strings.Contains(a.delivery.Markdown, piece) || strings.Contains(a.delivery.Subject, piece) {
			return strings.ToValidUTF8(s[:i], "") + "***"
		}
	}
	return s
}

// namesCode reports whether a text of the host's, which is kept after an erasure, has what looks like a fiscal code and stands for itself,
// also behind or before a _.
func namesCode(s string) bool { return len(s) >= 16 && codeShape.MatchString(s) }

var codeShape = regexp.MustCompile(`(?i)(?:\b|_)[A-Z]{6}[0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z](?:\b|_)`)

// personal is what looks like an e-mail address, also escaped, or a fiscal code.
var personal = regexp.MustCompile(`(?i)[^\s<>"'(),:;]+(?:@|%40)[^\s<>"'(),:;]+|[A-Z]{6}[0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]`)

// replaceFold replaces what is equal to secret but for the case of ASCII letters.
func replaceFold(s, secret string) string {
	if len(secret) > len(s) {
		return s
	}
	lower := func(s string) string {
		return strings.Map(func(r rune) rune {
			if 'A' <= r && r <= 'Z' {
				return r + 'a' - 'A'
			}
			return r
		}, strings.ToValidUTF8(s, "?"))
	}
	in, want := lower(s), lower(secret)
	var b strings.Builder
	for {
		i := strings.Index(in, want)
		if i < 0 || want == "" {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		b.WriteString("***")
		s, in = s[i+len(want):], in[i+len(want):]
	}
}
