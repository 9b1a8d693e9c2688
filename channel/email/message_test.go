package email_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"image"
	"image/png"
	"io"
	"math/big"
	random "math/rand/v2"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/email"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A letter is a mail as its reader's program sees it.
type letter struct {
	header     netmail.Header
	raw        []byte
	text, html string
	images     map[string][]byte // by Content-ID
}

// last is what the server was sent last.
func (s *mailServer) last(t testing.TB) *letter {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	return readLetter(t, s.got[len(s.got)-1])
}

func readLetter(t testing.TB, raw []byte) *letter {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	require.NoError(t, err)
	l := &letter{header: m.Header, raw: raw, images: map[string][]byte{}}
	l.read(t, m.Header.Get("Content-Type"), m.Body)
	return l
}

func (l *letter) read(t testing.TB, contentType string, body io.Reader) {
	t.Helper()
	media, params, err := mime.ParseMediaType(contentType)
	require.NoError(t, err)
	require.Contains(t, []string{"multipart/alternative", "multipart/related"}, media)
	parts := multipart.NewReader(body, params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			return
		}
		require.NoError(t, err)
		media, params, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		require.NoError(t, err)
		switch {
		case strings.HasPrefix(media, "multipart/"):
			l.read(t, p.Header.Get("Content-Type"), p)
			continue
		case strings.HasPrefix(media, "image/"):
			b, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
			require.NoError(t, err)
			l.images[p.Header.Get("Content-Id")] = b
			continue
		}
		require.Equal(t, "UTF-8", params["charset"])
		require.Equal(t, "quoted-printable", p.Header.Get("Content-Transfer-Encoding"))
		b, err := io.ReadAll(quotedprintable.NewReader(p))
		require.NoError(t, err)
		text := strings.ReplaceAll(string(b), "\r\n", "\n")
		if media == "text/html" {
			l.html = text
		} else {
			require.Equal(t, "text/plain", media)
			require.Empty(t, l.html, "what is better comes later")
			l.text = text
		}
	}
}

// post sends a delivery, and reads what arrived.
func post(t testing.TB, o func(*email.Options), d appio.Delivery) *letter {
	t.Helper()
	s := newMailServer(t, false)
	c := open(t, s.options(func(options *email.Options) {
		if o != nil {
			o(options)
		}
	}))
	require.NoError(t, c.Deliver(t.Context(), d))
	return s.last(t)
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	l := post(t, func(o *email.Options) { o.Now = func() time.Time { return at } }, delivery())
	for name, want := range map[string]string{
		"From": `"Comune di Esempio" <avvisi@comune.example.org>`, "To": "<maria.bianchi@example.org>", "Subject": "Mensa scolastica: retta di ottobre",
		"Message-Id": "<4QF2XK7BWM3TZ6N5RHJD8VYPCA@comune.example.org>", "Auto-Submitted": "auto-generated", "Content-Language": "it", "Mime-Version": "1.0",
	} {
		require.Equal(t, []string{want}, l.header[name], name)
	}
	date, err := l.header.Date()
	require.NoError(t, err)
	require.True(t, at.Equal(date))
	require.Equal(t, strings.Repeat("token-that-bounces", 10), strings.Join(strings.Fields(l.header.Get("X-Appio-Bounce")), ""))
	for _, name := range []string{"List-Unsubscribe", "List-Unsubscribe-Post", "Dkim-Signature", "User-Agent", "X-Mailer", "Bcc", "Cc"} {
		require.NotContains(t, l.header, name, "without a key there is no one-click")
	}
	for line := range strings.SplitSeq(string(l.raw), "\r\n") {
		require.LessOrEqual(t, len(line), 998)
	}
	again := post(t, nil, delivery(func(d *appio.Delivery) { d.Attempt = 2 }))
	require.Equal(t, l.header["Message-Id"], again.header["Message-Id"], "a copy can be known as one")
}

