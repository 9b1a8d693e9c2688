package remotecontent_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/blob/memblob"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/remotecontent"
)

const (
	service = appio.ServiceID("atti")
	key     = "la-chiave-del-sistema"
)

var (
	longText = strings.Repeat("Il testo che sta presso l'ente. ", 4)
	pdf      = append([]byte("%PDF-1.7\n"), bytes.Repeat([]byte("atto "), 20_000)...)
)

// A world is an engine, a citizen, and an authority's system that answers as a test says.
type world struct {
	*appiotest.Kit
	t       *testing.T
	server  *httptest.Server
	reader  *remotecontent.Reader
	citizen *appio.Citizen
	conf    appio.RemoteConfiguration
	asked   atomic.Int64

	mu     sync.Mutex
	answer http.HandlerFunc
	last   *http.Request
}

func setup(t *testing.T, changes ...func(*remotecontent.Options)) *world {
	t.Helper()
	ctx := t.Context()
	w := &world{t: t, Kit: appiotest.New(t, &appio.Options{Documents: memblob.New()})}
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		w.mu.Lock()
		w.last = r
		answer := w.answer
		w.mu.Unlock()
		answer(rw, r)
	}))
	w.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.server.EnableHTTP2 = true
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	o := &remotecontent.Options{Timeout: 5 * time.Second}
	w.allow(o, w.server.URL)
	for _, change := range changes {
		change(o)
	}
	var err error
	w.reader, err = remotecontent.New(w.Engine, o)
	require.NoError(t, err)
	require.NoError(t, w.PutOrganization(ctx, appio.Organization{Code: appiotest.Organization, Name: "Comune di Esempio"}))
	require.NoError(t, w.PutService(ctx, appio.Service{ID: service, Name: "Atti", Organization: appiotest.Organization, State: appio.Live}))
	w.citizen = w.Citizen(appio.Identity{Code: appiotest.Mario, Level: appio.L2, Provider: "cie"})
	require.NoError(t, w.citizen.SetMode(ctx, appio.Auto))
	w.conf = w.put(func(*appio.RemoteConfiguration) {})
	return w
}

// allow lets a reader reach a server of the test.
func (w *world) allow(o *remotecontent.Options, at string) {
	u, err := url.Parse(at)
	require.NoError(w.t, err)
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	require.NoError(w.t, err)
	o.Allow, o.Ports = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, append(o.Ports, uint16(port))
	o.TLS = w.server.Client().Transport.(*http.Transport).TLSClientConfig
}

func (w *world) put(change func(*appio.RemoteConfiguration)) appio.RemoteConfiguration {
	w.t.Helper()
	c := appio.RemoteConfiguration{Name: "Atti", Description: "Gli atti", Precondition: appio.Never,
		Production: &appio.RemoteSystem{URL: w.server.URL + "/io/", Header: "X-Api-Key", Key: key, Type: "API_KEY"}}
	change(&c)
	c, err := w.Authority(appiotest.Organization).PutRemoteConfiguration(w.t.Context(), c)
	require.NoError(w.t, err)
	return c
}

func (w *world) answers(f http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

// says answers everything with a status, a kind and a body.
func (w *world) says(status int, kind, body string) {
	w.answers(func(rw http.ResponseWriter, _ *http.Request) {
		if kind != "" {
			rw.Header().Set("Content-Type", kind)
		} else {
			rw.Header()["Content-Type"] = nil
		}
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, body)
	})
}

func (w *world) lastRequest() *http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// send sends a message with remote content, of which change says more.
func (w *world) send(change func(*appio.RemoteContent)) appio.MessageID {
	w.t.Helper()
	r := &appio.RemoteContent{ID: "atto/7 à", Configuration: w.conf.ID, Attachments: true, Text: true}
	change(r)
	m := appio.Message{To: appiotest.Mario, Subject: "Un atto per te", Markdown: strings.Repeat("C'è un atto. ", 10), Remote: r}
	res, err := w.Sender(service).Send(w.t.Context(), m)
	require.NoError(w.t, err)
	require.Equal(w.t, appio.Processed, res.Status)
	return res.ID
}

func whole() string {
	b, _ := json.Marshal(map[string]any{
		"attachments": []any{map[string]any{"id": "1", "url": "allegati/atto.pdf", "name": "Atto", "content_type": "application/pdf"}},
		"details":     map[string]any{"subject": "L'atto per intero", "markdown": longText, "iun": "X-7"}, "custom": 42,
	})
	return string(b)
}

func nothing(*appio.RemoteContent) {}

