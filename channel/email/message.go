package email

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-msgauth/dkim"
	gomail "github.com/wneessen/go-mail"
)

// A letter is one e-mail, before it is bytes.
type letter struct {
	id       string // of the Message-ID
	from     string // the name shown; empty: that of Options.From
	to       address
	page     *page
	text     string
	oneClick string // the URL of List-Unsubscribe; empty: none
	bounce   string // the token that comes back; empty: none
}

// bounceHeader has the token by which a returned mail is known.
const bounceHeader = "X-Appio-Bounce"

var errCompose = errors.New("email: the message could not be written")

// write writes a letter as it goes over the wire, signed. Errors hold nothing of it.
func (c *Channel) write(w io.Writer, m *letter) error {
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, m.page); err != nil {
		return errCompose
	}
	name := clean(m.from)
	if name == "" {
		name = c.o.From.Name
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.SetGenHeaderPreformatted("From", encodeName(name)+"<"+c.o.From.Address+">")
	msg.ToMailAddress(&netmail.Address{Address: m.to.String()})
	msg.SetGenHeaderPreformatted(gomail.HeaderSubject, encodeText(m.page.Title))
	msg.SetDateWithValue(c.o.Now())
	msg.SetMessageIDWithValue(m.id + "@" + c.o.Domain)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no vacation notice answers
	msg.SetGenHeader("Content-Language", m.page.Lang)
	if m.bounce != "" {
		msg.SetGenHeaderPreformatted(bounceHeader, folded(m.bounce))
	}
	if m.oneClick != "" {
		if err := msg.SetListUnsubscribeOneClick(m.oneClick); err != nil {
			return errCompose
		}
	}
	msg.SetBodyString(gomail.TypeTextPlain, m.text)
	msg.AddAlternativeString(gomail.TypeTextHTML, page.String())
	if c.logo != "" {
		err := msg.EmbedReader("logo"+logoTypes[c.logo], bytes.NewReader(c.o.Logo),
			gomail.WithFileContentType(gomail.ContentType(c.logo)), gomail.WithFileContentID("<"+c.logoID()+">"))
		if err != nil {
			return errCompose
		}
	}
	if c.o.DKIM == nil {
		if _, err := msg.WriteTo(w); err != nil {
			return errCompose
		}
		return nil
	}
	var plain bytes.Buffer
	if _, err := msg.WriteTo(&plain); err != nil {
		return errCompose
	}
	return c.o.DKIM.sign(w, &plain)
}

// sign writes a message with its signature before it. go-mail has a signature of its own, but folds a long list of fields where no
// space may be.
func (k *DKIM) sign(w io.Writer, msg io.Reader) error {
	err := dkim.Sign(w, msg, &dkim.SignOptions{
		Domain: k.Domain, Selector: k.Selector, Signer: k.Key, Hash: crypto.SHA256, HeaderKeys: signed,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	})
	if err != nil {
		return errCompose
	}
	return nil
}

// signed are the fields that a signature is of. What it is of List-Unsubscribe makes it one-click (RFC 8058, 4). Those that are named
// twice nobody may add a second one of.
var signed = []string{
	"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Auto-Submitted", "Content-Language", "List-Unsubscribe",
	"List-Unsubscribe-Post", "From", "To", "Subject", "Date", "Message-ID", "Content-Type", "List-Unsubscribe", "List-Unsubscribe-Post",
}

func (c *Channel) logoID() string { return "logo@" + c.o.Domain }

// idOf is a name for a validation that is the same each time it is sent.
func idOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "v" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:15]))
}

// clean is a text for one line: without what ends lines, what no text holds, and what turns the order of characters round, so that what
// stands in a header or a heading looks like what it is.
func clean(s string) string { return strings.Join(strings.Fields(printable(s)), " ") }

// lines is a text of several lines, likewise.
func lines(s string) string {
	parts := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n").Replace(s), "\n")
	for i := range parts {
		parts[i] = printable(parts[i])
	}
	return strings.Trim(strings.Join(parts, "\n"), "\n")
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r) && r != '\t', unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return ' '
		case unicode.Is(unicode.Bidi_Control, r), r == '\ufeff', r&0xfffe == 0xfffe, r >= 0xfdd0 && r <= 0xfdef:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// encodeText is a cleaned text as the value of a header (RFC 2047). What could be taken for an encoded word is encoded, too.
func encodeText(s string) string {
	if len(s) <= 60 && isASCII(s) && !strings.Contains(s, "=?") {
		return s
	}
	return encodeWords(s)
}

func encodeWords(s string) string {
	var words []string
	for len(s) > 0 {
		n := 0
		for n < len(s) {
			_, size := utf8.DecodeRuneInString(s[n:])
			if n+size > 42 {
				break
			}
			n += size
		}
		words = append(words, "=?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte(s[:n]))+"?=")
		s = s[n:]
	}
	return strings.Join(words, "\r\n ")
}

// encodeName is a cleaned name as it stands before an address; empty: there is none.
func encodeName(s string) string {
	switch {
	case s == "":
		return ""
	case len(s) <= 60 && isASCII(s) && !strings.ContainsAny(s, `"\=`):
		return `"` + s + `" `
	}
	return encodeWords(s) + " "
}

// folded is a token on several lines; who reads it leaves out the white space.
func folded(token string) string {
	var b strings.Builder
	for i := 0; i < len(token); i += 64 {
		if i > 0 {
			b.WriteString("\r\n ")
		}
		fmt.Fprint(&b, token[i:min(i+64, len(token))])
	}
	return b.String()
}