func TestOneClickIsSigned(t *testing.T) {
	t.Parallel()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	require.NoError(t, err)
	edwards := newKey(t)
	for name, c := range map[string]struct {
		key    *email.DKIM
		record string
	}{
		"RSA":     {&email.DKIM{Domain: "example.org", Selector: "s2026", Key: private}, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)},
		"Ed25519": {&email.DKIM{Domain: "comune.example.org", Selector: "s2026", Key: edwards}, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(edwards.Public().(ed25519.PublicKey))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			verify := func(raw []byte) error {
				vs, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
					require.Equal(t, "s2026._domainkey."+c.key.Domain, name)
					return []string{c.record}, nil
				}})
				require.NoError(t, err)
				require.Len(t, vs, 1)
				if vs[0].Err == nil {
					require.Subset(t, vs[0].HeaderKeys, []string{"From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post"})
				}
				return vs[0].Err
			}
			d := delivery(func(d *appio.Delivery) {
				d.Subject = strings.Repeat("È una prova di lunghezza, ", 5)
				d.Withdraw = strings.Repeat("t", 400)
			})
			l := post(t, func(o *email.Options) { o.DKIM = c.key; o.Logo = logo(t) }, d)
			require.NoError(t, verify(l.raw))
			require.Equal(t, "<https://io.example.org/email/stop?t="+d.Withdraw+">", l.header.Get("List-Unsubscribe"))
			require.Equal(t, "List-Unsubscribe=One-Click", l.header.Get("List-Unsubscribe-Post"))
			for _, change := range [][2]string{
				{"email/stop?t=", "email/stop?u="}, {"List-Unsubscribe=One-Click", "List-Unsubscribe=Two-Clicks"}, {"maria.bianchi", "mario.bianchi"},
				{"Auto-Submitted", "List-Unsubscribe: <https://evil.example.org/>\r\nAuto-Submitted"}, {"Auto-Submitted", "Subject: x\r\nAuto-Submitted"},
			} {
				changed := bytes.Replace(l.raw, []byte(change[0]), []byte(change[1]), 1)
				require.NotEqual(t, l.raw, changed)
				require.Error(t, verify(changed), change[0])
			}
			none := post(t, func(o *email.Options) { o.DKIM = c.key }, delivery(func(d *appio.Delivery) { d.Withdraw = "" }))
			require.NoError(t, verify(none.raw))
			require.NotContains(t, none.header, "List-Unsubscribe-Post")
		})
	}
	_, err = email.New((&mailServer{addr: "mail.example.org:25"}).options(func(o *email.Options) {
		o.DKIM = &email.DKIM{Domain: "example.org", Selector: "a", Key: &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}}}
	}))
	require.ErrorIs(t, err, appio.ErrInvalid)
}

// logo is a picture of 80 x 40.
func logo(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	img := image.NewGray(image.Rect(0, 0, 80, 40))
	require.NoError(t, png.Encode(&b, img))
	return b.Bytes()
}

func TestLogoComesWithTheMail(t *testing.T) {
	t.Parallel()
	l := post(t, func(o *email.Options) { o.Logo, o.LogoText = logo(t), "Stemma del comune" }, delivery())
	require.Equal(t, logo(t), l.images["<logo@comune.example.org>"])
	require.Contains(t, l.html, `src="cid:logo@comune.example.org" alt="Stemma del comune"`)
}

