package push

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/text"
)

// A notification is a delivery as a device shows it.
type notification struct {
	delivery    appio.DeliveryID
	message     appio.MessageID
	reminder    appio.ReminderKind // empty also where it must not be told
	lang        string             // of title and body; empty: not known
	title, body string
	collapse    string // 32 characters of base64url: a later notification with the same takes the place of an earlier one
	expires     time.Time
	now         time.Time
	proved      time.Time // the address; zero: it was not
}

func (c *Channel) notification(d *appio.Delivery) *notification {
	n := &notification{
		delivery: d.ID, message: d.Message, collapse: collapse(d), expires: d.ExpiresAt, now: c.now(), proved: d.Address.ValidatedAt,
	}
	w := wordsFor(d.Language, d.TextLanguage)
	if n.lang = w.lang; d.Content == appio.Full && d.Reminder == "" {
		n.lang = d.TextLanguage // nothing is shown but the sender's text
	}
	if n.title, n.body = w.text(d); c.text != nil {
		n.lang = d.Language
		n.title, n.body = c.text(*d)
	}
	n.title, n.body = line(n.title), line(n.body)
	if d.Content == appio.Full {
		n.reminder = d.Reminder
	}
	return n
}

// collapse is the same for a message and its reminders, on one installation. With the message alone it would tell push services which
// installations are of one person.
func collapse(d *appio.Delivery) string {
	sum := sha256.Sum256([]byte("appio push\x00" + string(d.Message) + "\x00" + d.Address.Value))
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

// ttl is how many seconds a device that is away may still get it: until the delivery expires, as providers take it, four weeks at most.
func (n *notification) ttl() int64 {
	const most = 28 * 24 * time.Hour
	return int64(min(max(n.expires.Sub(n.now), 0), most) / time.Second)
}

// until is when it expires, as Apple takes it: in seconds since 1970.
func (n *notification) until() string { return strconv.FormatInt(max(n.expires.Unix(), 0), 10) }

// line is a text without what a notification cannot show.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// fit encodes a notification in at most so many bytes: where it is longer, the body ends early, and then the title.
func (n *notification) fit(limit int, encode func(title, body string) []byte) ([]byte, error) {
	title, body := n.title, n.body
	out := encode(title, body)
	for _, text := range []*string{&body, &title} {
		if over := len(out) - limit; over > 0 {
			*text = shorten(*text, over)
			out = encode(title, body)
		}
	}
	if len(out) > limit {
		return nil, appio.Permanent(errors.New("push: the notification is too long, also without its text"))
	}
	return out, nil
}

// shorten takes at least so many bytes of JSON off the end of a line, and says so by an ellipsis.
func shorten(s string, by int) string {
	const ellipsis = "…"
	room := -by - len(ellipsis)
	for _, r := range s {
		room += width(r)
	}
	for i, r := range s {
		if room -= width(r); room < 0 {
			if i == 0 {
				return ""
			}
			return s[:i] + ellipsis
		}
	}
	return s
}

// width is how many bytes of JSON a character of a line takes, as marshal writes it.
func width(r rune) int {
	if r == '"' || r == '\\' {
		return 2
	}
	return utf8.RuneLen(r)
}

// marshal writes what can always be written, with < and & as they are.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("push: " + err.Error()) // strings and numbers alone
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// words are a language's.
type words struct {
	lang            string
	message, forgot string // where the subject may not be shown
	unread, unpaid  string // before the subject
	deadline        string // before a day and the subject
}

var (
	inItalian = words{
		lang: "it", message: "Hai un nuovo messaggio. Apri l’app per leggerlo.", forgot: "Promemoria: hai un messaggio. Apri l’app per leggerlo.",
		unread: "Promemoria, da leggere: ", unpaid: "Promemoria, da pagare: ", deadline: "Promemoria, scadenza ",
	}
	inEnglish = words{
		lang: "en", message: "You have a new message. Open the app to read it.", forgot: "Reminder: you have a message. Open the app to read it.",
		unread: "Reminder, to read: ", unpaid: "Reminder, to pay: ", deadline: "Reminder, deadline ",
	}
)

var known = [...]*words{&inItalian, &inEnglish}

// wordsFor are the words in the first of some languages that there are words in, and Italian ones for all others, as receipts are.
func wordsFor(languages ...string) *words {
	return known[max(text.Choose(languages, len(known), func(i int) string { return known[i].lang }), 0)]
}

// text is what is shown: whose the message is, and its subject if that may be shown. Whose is the organization, since the name of a
// service can tell as much as a subject.
func (w *words) text(d *appio.Delivery) (title, body string) {
	if title = d.OrganizationName; title == "" {
		title = d.ServiceName
	}
	switch {
	case d.Content != appio.Full && d.Reminder == "":
		return title, w.message
	case d.Content != appio.Full:
		return title, w.forgot
	case d.Reminder == "":
		return title, d.Subject
	case d.Reminder == appio.RemindUnpaid:
		return title, w.unpaid + d.Subject
	case d.Reminder == appio.RemindDeadline && !d.Due.IsZero():
		return title, w.deadline + text.FormOf(w.lang).Day(d.Due) + ": " + d.Subject
	}
	return title, w.unread + d.Subject
}
