package email

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
)

// A Bounce is what a returned mail says.
type Bounce struct {
	Token     string // for Engine.Bounced; empty: none came back
	MessageID string // of the mail that was returned, without brackets; empty: it was not said
	Action    string // "failed", "delayed", "delivered", "relayed", "expanded"
	Status    string // RFC 3463: "5.1.1"
}

// Unreachable reports whether the mail cannot be delivered because of its address, so that no other will be: the mailbox or the domain
// does not exist, or takes nothing. A full mailbox, a text that was taken for spam, a server that was away for days do not say that.
func (b Bounce) Unreachable() bool {
	return b.Action == "failed" && (strings.HasPrefix(b.Status, "5.1.") || slices.Contains([]string{"5.2.1", "5.4.4"}, b.Status))
}

// String has no token.
func (b Bounce) String() string { return fmt.Sprintf("%s %s", b.Action, b.Status) }

// ErrNotBounce is returned for what is no report about a mail that was returned, or one that is damaged.
var ErrNotBounce = errors.New("email: not a delivery report")

// maxBounce is the most of a report that is read: what comes after is of no interest, since the returned mail's text is the last of it.
const maxBounce = 1 << 20

const (
	maxParts    = 16
	maxFields   = 64 << 10 // bytes of the fields of a report, or of a mail
	maxTokenLen = 2 << 10
)

// ParseBounce reads a message that came to Options.Return: a delivery status notification (RFC 3464), with what it returns of the mail.
// Whoever sends it may write what they like: what counts is the token, which the engine alone can make. Where a report is about
// several recipients, the best news counts. It reads at most 1 MiB, and nothing of what the mail said. What is no report is ErrNotBounce, and
// an error of r's is returned as it is.
func ParseBounce(r io.Reader) (Bounce, error) {
	bounded := &source{r: io.LimitReader(r, maxBounce)}
	b, err := parseBounce(bounded)
	if bounded.err != nil {
		return Bounce{}, fmt.Errorf("email: read the report: %w", bounded.err)
	}
	return b, err
}

// A source remembers why reading failed, if not because it ended.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func parseBounce(r io.Reader) (b Bounce, err error) {
	body := bufio.NewReader(r)
	fields, err := header(body)
	if err != nil {
		return b, ErrNotBounce
	}
	media, params, err := mime.ParseMediaType(fields.Get("Content-Type")) // multipart/report, but OpenSMTPD calls it multipart/mixed
	if err != nil || !strings.HasPrefix(media, "multipart/") || params["boundary"] == "" {
		return b, ErrNotBounce
	}
	parts := multipart.NewReader(body, params["boundary"])
	reported := false
	for range maxParts {
		part, err := parts.NextPart()
		if err != nil {
			break // the end, or where the report was cut
		}
		media, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		content := bufio.NewReader(decoded(part))
		switch media {
		case "message/delivery-status", "message/global-delivery-status":
			if !reported {
				reported = b.status(content)
			}
		case "message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers":
			if fields, err := header(content); err == nil && b.Token == "" && b.MessageID == "" {
				b.Token = token(fields.Get(bounceHeader))
				b.MessageID = messageID(fields.Get("Message-Id"))
			}
		}
	}
	if !reported {
		return Bounce{}, ErrNotBounce
	}
	return b, nil
}

func decoded(part *multipart.Part) io.Reader {
	if strings.EqualFold(part.Header.Get("Content-Transfer-Encoding"), "base64") {
		return base64.NewDecoder(base64.StdEncoding, part)
	}
	return part // quoted-printable is undone by multipart
}

// status reads the fields about the message, and those about each recipient, of which there is one at least.
func (b *Bounce) status(r *bufio.Reader) (reported bool) {
	if _, err := header(r); err != nil {
		return false
	}
	for range 100 {
		fields, err := header(r)
		if err != nil || len(fields) == 0 {
			break
		}
		one := Bounce{Action: strings.ToLower(word(fields.Get("Action"))), Status: word(fields.Get("Status"))}
		if !slices.Contains([]string{"failed", "delayed", "delivered", "relayed", "expanded"}, one.Action) || !statusCode.MatchString(one.Status) {
			continue
		}
		if said := enhancedIn.FindStringSubmatch(fields.Get("Diagnostic-Code")); said != nil && strings.HasSuffix(one.Status, ".0.0") && said[1][0] == one.Status[0] {
			one.Status = said[1] // Exim and others say no more than that it failed, and quote who does
		}
		if !reported || !one.Unreachable() {
			b.Action, b.Status = one.Action, one.Status
		}
		reported = true
	}
	return reported
}

var (
	statusCode = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}$`)
	enhancedIn = regexp.MustCompile(`^smtp; ?[245]\d\d[ -]([245]\.\d{1,3}\.\d{1,3})\b`)
	anyID      = regexp.MustCompile(`^[!-;=?-~]{1,250}$`)
	anyToken   = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// header reads fields up to an empty line, or to the end.
func header(r *bufio.Reader) (textproto.MIMEHeader, error) {
	var text strings.Builder
	start := true // of a line
	for text.Len() < maxFields {
		piece, err := r.ReadSlice('\n')
		text.Write(piece)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) || start && len(strings.TrimRight(string(piece), "\r\n")) == 0 {
			break
		}
		start = err == nil
	}
	if text.Len() >= maxFields {
		return nil, ErrNotBounce
	}
	text.WriteString("\r\n\r\n")
	return textproto.NewReader(bufio.NewReader(strings.NewReader(text.String()))).ReadMIMEHeader()
}

// word is a field's value without the comment that may follow.
func word(s string) string {
	s, _, _ = strings.Cut(s, "(")
	return strings.TrimSpace(s)
}

// token is a header's value as it was before it was folded; empty: it is no token.
func token(s string) string {
	s = strings.Join(strings.Fields(s), "")
	if len(s) > maxTokenLen || !anyToken.MatchString(s) {
		return ""
	}
	return s
}

func messageID(s string) string {
	s = strings.TrimSpace(s)
	if len(s) < 2 || s[0] != '<' || s[len(s)-1] != '>' || !anyID.MatchString(s[1:len(s)-1]) {
		return ""
	}
	return s[1 : len(s)-1]
}