// sample are mails of all kinds, by the name of their golden file.
func samples() map[string]func(*appio.Delivery) {
	payment := func(d *appio.Delivery) {
		d.Payment = &appio.Notice{Number: "302032002700000251", Amount: 1284_50, Payee: comune, InvalidAfterDue: true}
		d.Due = time.Date(2026, 11, 30, 22, 59, 59, 0, time.UTC)
	}
	return map[string]func(*appio.Delivery){
		"generic": func(d *appio.Delivery) { d.Content, d.Subject, d.Markdown = appio.Generic, "", "" },
		"full": func(d *appio.Delivery) {
			d.Markdown = "---\nit:\n  cta_1: apri\n---\n# Retta di ottobre\n\nGentile **Maria**,\n\nla retta è *pronta*. Cosa fare:\n\n1. apri il [sito del comune](https://www.comune.example.org/mensa);\n" +
				"2. controlla i dati;\n3. paga.\n\n> In caso di errore scrivi a mensa@comune.example.org.\n\n| Mese | Pasti |\n|---|---|\n| settembre | 12 |\n| ottobre | 21 |\n\n![](https://track.example.org/x.png)\n"
		},
		"payment": payment,
		"deadline": func(d *appio.Delivery) {
			d.Due, d.Language, d.TextLanguage = time.Date(2026, 12, 4, 8, 30, 0, 0, time.UTC), "en-GB", "it"
		},
		"reminder": func(d *appio.Delivery) { payment(d); d.Reminder = appio.RemindUnpaid },
		"long": func(d *appio.Delivery) {
			payment(d)
			d.OrganizationName = "Unione montana dei comuni della Valle del Sarmento e dell’Alto Pollino Meridionale — Servizio associato per la gestione dei tributi"
			d.ServiceName = "Precipitevolissimevolmente-dell-elettroencefalografista-anticostituzionalissimamente"
			d.Subject = "Psiconeuroendocrinoimmunologicamente-parlando: " + strings.Repeat("x", 60)
			d.Markdown = "Vedi https://www.comune.example.org/" + strings.Repeat("percorso-lungo/", 12) + "\n\n" + strings.Repeat("precipitevolissimevolmente", 6)
		},
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	link := func(id appio.MessageID) string { return "https://io.example.org/messaggi/" + string(id) }
	check := func(t *testing.T, name string, l *letter) {
		t.Helper()
		for path, got := range map[string]string{name + ".html": l.html, name + ".txt": l.text} {
			path = filepath.Join("testdata", path)
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o777))
				require.NoError(t, os.WriteFile(path, []byte(got), 0o666))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, strings.ReplaceAll(string(want), "\r\n", "\n"), got, path)
		}
		title, err := new(mime.WordDecoder).DecodeHeader(l.header.Get("Subject"))
		require.NoError(t, err)
		require.Equal(t, title, textOf(t, find(parseHTML(t, l.html), "h1")[0]))
		require.Empty(t, harm(t, l.html, ""))
	}
	for name, change := range samples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := post(t, func(o *email.Options) { o.Message, o.Body = link, email.Whole }, delivery(change))
			check(t, name, l)
		})
	}
	t.Run("preview", func(t *testing.T) {
		t.Parallel()
		check(t, "preview", post(t, func(o *email.Options) { o.Message = link }, delivery(samples()["full"])))
	})
	t.Run("validation", func(t *testing.T) {
		t.Parallel()
		s := newMailServer(t, false)
		v := appio.Validation{Token: "token-that-validates", Address: delivery().Address, ExpiresAt: time.Date(2026, 12, 2, 10, 0, 0, 0, time.UTC)}
		c := open(t, s.options())
		require.NoError(t, c.SendValidation(t.Context(), v))
		l := s.last(t)
		check(t, "validation", l)
		require.NotContains(t, l.header.Get("Message-Id"), v.Token)
		require.NotContains(t, l.header, "List-Unsubscribe")
		require.NoError(t, c.SendValidation(t.Context(), v))
		require.Equal(t, l.header["Message-Id"], s.last(t).header["Message-Id"])
	})
}

func TestSendValidation(t *testing.T) {
	t.Parallel()
	s := newMailServer(t, false)
	v := appio.Validation{Token: "t", Address: delivery().Address, ExpiresAt: time.Now()}
	require.ErrorIs(t, open(t, s.options(func(o *email.Options) { o.Validate = "" })).SendValidation(t.Context(), v), appio.ErrUnsupported)
	v.Address.Value = "nessuno"
	err := open(t, s.options()).SendValidation(t.Context(), v)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "nessuno")
	require.Empty(t, s.messages(t))
}