func TestOpen(t *testing.T) {
	t.Parallel()

	t.Run("asks as IO does, and gives what the system says", func(t *testing.T) {
		t.Parallel()
		w := setup(t)
		id := w.send(nothing)
		w.says(200, "application/json; charset=utf-8", whole())
		m, c, err := w.reader.Open(t.Context(), w.citizen, id)
		require.NoError(t, err)
		require.Equal(t, id, m.ID)
		got, err := json.Marshal(c)
		require.NoError(t, err)
		require.JSONEq(t, whole(), string(got))
		r := w.lastRequest()
		require.Equal(t, "/io/messages/atto%2F7%20%C3%A0", r.URL.EscapedPath())
		require.Equal(t, string(appiotest.Mario), r.Header.Get("fiscal_code"))
		require.Equal(t, key, r.Header.Get("X-Api-Key"))
		require.Empty(t, r.URL.RawQuery)
		require.NotContains(t, r.URL.String(), string(appiotest.Mario))
	})

	t.Run("keeps what the message says that there is, and no more", func(t *testing.T) {
		t.Parallel()
		w := setup(t)
		w.says(200, "application/json", whole())
		for _, c := range []struct{ attachments, text bool }{{true, false}, {false, true}, {false, false}} {
			id := w.send(func(r *appio.RemoteContent) { r.Attachments, r.Text = c.attachments, c.text })
			_, content, err := w.reader.Open(t.Context(), w.citizen, id)
			require.NoError(t, err)
			require.Equal(t, c.attachments, content.Attachments != nil)
			require.Equal(t, c.text, content.Details["markdown"] != nil)
			require.Equal(t, c.text, content.Details["subject"] != nil)
			require.NotNil(t, content.Details["iun"])
			b, err := json.Marshal(content)
			require.NoError(t, err)
			require.Equal(t, c.attachments, strings.Contains(string(b), `"attachments"`), string(b))
			require.Equal(t, c.text, strings.Contains(string(b), `"markdown"`))
		}
	})

	t.Run("asks the test system for its users", func(t *testing.T) {
		t.Parallel()
		w := setup(t)
		w.conf = w.put(func(c *appio.RemoteConfiguration) {
			s := *c.Production
			s.URL, s.Key = w.server.URL+"/prova", "altra-chiave"
			c.Test, c.TestUsers = &s, []fiscalcode.Person{appiotest.Mario}
		})
		w.says(200, "application/json", whole())
		_, _, err := w.reader.Open(t.Context(), w.citizen, w.send(nothing))
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(w.lastRequest().URL.Path, "/prova/messages/"))
		require.NotEqual(t, key, w.lastRequest().Header.Get("X-Api-Key"))

		w.conf = w.put(func(c *appio.RemoteConfiguration) { c.Production = nil })
		_, _, err = w.reader.Open(t.Context(), w.citizen, w.send(nothing))
		require.ErrorIs(t, err, appio.ErrUnsupported, "it has no system yet")
	})

	t.Run("of a system that asks for signed requests, what the host signs", func(t *testing.T) {
		t.Parallel()
		signed := func(c *appio.RemoteConfiguration) { c.Signed = true }
		w := setup(t)
		w.says(200, "application/json", whole())
		w.conf = w.put(signed)
		_, _, err := w.reader.Open(t.Context(), w.citizen, w.send(nothing))
		require.ErrorIs(t, err, appio.ErrUnsupported)
		require.Zero(t, w.asked.Load())
		w.conf = w.put(func(c *appio.RemoteConfiguration) { c.Signed, c.Unsigned = true, []fiscalcode.Person{appiotest.Mario} })
		_, _, err = w.reader.Open(t.Context(), w.citizen, w.send(nothing))
		require.NoError(t, err)

		bad := errors.New("no key of the app")
		var fail error
		w = setup(t, func(o *remotecontent.Options) {
			o.Sign = func(_ context.Context, of fiscalcode.Person, r *http.Request) error {
				r.Header.Set("Signature", string(of[:3]))
				return fail
			}
		})
		w.says(200, "application/json", whole())
		w.conf = w.put(signed)
		id := w.send(nothing)
		_, _, err = w.reader.Open(t.Context(), w.citizen, id)
		require.NoError(t, err)
		require.Equal(t, "RSS", w.lastRequest().Header.Get("Signature"))
		fail = bad
		_, _, err = w.reader.Open(t.Context(), w.citizen, id)
		require.ErrorIs(t, err, bad)
	})

	t.Run("is nothing for a message that has nothing, or is another's", func(t *testing.T) {
		t.Parallel()
		w := setup(t)
		res, err := w.Sender(service).Send(t.Context(), appio.Message{To: appiotest.Mario, Subject: "Un avviso qualsiasi", Markdown: strings.Repeat("Un avviso. ", 10)})
		require.NoError(t, err)
		_, _, err = w.reader.Open(t.Context(), w.citizen, res.ID)
		require.ErrorIs(t, err, remotecontent.ErrNothing)
		_, err = w.reader.Precondition(t.Context(), w.citizen, res.ID)
		require.ErrorIs(t, err, remotecontent.ErrNothing)
		id := w.send(nothing)
		other := w.Citizen(appio.Identity{Code: appiotest.Anna, Level: appio.L2})
		require.NoError(t, other.SetMode(t.Context(), appio.Auto))
		for _, id := range []appio.MessageID{id, "x", ""} {
			_, _, err = w.reader.Open(t.Context(), other, id)
			require.ErrorIs(t, err, appio.ErrNotFound)
		}
		require.Zero(t, w.asked.Load())
	})

	t.Run("a system's refusals are told apart, and what it writes is in none", func(t *testing.T) {
		t.Parallel()
		w := setup(t)
		id := w.send(nothing)
		for status, want := range map[int]error{
			400: appio.ErrInvalid, 401: remotecontent.ErrAnswer, 403: appio.ErrForbidden, 404: appio.ErrNotFound, 410: remotecontent.ErrGone,
			429: appio.ErrLimited, 500: remotecontent.ErrAnswer, 502: remotecontent.ErrAnswer, 503: remotecontent.ErrAnswer, 504: remotecontent.ErrTimeout,
			204: remotecontent.ErrAnswer, 206: remotecontent.ErrAnswer, 418: remotecontent.ErrAnswer, 201: remotecontent.ErrAnswer,
		} {
			w.answers(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Retry-After", "7")
				rw.WriteHeader(status)
				if status != 204 {
					_, _ = io.WriteString(rw, "il segreto di "+r.Header.Get("fiscal_code")+" "+r.Header.Get("X-Api-Key"))
				}
			})
			_, _, err := w.reader.Open(t.Context(), w.citizen, id)
			require.ErrorIs(t, err, want, status)
			_, err2 := w.reader.Attachment(t.Context(), w.citizen, id, "a")
			require.ErrorIs(t, err2, want, status)
			for _, secret := range []string{string(appiotest.Mario), "segreto", key, "127.0.0.1"} {
				require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err2), secret)
			}
			if status == 429 {
				var limited *appio.LimitedError
				require.ErrorAs(t, err, &limited)
				require.Equal(t, 7*time.Second, limited.After)
			}
		}
	})

	t.Run("an answer that is not what it must be is refused", func(t *testing.T) {
		t.Parallel()
		w := setup(t, func(o *remotecontent.Options) { o.MaxMessage = 10_000 })
		id := w.send(nothing)
		with := func(change func(map[string]any)) string {
			var v map[string]any
			require.NoError(t, json.Unmarshal([]byte(whole()), &v))
			change(v)
			b, err := json.Marshal(v)
			require.NoError(t, err)
			return string(b)
		}
		attachment := func(members ...any) string {
			return with(func(v map[string]any) { v["attachments"] = members })
		}
		details := func(name string, value any) string {
			return with(func(v map[string]any) { v["details"].(map[string]any)[name] = value })
		}
		for name, body := range map[string]string{
			"nothing": "", "HTML": "<html>", "a list": "[]", "a word": `"x"`, "null": "null", "cut off": whole()[:100], "more behind": whole() + "x",
			"not UTF-8": strings.Replace(whole(), "Atto", "\xff", 1), "too long": with(func(v map[string]any) { v["x"] = strings.Repeat("x", 10_000) }),
			"no attachments": with(func(v map[string]any) { delete(v, "attachments") }), "null for attachments": with(func(v map[string]any) { v["attachments"] = nil }),
			"attachments of another type": with(func(v map[string]any) { v["attachments"] = "x" }), "no details": with(func(v map[string]any) { delete(v, "details") }),
			"details of another type":  with(func(v map[string]any) { v["details"] = []any{} }),
			"an attachment without id": attachment(map[string]any{"url": "a"}), "without URL": attachment(map[string]any{"id": "1"}),
			"elsewhere":                attachment(map[string]any{"id": "1", "url": "https://example.it/a.pdf"}),
			"above":                    attachment(map[string]any{"id": "1", "url": "../other/a.pdf"}),
			"too many":                 attachment(make([]any, 101)...),
			"one that looks like ours": attachment(map[string]any{"id": "1", "url": "stored/01ARZ3NDEKTSV4RRFFQ69G5FAV"}),
			"no subject":               details("subject", nil), "a subject too short": details("subject", "x"), "a text too short": details("markdown", "x"),
			"a subject too long": details("subject", strings.Repeat("x", 121)), "a text of another type": details("markdown", 7),
		} {
			w.says(200, "application/json", body)
			_, _, err := w.reader.Open(t.Context(), w.citizen, id)
			require.ErrorIs(t, err, remotecontent.ErrAnswer, name)
		}
		w.says(200, "text/html", whole())
		_, _, err := w.reader.Open(t.Context(), w.citizen, id)
		require.ErrorIs(t, err, remotecontent.ErrAnswer)
		var answer *remotecontent.AnswerError
		w.says(200, "application/json", details("subject", "x"))
		_, _, err = w.reader.Open(t.Context(), w.citizen, id)
		require.ErrorAs(t, err, &answer)
		require.Equal(t, "SUBJECT_VALIDATION_ERROR", answer.Reason)
		for _, kind := range []string{"", "application/json", "application/problem+json", "text/plain; charset=utf-8"} {
			w.says(200, kind, whole())
			_, _, err = w.reader.Open(t.Context(), w.citizen, id)
			require.NoError(t, err, kind)
		}
	})
}

func TestPrecondition(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := t.Context()
	w.answers(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/precondition") {
			_, _ = io.WriteString(rw, `{"title":"Un atto con valore legale","markdown":"Se apri, vale come consegna.","x":1}`)
			return
		}
		_, _ = io.WriteString(rw, whole())
	})

	never := w.send(func(r *appio.RemoteContent) { r.Precondition = appio.Never })
	p, err := w.reader.Precondition(ctx, w.citizen, never)
	require.NoError(t, err)
	require.Nil(t, p)
	require.Zero(t, w.asked.Load())

	for precondition, again := range map[appio.Precondition]bool{appio.Once: false, appio.Always: true} {
		id := w.send(func(r *appio.RemoteContent) { r.Precondition = precondition })
		before := w.asked.Load()
		_, _, err := w.reader.Open(ctx, w.citizen, id)
		require.ErrorIs(t, err, appio.ErrForbidden, "it was not shown")
		_, err = w.reader.Attachment(ctx, w.citizen, id, "allegati/atto.pdf")
		require.ErrorIs(t, err, appio.ErrForbidden)
		require.Equal(t, before, w.asked.Load(), "and so nothing was fetched")

		p, err := w.reader.Precondition(ctx, w.citizen, id)
		require.NoError(t, err)
		require.Equal(t, &remotecontent.Precondition{Title: "Un atto con valore legale", Markdown: "Se apri, vale come consegna."}, p)
		m, _, err := w.reader.Open(ctx, w.citizen, id)
		require.NoError(t, err)
		require.True(t, m.Opening.AcceptedAt.IsZero(), "as it was before")
		m, err = w.citizen.Message(ctx, id)
		require.NoError(t, err)
		require.False(t, m.Opening.AcceptedAt.IsZero())
		require.Equal(t, "cie", m.Opening.Provider)

		p, err = w.reader.Precondition(ctx, w.citizen, id)
		require.NoError(t, err)
		require.Equal(t, again, p != nil)
		_, _, err = w.reader.Open(ctx, w.citizen, id)
		require.NoError(t, err)
	}

	// What is accepted is noted before anything is fetched, so that nothing is read without it.
	id := w.send(func(r *appio.RemoteContent) { r.Precondition = appio.Once })
	_, err = w.reader.Precondition(ctx, w.citizen, id)
	require.NoError(t, err)
	w.answers(func(rw http.ResponseWriter, _ *http.Request) {
		m, err := w.citizen.Message(ctx, id)
		if err == nil && !m.Opening.AcceptedAt.IsZero() {
			_, _ = io.WriteString(rw, whole())
		} else {
			rw.WriteHeader(500)
		}
	})
	_, _, err = w.reader.Open(ctx, w.citizen, id)
	require.NoError(t, err)

	id = w.send(func(r *appio.RemoteContent) { r.Precondition = appio.Once })
	for name, body := range map[string]string{"no title": `{"markdown":"x"}`, "no text": `{"title":"x"}`, "another type": `{"title":7,"markdown":"x"}`,
		"too long": `{"title":"` + strings.Repeat("x", 1001) + `","markdown":"x"}`, "no JSON": "x"} {
		w.says(200, "application/json", body)
		_, err := w.reader.Precondition(ctx, w.citizen, id)
		require.ErrorIs(t, err, remotecontent.ErrAnswer, name)
	}
	w.says(204, "", "")
	_, err = w.reader.Precondition(ctx, w.citizen, id)
	require.ErrorIs(t, err, remotecontent.ErrAnswer, "the message says that there is one")
	m, err := w.citizen.Message(ctx, id)
	require.NoError(t, err)
	require.Zero(t, m.Opening, "what could not be shown was not")
}