// A generic mail says that there is a message, and whose, whatever it is about.
func TestGenericSaysNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range []appio.ReminderKind{"", appio.RemindUnread, appio.RemindDeadline, appio.RemindUnpaid} {
		for _, lang := range []string{"", "it", "en", "de"} {
			l := post(t, nil, delivery(func(d *appio.Delivery) {
				d.Content, d.Subject, d.Markdown, d.Reminder, d.Language = appio.Generic, "", "", kind, lang
				d.Due = time.Date(2026, 11, 30, 22, 59, 59, 0, time.UTC)
			}))
			for _, word := range []string{"2026", "novembre", "November", "pag", "pay", "scadenza", "deadline"} {
				require.NotContains(t, strings.ToLower(l.text), word)
				_, visible, _ := strings.Cut(l.html, "<body>")
				require.NotContains(t, strings.ToLower(visible), word+" ")
			}
			require.Contains(t, l.text, "Comune di Esempio")
			require.Equal(t, kind != "", strings.HasPrefix(l.header.Get("Subject"), "Promemoria: ") || strings.HasPrefix(l.header.Get("Subject"), "Reminder: "))
		}
	}
}

func TestPreview(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("è ", 70)
	for md, want := range map[string]string{
		"Vai su [il sito](https://example.org) o su https://example.com, **subito**.": "Vai su [link rimosso] o su [link rimosso], subito.\u200b",
		"---\nit: x\n---\nIl *testo* di www.example.org":                              "Il testo di [link rimosso]",
		"prima\n\n---\n\n# Dopo\n\n- uno\n- due &amp; tre":                            "Dopo uno due & tre",
		"solo prima\n\n---\n": "solo prima",
		long:                  strings.TrimSpace(long[:134/2*3]) + "...",
		"<script>alert(1)</script>\n\n`codice` ![foto](https://example.org/x.png) example.it": "codice foto example.\u200bit",
		"~~~\nblocco\n~~~\n\n\\*stelle\\*": "blocco *stelle*",
	} {
		l := post(t, nil, delivery(func(d *appio.Delivery) { d.Markdown = md }))
		require.Equal(t, want, textOf(t, byClass(parseHTML(t, l.html), "text")[0]))
		require.Contains(t, l.text, want)
		require.NotContains(t, l.html, "track")
	}
}