func TestAttachments(t *testing.T) {
	t.Parallel()

	t.Run("are PDF files of the system, given out as they come", func(t *testing.T) {
		t.Parallel()
		w := setup(t)
		id := w.send(nothing)
		w.says(200, "application/pdf", string(pdf))
		d, err := w.reader.Attachment(t.Context(), w.citizen, id, "allegati/atto 1.pdf?v=2")
		require.NoError(t, err)
		got, err := io.ReadAll(d.Body)
		require.NoError(t, err)
		require.NoError(t, d.Body.Close())
		require.Equal(t, pdf, got)
		require.Equal(t, "application/pdf", d.Type)
		require.Equal(t, "/io/messages/atto%2F7%20%C3%A0/allegati/atto%201.pdf", w.lastRequest().URL.EscapedPath())
		require.Equal(t, "v=2", w.lastRequest().URL.RawQuery)
	})

	t.Run("by no way out of the message", func(t *testing.T) {
		t.Parallel()
		w := setup(t)
		id := w.send(nothing)
		w.says(200, "application/pdf", string(pdf))
		for _, at := range []string{"", "/", ".", "..", "../7", "a/../../7", "a/./b", "a//b", "//example.it/a", "https://example.it/a.pdf", "%2e%2e/7", "a/%2E%2E/7",
			"%252e%252e/7", "a%2fb", "a%2F..%2Fb", `a\b`, "a%5cb", "a\x00b", "a%00b", "a#b", "a%23b", "a?b c", "a?b#c", "a\r\nb", "\xff", "%ff", strings.Repeat("a", 1001)} {
			_, err := w.reader.Attachment(t.Context(), w.citizen, id, at)
			require.ErrorIs(t, err, appio.ErrInvalid, "%q", at)
		}
		require.Zero(t, w.asked.Load())
		for at, path := range map[string]string{"a": "a", "/a/b": "a/b", "a b": "a%20b", "a%20b": "a%20b", "à": "%C3%A0", "a;b=c@d:e": "a%3Bb=c@d:e", "...": "...", "a..b": "a..b"} {
			d, err := w.reader.Attachment(t.Context(), w.citizen, id, at)
			require.NoError(t, err, at)
			require.NoError(t, d.Body.Close())
			require.Equal(t, "/io/messages/atto%2F7%20%C3%A0/"+path, w.lastRequest().URL.EscapedPath())
		}
		none := w.send(func(r *appio.RemoteContent) { r.Attachments = false })
		_, err := w.reader.Attachment(t.Context(), w.citizen, none, "a")
		require.ErrorIs(t, err, appio.ErrNotFound)
	})

	t.Run("of another kind, or without a PDF file's beginning, are refused before a byte of them is given out", func(t *testing.T) {
		t.Parallel()
		w := setup(t)
		id := w.send(nothing)
		for name, c := range map[string]struct{ kind, body string }{
			"HTML": {"text/html", "<html>"}, "HTML that begins as PDF": {"text/html", string(pdf)}, "HTML called PDF": {"application/pdf", "<html>"},
			"nothing": {"application/pdf", ""}, "too little": {"application/pdf", "%PDF"}, "a blank before": {"application/pdf", " %PDF-1.7"},
			"an image": {"image/png", "\x89PNG\r\n\x1a\n"}, "no kind": {"", "PK\x03\x04"},
		} {
			w.says(200, c.kind, c.body)
			_, err := w.reader.Attachment(t.Context(), w.citizen, id, "a")
			require.ErrorIs(t, err, remotecontent.ErrKind, name)
		}
		for _, kind := range []string{"", "application/octet-stream", "binary/octet-stream", "application/pdf;x=y"} {
			w.says(200, kind, string(pdf))
			d, err := w.reader.Attachment(t.Context(), w.citizen, id, "a")
			require.NoError(t, err, kind)
			require.NoError(t, d.Body.Close())
		}
	})

	t.Run("that a message carries are beside them", func(t *testing.T) {
		t.Parallel()
		w := setup(t)
		ctx := t.Context()
		doc, err := w.Sender(service).PutDocument(ctx, appiotest.Mario, appio.Document{Name: "Certificato.pdf", Type: "application/pdf"}, bytes.NewReader(pdf))
		require.NoError(t, err)
		m := appio.Message{To: appiotest.Mario, Subject: "Il certificato", Markdown: strings.Repeat("Il certificato. ", 10), Documents: []appio.Document{doc}}
		res, err := w.Sender(service).Send(ctx, m)
		require.NoError(t, err)
		_, c, err := w.reader.Open(ctx, w.citizen, res.ID)
		require.NoError(t, err)
		require.Equal(t, []remotecontent.Attachment{{ID: string(doc.ID), ContentType: "application/pdf", Name: "Certificato.pdf",
			URL: "stored/" + string(doc.ID), Category: "DOCUMENT"}}, c.Attachments)
		d, err := w.reader.Attachment(ctx, w.citizen, res.ID, c.Attachments[0].URL)
		require.NoError(t, err)
		got, err := io.ReadAll(d.Body)
		require.NoError(t, err)
		require.NoError(t, d.Body.Close())
		require.Equal(t, pdf, got)
		require.EqualValues(t, len(pdf), d.Size)
		p, err := w.reader.Precondition(ctx, w.citizen, res.ID)
		require.NoError(t, err)
		require.Nil(t, p)
		for _, at := range []string{"stored/01ARZ3NDEKTSV4RRFFQ69G5FAV", "stored/", "stored/../x", "a"} {
			_, err = w.reader.Attachment(ctx, w.citizen, res.ID, at)
			require.ErrorIs(t, err, appio.ErrNotFound, at)
		}
		require.Zero(t, w.asked.Load())
	})
}

// resolver answers every question for an IPv4 address with this one.
func resolver(a netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			size, question := make([]byte, 2), make([]byte, 1<<16)
			for {
				if _, err := io.ReadFull(server, size); err != nil {
					return
				}
				n := int(binary.BigEndian.Uint16(size))
				if _, err := io.ReadFull(server, question[:n]); err != nil {
					return
				}
				end := 12 + bytes.IndexByte(question[12:n], 0) + 5
				reply := append([]byte{question[0], question[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question[12:end]...)
				if question[end-3] == 1 { // type A
					reply[7] = 1
					reply = append(append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4), a.AsSlice()...)
				}
				if _, err := server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}
}

// TestHostileSystems has systems that are slow, endless, huge, lead elsewhere, or break off.
func TestHostileSystems(t *testing.T) {
	t.Parallel()

	t.Run("that do not answer in time are given up, and so is who asked", func(t *testing.T) {
		t.Parallel()
		w := setup(t, func(o *remotecontent.Options) { o.Timeout = 100 * time.Millisecond })
		id := w.send(nothing)
		gone := make(chan struct{}, 16)
		hang := func(rw http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			gone <- struct{}{}
		}
		drip := func(first string) http.HandlerFunc {
			return func(rw http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(rw, first)
				for r.Context().Err() == nil {
					_ = http.NewResponseController(rw).Flush()
					time.Sleep(10 * time.Millisecond)
					_, _ = io.WriteString(rw, " ")
				}
				gone <- struct{}{}
			}
		}
		for name, f := range map[string]http.HandlerFunc{"in silence": hang, "JSON by drops": drip("{")} {
			w.answers(f)
			_, _, err := w.reader.Open(t.Context(), w.citizen, id)
			require.ErrorIs(t, err, remotecontent.ErrTimeout, name)
			<-gone
		}
		for name, f := range map[string]http.HandlerFunc{"in silence": hang, "half a beginning": func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/pdf")
			_, _ = io.WriteString(rw, "%PD")
			_ = http.NewResponseController(rw).Flush()
			hang(rw, r)
		}} {
			w.answers(f)
			_, err := w.reader.Attachment(t.Context(), w.citizen, id, "a")
			require.ErrorIs(t, err, remotecontent.ErrTimeout, name)
			<-gone
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the citizen has gone")
		time.AfterFunc(20*time.Millisecond, func() { cancel(why) })
		w.answers(hang)
		_, _, err := w.reader.Open(ctx, w.citizen, id)
		require.ErrorIs(t, err, why)
		<-gone
	})

	t.Run("whose documents never end, or are longer than they may be, break off and do not end well", func(t *testing.T) {
		t.Parallel()
		w := setup(t, func(o *remotecontent.Options) { o.MaxDocument, o.Transfer = 100_000, 300*time.Millisecond })
		id := w.send(nothing)
		w.answers(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", strconv.Itoa(len(pdf)))
			_, _ = rw.Write(pdf)
		})
		_, err := w.reader.Attachment(t.Context(), w.citizen, id, "a")
		require.ErrorIs(t, err, remotecontent.ErrAnswer)

		flood := make([]byte, 1<<16)
		w.answers(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = rw.Write(pdf[:100])
			for r.Context().Err() == nil {
				if _, err := rw.Write(flood); err != nil {
					return
				}
			}
		})
		d, err := w.reader.Attachment(t.Context(), w.citizen, id, "a")
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, d.Body)
		require.ErrorIs(t, err, remotecontent.ErrAnswer)
		require.LessOrEqual(t, n, int64(100_000))
		require.NoError(t, d.Body.Close())

		w.answers(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = rw.Write(pdf[:100])
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		})
		d, err = w.reader.Attachment(t.Context(), w.citizen, id, "a")
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, d.Body)
		require.ErrorIs(t, err, remotecontent.ErrTimeout)
		require.NoError(t, d.Body.Close())

		w.answers(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Length", "50000")
			_, _ = rw.Write(pdf[:100])
			panic(http.ErrAbortHandler)
		})
		if d, err = w.reader.Attachment(t.Context(), w.citizen, id, "a"); err == nil {
			_, err = io.Copy(io.Discard, d.Body)
			require.NoError(t, d.Body.Close())
		}
		require.ErrorIs(t, err, remotecontent.ErrAnswer, "it breaks off")

		w.answers(func(rw http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := rw.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
					return
				}
			}
		})
		_, _, err = w.reader.Open(t.Context(), w.citizen, id)
		require.ErrorIs(t, err, remotecontent.ErrAnswer, "JSON that never begins")
	})

	t.Run("that lead elsewhere are not followed", func(t *testing.T) {
		t.Parallel()
		w := setup(t)
		inside := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was followed") }))
		defer inside.Close()
		id := w.send(nothing)
		for _, status := range []int{301, 302, 303, 307, 308} {
			w.answers(func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, inside.URL+"/metadata", status) })
			_, _, err := w.reader.Open(t.Context(), w.citizen, id)
			require.ErrorIs(t, err, remotecontent.ErrAnswer)
		}
	})

	t.Run("in the host's own network are not reached, by any spelling or name", func(t *testing.T) {
		t.Parallel()
		for _, to := range []string{"127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "localhost", "2130706433", "127.1"} {
			w := setup(t, func(o *remotecontent.Options) { o.Allow = nil })
			port := w.server.Listener.Addr().(*net.TCPAddr).Port
			w.conf = w.put(func(c *appio.RemoteConfiguration) { c.Production.URL = fmt.Sprintf("https://%s:%d", to, port) })
			w.says(200, "application/json", whole())
			_, _, err := w.reader.Open(t.Context(), w.citizen, w.send(nothing))
			require.ErrorIs(t, err, remotecontent.ErrAnswer, to)
			require.Zero(t, w.asked.Load(), to)
		}
	})

	t.Run("whose name resolves to the host's own network a moment later are not reached", func(t *testing.T) {
		t.Parallel()
		// What counts is the address that is dialled, and not what the name was when the configuration was entered.
		w := setup(t, func(o *remotecontent.Options) {
			o.Allow, o.Resolver = nil, resolver(netip.MustParseAddr("127.0.0.1"))
			o.Ports = append(o.Ports, 443)
		})
		w.conf = w.put(func(c *appio.RemoteConfiguration) {
			c.Production.URL = "https://rebinding.example.it:" + strconv.Itoa(w.server.Listener.Addr().(*net.TCPAddr).Port)
		})
		require.NoError(t, w.reader.Check(w.conf))
		_, _, err := w.reader.Open(t.Context(), w.citizen, w.send(nothing))
		require.ErrorIs(t, err, remotecontent.ErrAnswer)
		require.ErrorContains(t, err, "not an address that may be reached", "which is what the name resolved to")
		require.Zero(t, w.asked.Load())
	})

	t.Run("are not held by one citizen who reads slowly", func(t *testing.T) {
		t.Parallel()
		w := setup(t, func(o *remotecontent.Options) { o.Concurrent = 6 })
		w.says(200, "application/pdf", string(pdf))
		id := w.send(nothing)
		anna := w.Citizen(appio.Identity{Code: appiotest.Anna, Level: appio.L2})
		require.NoError(t, anna.SetMode(t.Context(), appio.Auto))
		m := appiotest.Message(appiotest.Anna)
		m.Remote = &appio.RemoteContent{ID: "7", Configuration: w.conf.ID, Attachments: true}
		sent, err := w.Sender(service).Send(t.Context(), m)
		require.NoError(t, err)
		var open []io.Closer
		for range 4 {
			d, err := w.reader.Attachment(t.Context(), w.citizen, id, "a")
			require.NoError(t, err)
			open = append(open, d.Body)
		}
		_, err = w.reader.Attachment(t.Context(), w.citizen, id, "a")
		require.ErrorIs(t, err, appio.ErrLimited)
		d, err := w.reader.Attachment(t.Context(), anna, sent.ID, "a")
		require.NoError(t, err, "somebody else is let in")
		for _, c := range append(open, d.Body) {
			require.NoError(t, c.Close())
		}
		d, err = w.reader.Attachment(t.Context(), w.citizen, id, "a")
		require.NoError(t, err)
		require.NoError(t, d.Body.Close())
	})

	t.Run("are not held by a host's signing that panics", func(t *testing.T) {
		t.Parallel()
		sick := true
		w := setup(t, func(o *remotecontent.Options) {
			o.Concurrent = 4
			o.Sign = func(context.Context, fiscalcode.Person, *http.Request) error {
				if sick {
					panic("no key")
				}
				return nil
			}
		})
		w.says(200, "application/json", whole())
		w.conf = w.put(func(c *appio.RemoteConfiguration) { c.Signed = true })
		id := w.send(nothing)
		for range 20 {
			require.Panics(t, func() { _, _, _ = w.reader.Open(t.Context(), w.citizen, id) })
		}
		sick = false
		_, _, err := w.reader.Open(t.Context(), w.citizen, id)
		require.NoError(t, err)
	})

	t.Run("that are slow hold up their own readers alone", func(t *testing.T) {
		t.Parallel()
		w := setup(t, func(o *remotecontent.Options) { o.Concurrent = 4 })
		slow := w.conf
		id := w.send(nothing)
		w.conf = w.put(func(c *appio.RemoteConfiguration) { c.Production.URL = w.server.URL + "/sano" })
		healthy := w.send(nothing)
		free := make(chan struct{})
		w.answers(func(rw http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/sano") {
				<-free
			}
			_, _ = io.WriteString(rw, whole())
		})
		var all sync.WaitGroup
		var limited, opened atomic.Int64
		for range 20 {
			all.Go(func() {
				_, _, err := w.reader.Open(t.Context(), w.citizen, id)
				switch {
				case err == nil:
					opened.Add(1)
				case errors.Is(err, appio.ErrLimited):
					limited.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		require.Eventually(t, func() bool { return limited.Load() == 16 }, 5*time.Second, time.Millisecond)
		_, _, err := w.reader.Open(t.Context(), w.citizen, healthy)
		require.NoError(t, err, "another system is as it was")
		close(free)
		all.Wait()
		require.EqualValues(t, 4, opened.Load())
		for range 10 { // places are given back, whatever became of who had them
			w.conf = slow
			_, _, err := w.reader.Open(t.Context(), w.citizen, id)
			require.NoError(t, err)
			d, err := w.reader.Attachment(t.Context(), w.citizen, id, "a")
			require.ErrorIs(t, err, remotecontent.ErrKind)
			require.Nil(t, d)
		}
	})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	w := setup(t, func(o *remotecontent.Options) { o.Ports = append(o.Ports, 443) })
	root := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw}))
	base := w.conf
	with := func(change func(*appio.RemoteSystem)) error {
		c, s := base, *base.Production
		change(&s)
		c.Production = &s
		return w.reader.Check(c)
	}
	require.NoError(t, with(func(*appio.RemoteSystem) {}))
	require.NoError(t, with(func(s *appio.RemoteSystem) { s.URL, s.Roots = "https://example.it/io", root }))
	for field, change := range map[string]func(*appio.RemoteSystem){
		"Production.URL":         func(s *appio.RemoteSystem) { s.URL = "https://10.0.0.1/io" },
		"Production.Certificate": func(s *appio.RemoteSystem) { s.Certificate, s.PrivateKey = "x", "y" },
		"Production.Key":         func(s *appio.RemoteSystem) { s.Key = "" },
	} {
		var bad *appio.FieldError
		require.ErrorAs(t, with(change), &bad, field)
		require.Equal(t, field, bad.Field)
		require.NotContains(t, bad.Error(), "10.0.0.1")
	}
	for _, change := range []func(*appio.RemoteSystem){
		func(s *appio.RemoteSystem) { s.URL = "http://example.it" }, func(s *appio.RemoteSystem) { s.URL = "https://example.it:8443" },
		func(s *appio.RemoteSystem) { s.URL = "https://[::1]" }, func(s *appio.RemoteSystem) { s.Roots = "x" },
	} {
		require.ErrorIs(t, with(change), appio.ErrInvalid)
	}

	// A system's own roots are trusted for it, and those of the machine no more.
	_, err := remotecontent.New(w.Engine, &remotecontent.Options{Timeout: -1})
	require.ErrorIs(t, err, appio.ErrInvalid)
	o := &remotecontent.Options{}
	w.allow(o, w.server.URL)
	o.TLS = nil
	plain, err := remotecontent.New(w.Engine, o)
	require.NoError(t, err)
	w.says(200, "application/json", whole())
	_, _, err = plain.Open(t.Context(), w.citizen, w.send(nothing))
	require.ErrorIs(t, err, remotecontent.ErrAnswer, "nobody knows its certificate")
	w.conf = w.put(func(c *appio.RemoteConfiguration) {
		c.Production.Roots = root
	})
	_, _, err = plain.Open(t.Context(), w.citizen, w.send(nothing))
	require.NoError(t, err)
}

// FuzzOpen has a system answer anything: there is no panic, and what is given keeps to what the message says.
func FuzzOpen(f *testing.F) {
	f.Add(whole(), true, true)
	f.Add(`{"attachments":[{"id":"1","url":"../x"}]}`, true, false)
	f.Add(`{"details":{"subject":7}}`, false, true)
	f.Add("", false, false)
	f.Fuzz(func(t *testing.T, body string, attachments, text bool) {
		remotecontent.Judge(t, body, attachments, text)
	})
}

// FuzzRelative has a citizen ask for anything.
func FuzzRelative(f *testing.F) {
	for _, at := range []string{"a/b.pdf?x=1", "../x", "%2e%2e%2f", "https://example.it", "//x", "a%252e%252e", "\\..\\x"} {
		f.Add(at)
	}
	f.Fuzz(func(t *testing.T, at string) { remotecontent.JudgeURL(t, at) })
}