// count is how many inputs a test makes up: n, or what is asked for.
func count(t testing.TB, n int) int {
	t.Helper()
	if s := os.Getenv("EMAIL_INPUTS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	return n
}

// Whatever the texts of a delivery hold, the mail has the fields that it always has, each once.
func TestNoHeaderIsInjected(t *testing.T) {
	t.Parallel()
	n := count(t, 1500)
	letters := newLetters(t)
	plain := letters.write(t, delivery())
	want := map[string]bool{}
	for name := range plain.header {
		want[name] = true
	}
	r := random.New(random.NewPCG(1, 2))
	injected, refused := 0, 0
	for range n {
		d := delivery()
		d.Subject, d.ServiceName, d.OrganizationName = hostile(r), hostile(r), hostile(r)
		d.Markdown = hostile(r)
		d.Withdraw, d.Bounce = rawToken(r), rawToken(r)
		if r.IntN(2) == 0 {
			d.Address.Value = hostileAddress(r)
		}
		l := letters.try(t, d)
		if l == nil {
			refused++
			continue
		}
		for name, values := range l.header {
			if !want[name] || len(values) != 1 || strings.ContainsAny(values[0], "\r\n\x00") {
				injected++
				t.Errorf("%s: %q of %q", name, values, d.Subject)
			}
		}
		require.Len(t, l.header, len(want))
		title, err := new(mime.WordDecoder).DecodeHeader(l.header.Get("Subject"))
		require.NoError(t, err)
		require.Equal(t, textOf(t, find(parseHTML(t, l.html), "title")[0]), title)
		to, err := l.header.AddressList("To")
		require.NoError(t, err)
		require.Len(t, to, 1)
		require.Empty(t, to[0].Name)
		from, err := l.header.AddressList("From")
		require.NoError(t, err)
		require.Len(t, from, 1)
		require.Equal(t, "avvisi@comune.example.org", from[0].Address)
		if who := byClass(parseHTML(t, l.html), "organization"); from[0].Name != "Sportello digitale" {
			require.Equal(t, textOf(t, who[0]), from[0].Name)
		}
	}
	require.Zero(t, injected)
	require.Less(t, refused, n*3/4)
	t.Logf("%d inputs, %d refused for their address, %d injected header fields", n, refused, injected)
}

func rawToken(r *random.Rand) string {
	b := make([]byte, 8+r.IntN(300))
	for i := 0; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// pieces are what breaks what reads mail.
var pieces = []string{
	"\r\n", "\r", "\n", "\r\n\r\n", "\x00", "\x1b[31m", "\u2028", "\u0085", "\v", "\f", "Bcc: altri@example.org", "\r\nBcc: altri@example.org\r\n", "\n .\r\n", "\r\n.\r\n",
	"=?utf-8?q?=0D=0ABcc:_x@example.org?=", "=?utf-8?B?DQpCY2M6IHhAZXhhbXBsZS5vcmc=?=", "=?", "?=", "\"", "\\", "<", ">", "<x@example.org>", "(", ")", ",", ";", ":", "@", "à", "🗑", "\u202e", "\xff",
	"\xc3", " ", "\t", "testo", "Content-Type: text/html", "--", "MIME-Version: 1.0", strings.Repeat("à", 90), strings.Repeat("x", 200), "{{.}}", "%0d%0a", "%s", "&#13;&#10;", "</title>", "<script>",
}

func hostile(r *random.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(6) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

func hostileAddress(r *random.Rand) string {
	s := "maria.bianchi@example.org"
	for range r.IntN(3) {
		at := r.IntN(len(s) + 1)
		s = s[:at] + pieces[r.IntN(len(pieces))] + s[at:]
	}
	return s
}

// letters writes mails into memory, over a pipe that takes whatever is sent.
type letters struct {
	s *mailServer
	c *email.Channel
}

func newLetters(t testing.TB) *letters {
	s := newMailServer(t, false)
	return &letters{s, open(t, s.options(func(o *email.Options) {
		o.Body, o.DKIM = email.Whole, &email.DKIM{Domain: "example.org", Selector: "a", Key: newKey(t)}
	}))}
}

// try is nil where the address was refused.
func (l *letters) try(t testing.TB, d appio.Delivery) *letter {
	t.Helper()
	l.s.mu.Lock()
	l.s.got, l.s.to = nil, nil
	l.s.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := l.c.Deliver(ctx, d); err != nil {
		require.Equal(t, "email: the address is not one that mail can be sent to", err.Error())
		require.Empty(t, l.s.got)
		return nil
	}
	require.Len(t, l.s.to, 1, "one recipient, and no other")
	m := l.s.last(t)
	to, err := m.header.AddressList("To")
	require.NoError(t, err)
	require.Equal(t, l.s.to[0], to[0].Address)
	return m
}

func (l *letters) write(t testing.TB, d appio.Delivery) *letter {
	t.Helper()
	m := l.try(t, d)
	require.NotNil(t, m)
	return m
}

// GHSA-wpwj-69cm-q9c5: a quoted local part with a bracket in it ended the address in the server's eyes, and what followed became a
// parameter of the command, or another address.
func TestAddressesDoNotBecomeCommands(t *testing.T) {
	t.Parallel()
	p := newPlay(t, nil)
	c := open(t, p.options())
	for _, value := range []string{
		`"maria> ORCPT=rfc822;altri@example.org NOTIFY=SUCCESS"@example.org`, `"maria@example.org> SIZE=1 "@example.org`, `"<maria@example.org>"@example.org`,
		`maria@example.org> NOTIFY=NEVER`, "maria@example.org>\r\nRCPT TO:<altri@example.org", `"maria\"@example.org> X="@example.org`, `"maria bianchi"@example.org`,
		`maria@[127.0.0.1]`, `maria@example.org NOTIFY=NEVER`, `Maria <maria@example.org>`, `maria(commento)@example.org`, `@relay.example.org:maria@example.org`,
		`maria@example.org,altri@example.org`, `maria.@example.org`, `.maria@example.org`, `ma..ria@example.org`, `maria@example..org`, `maria@-example.org`, `maria@example`,
		`maria@`, `@example.org`, ``, strings.Repeat("m", 65) + "@example.org", "maria@" + strings.Repeat("a.", 130) + "org", "maria@exa mple.org", "maria\u00a0@example.org",
		"maria\u202e@example.org", "maria\u200b@example.org",
	} {
		err := c.Deliver(t.Context(), delivery(func(d *appio.Delivery) { d.Address.Value = value }))
		require.Error(t, err, value)
		require.Equal(t, "email: the address is not one that mail can be sent to", err.Error())
	}
	require.Empty(t, p.commands())
	for value, wire := range map[string]string{
		"maria.bianchi+mensa@Example.ORG": "maria.bianchi+mensa@example.org", "o'brien=x@example.org": "o'brien=x@example.org", "maria@città.example.org": "maria@xn--citt-3na.example.org",
	} {
		require.NoError(t, c.Deliver(t.Context(), delivery(func(d *appio.Delivery) { d.Address.Value = value })))
		require.Contains(t, p.commands(), "RCPT TO:<"+wire+">")
	}
	err := c.Deliver(t.Context(), delivery(func(d *appio.Delivery) { d.Address.Value = "mària@example.org" }))
	require.ErrorContains(t, err, "other scripts", "this server does not know SMTPUTF8")
	require.NoError(t, c.Deliver(t.Context(), delivery()), "and the connection goes on")
	s := newMailServer(t, false)
	require.NoError(t, open(t, s.options()).Deliver(t.Context(), delivery(func(d *appio.Delivery) { d.Address.Value = "mària@example.org" })))
	require.Equal(t, []string{"mària@example.org"}, s.to)
}

// A digest reads as any mail, and has no link to a message: its id is no message's.
func TestDigest(t *testing.T) {
	t.Parallel()
	link := func(id appio.MessageID) string { return "https://io.example.org/messaggi/" + string(id) }
	for _, whole := range []bool{true, false} {
		l := post(t, func(o *email.Options) {
			if o.Message = link; whole {
				o.Body = email.Whole
			}
		}, delivery(func(d *appio.Delivery) {
			d.Digest = &appio.Digest{Count: 2}
			d.Subject, d.Markdown = "2 nuovi messaggi da Mensa", "Messaggi da leggere:\n\n- Il menu \\_di aprile\n- La retta\n"
		}))
		require.Contains(t, l.text, "La retta")
		require.Contains(t, l.html, "Il menu _di aprile")
		require.NotContains(t, l.text+l.html, "messaggi/")
	}
}

// The link to a message is the host's to shape; what is no page of the web is none.
func TestMessageLink(t *testing.T) {
	t.Parallel()
	for made, want := range map[string]string{
		"https://io.example.org/messaggi?id=": "https://io.example.org/messaggi?id=M&amp;da=mail#testo",
		"https://io.example.org/messaggi/":    "https://io.example.org/messaggi/M&amp;da=mail#testo",
		"http://io.example.org/messaggi/":     "",
		"javascript://io.example.org/":        "",
		"https://anna@io.example.org/":        "",
	} {
		l := post(t, func(o *email.Options) {
			o.Message = func(appio.MessageID) string { return made + "M&da=mail#testo" }
		}, delivery())
		if want == "" {
			require.NotContains(t, l.html+l.text, "da=mail")
			continue
		}
		require.Contains(t, l.html, `href="`+want+`"`)
		require.Contains(t, l.text, strings.ReplaceAll(want, "&amp;", "&"))
	}
}
