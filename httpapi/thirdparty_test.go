package httpapi_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
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
	"github.com/appio-go/appio/blob/memblob"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/remotecontent"
	"github.com/appio-go/appio/store/memstore"
)

const (
	thirdParty   = communication + "/third-party-messages/"
	configsPath  = "/api/v1/messages-sending/remote-contents/configurations"
	managing     = "key-for-managing-the-comune"
	secretOfRC   = "la-chiave-del-sistema-remoto"
	otherManages = "key-for-managing-another-one"
)

var act = append([]byte("%PDF-1.7\n"), bytes.Repeat([]byte("atto "), 50_000)...)

// An archive is a world with an authority's system, which answers as a test says.
type archive struct {
	*world
	server *httptest.Server
	conf   appio.ConfigurationID
	logged *bytes.Buffer

	mu     sync.Mutex
	answer http.HandlerFunc
}

func setupArchive(t testing.TB, changes ...func(*httpapi.Options)) *archive {
	t.Helper()
	ctx := t.Context()
	a := &archive{logged: &bytes.Buffer{}}
	a.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		answer := a.answer
		a.mu.Unlock()
		answer(w, r)
	}))
	a.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	a.server.StartTLS()
	t.Cleanup(a.server.Close)
	u, err := url.Parse(a.server.URL)
	require.NoError(t, err)
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	require.NoError(t, err)

	// The reader is the engine's own, which the handler's options need before there is one: two engines on one store.
	s, keys, blobs := memstore.New(), appio.RandomKeys(), memblob.New()
	eng, err := appio.New(s, &appio.Options{Keys: keys, Documents: blobs})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, eng.Close()) })
	reader, err := remotecontent.New(eng, &remotecontent.Options{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Ports: []uint16{uint16(port), 443}, Timeout: 2 * time.Second,
		TLS: a.server.Client().Transport.(*http.Transport).TLSClientConfig, MaxMessage: 20_000, MaxDocument: 1 << 20, Concurrent: 2,
	})
	require.NoError(t, err)
	o := &httpapi.Options{Remote: reader, Logger: slog.New(slog.NewTextHandler(&lockedBuffer{b: a.logged}, nil))}
	for _, change := range changes {
		change(o)
	}
	a.world = setupAppOn(t, s, &appio.Options{Keys: keys, Documents: blobs}, o)
	for code, key := range map[fiscalcode.Organization]string{comune: managing, "80078750587": otherManages} {
		require.NoError(t, a.eng.Authority(code).PutManageKey(ctx, appio.ManageKey{ID: "software", Role: appio.Administrator}))
		require.NoError(t, a.eng.Authority(code).SetManageKey(ctx, "software", appio.Primary, key))
	}
	var made httpapi.CreatedRCConfiguration
	a.manage("POST", configsPath, rcConfiguration(a.server.URL)).into(201, &made)
	a.conf = made.ID
	return a
}

type lockedBuffer struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (a *archive) answers(f http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = f
}

func (a *archive) says(status int, body string) {
	a.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func (a *archive) manage(method, path string, body any) answered {
	a.t.Helper()
	return a.ask(method, path, body, httpapi.KeyHeader, managing)
}

func rcConfiguration(at string, changes ...any) object {
	c := object{
		"name": "Protocollo", "description": "Gli atti del protocollo", "has_precondition": "NEVER", "disable_lollipop_for": []string{},
		"is_lollipop_enabled": false, "prod_environment": object{"base_url": at, "details_authentication": object{
			"header_key_name": "X-Api-Key", "key": secretOfRC, "type": "API-KEY"}},
	}
	for i := 0; i < len(changes); i += 2 {
		o, path := c, strings.Split(changes[i].(string), ".")
		for _, name := range path[:len(path)-1] {
			o = o[name].(object)
		}
		if o[path[len(path)-1]] = changes[i+1]; changes[i+1] == nil {
			delete(o, path[len(path)-1])
		}
	}
	return c
}

// sendAct sends a premium message with remote content over HTTP.
func (a *archive) sendAct(changes ...any) string {
	a.t.Helper()
	l := letter(append([]any{"feature_level_type", "ADVANCED", "content.third_party_data", object{
		"id": "atto 7", "configuration_id": a.conf, "has_attachments": true, "has_remote_content": true, "summary": "Un atto"}}, changes...)...)
	return a.send(mensa, ada, l)
}

func saysOfAct() string {
	b, _ := json.Marshal(object{
		"attachments": []object{{"id": "1", "url": "allegati/atto 1.pdf", "name": "Atto", "content_type": "application/pdf"}},
		"details":     object{"subject": "L'atto per intero", "markdown": strings.Repeat("Il testo dell'atto. ", 6), "iun": "X-7"}, "custom_property": "x",
	})
	return string(b)
}

func TestThirdPartyMessage(t *testing.T) {
	t.Parallel()
	a := setupArchive(t)
	id := a.sendAct()

	var got struct {
		ID         string `json:"id"`
		FiscalCode string `json:"fiscal_code"`
		SenderID   string `json:"sender_service_id"`
		CreatedAt  string `json:"created_at"`
		Content    object `json:"content"`
		ThirdParty object `json:"third_party_message"`
	}
	a.says(200, saysOfAct())
	a.by(ada, "GET", thirdParty+id, nil).into(200, &got)
	require.Equal(t, id, got.ID)
	require.Equal(t, string(ada), got.FiscalCode)
	require.Equal(t, string(mensa), got.SenderID)
	require.NotEmpty(t, got.CreatedAt)
	require.Equal(t, "Iscrizione alla mensa", got.Content["subject"])
	require.Equal(t, "atto 7", got.Content["third_party_data"].(object)["id"])
	third, err := json.Marshal(got.ThirdParty)
	require.NoError(t, err)
	require.JSONEq(t, saysOfAct(), string(third))

	// An attachment, by the URL that the answer has.
	a.answers(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != "/messages/atto%207/allegati/atto%201.pdf" || r.Header.Get("fiscal_code") != string(ada) {
			w.WriteHeader(404)
		}
		_, _ = w.Write(act)
	})
	for _, at := range []string{"allegati/atto%201.pdf", "allegati%2Fatto%201.pdf", "%2Fallegati/atto%201.pdf"} {
		doc := a.by(ada, "GET", thirdParty+id+"/attachments/"+at, nil)
		require.Equal(t, 200, doc.StatusCode, "%s: %s", at, doc.body)
		require.Equal(t, "application/octet-stream", doc.Header.Get("Content-Type"))
		require.Equal(t, "nosniff", doc.Header.Get("X-Content-Type-Options"))
		require.Equal(t, "no-store", doc.Header.Get("Cache-Control"))
		require.Equal(t, act, doc.body)
	}

	t.Run("who may not", func(t *testing.T) {
		for _, path := range []string{"", "/precondition", "/attachments/a"} {
			require.Equal(t, 401, a.ask("GET", thirdParty+id+path, nil).StatusCode)
			require.Equal(t, 403, a.ask("GET", thirdParty+id+path, nil, "Authorization", "Bearer too-low").StatusCode)
			a.by(bruno, "GET", thirdParty+id+path, nil).problem(404, "Message not found")
			for _, other := range []string{"01CFAGRMGB9XCA8B2CQ4QA7K76", "x", "%20"} {
				a.by(ada, "GET", thirdParty+other+path, nil).problem(404, "Message not found")
			}
		}
		a.by(ada, "GET", thirdParty+id+"/attachments", nil).problem(404, "")
		require.Equal(t, 405, a.by(ada, "POST", thirdParty+id, nil).StatusCode)
	})

	t.Run("a message without any is 400", func(t *testing.T) {
		plain := a.send(mensa, ada, letter())
		for _, path := range []string{"", "/precondition", "/attachments/a"} {
			p := a.by(ada, "GET", thirdParty+plain+path, nil).problem(400, "")
			require.Contains(t, p.Detail, "third-party data")
		}
	})

	t.Run("what the system answers is answered by IO's codes", func(t *testing.T) {
		ask := a.sendAct("content.third_party_data.has_precondition", "ALWAYS")
		a.says(200, `{"title":"Un atto","markdown":"Se apri, vale come consegna."}`)
		a.by(ada, "GET", thirdParty+ask+"/precondition", nil).into(200, &object{})
		for status, want := range map[int]int{400: 400, 401: 502, 403: 403, 404: 404, 410: 410, 429: 429, 500: 502, 503: 502, 504: 504, 302: 502} {
			a.says(status, "il segreto di "+string(ada))
			for path, failed := range map[string]int{"": 502, "/precondition": 500, "/attachments/a": 500} {
				want := want
				if want == 502 {
					want = failed
				}
				got := a.by(ada, "GET", thirdParty+ask+path, nil)
				p := got.problem(want, "")
				require.NotContains(t, string(got.body), "segreto")
				require.NotEmpty(t, p.Title)
				if want == 429 {
					require.NotEmpty(t, got.Header.Get("Retry-After"))
				}
			}
		}
		a.says(200, "<html>")
		a.by(ada, "GET", thirdParty+ask, nil).problem(502, "Bad Gateway")
		a.by(ada, "GET", thirdParty+ask+"/precondition", nil).problem(500, "")
		a.by(ada, "GET", thirdParty+ask+"/attachments/a", nil).problem(415, "Unsupported Media Type")
		a.says(200, `{"attachments":null}`)
		require.Equal(t, "ATTACHMENTS_NOT_PRESENT", a.by(ada, "GET", thirdParty+ask, nil).problem(502, "").Detail)
		a.answers(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		for _, path := range []string{"", "/precondition", "/attachments/a"} {
			a.by(ada, "GET", thirdParty+ask+path, nil).problem(504, "Gateway Timeout")
		}
		for _, at := range []string{"%2e%2e/7", "..%2f..", "a%5cb", "a%00", "https:%2f%2fexample.it%2fx"} {
			require.Contains(t, []int{400, 404}, a.by(ada, "GET", thirdParty+ask+"/attachments/"+at, nil).StatusCode, at)
		}
	})

	t.Run("a document that breaks off breaks the answer off", func(t *testing.T) {
		a.answers(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(act)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		req, err := http.NewRequest("GET", a.url+thirdParty+id+"/attachments/a", nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+string(ada))
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		require.Error(t, err, "a part is not taken for the whole")

		flood := make([]byte, 1<<16)
		a.answers(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(act[:100])
			for r.Context().Err() == nil {
				if _, err := w.Write(flood); err != nil {
					return
				}
			}
		})
		resp, err = http.DefaultClient.Do(req.Clone(t.Context()))
		require.NoError(t, err)
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		require.Error(t, err)
		require.LessOrEqual(t, n, int64(1<<20))
	})

	t.Run("too many at once are 429", func(t *testing.T) {
		free := make(chan struct{})
		release := sync.OnceFunc(func() { close(free) })
		defer release()
		var inside sync.WaitGroup
		inside.Add(2)
		a.answers(func(w http.ResponseWriter, r *http.Request) {
			inside.Done()
			<-free
			_, _ = io.WriteString(w, saysOfAct())
		})
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { a.by(ada, "GET", thirdParty+id, nil) })
		}
		inside.Wait()
		got := a.by(ada, "GET", thirdParty+id, nil)
		got.problem(429, "")
		require.Equal(t, "1", got.Header.Get("Retry-After"))
		release()
		all.Wait()
	})

	for _, secret := range []string{string(ada), secretOfRC, "segreto", a.server.URL} {
		require.NotContains(t, a.logged.String(), secret)
	}
}

func TestThirdPartyPrecondition(t *testing.T) {
	t.Parallel()
	a := setupArchive(t)
	a.answers(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/precondition") {
			_, _ = io.WriteString(w, `{"title":"Un atto con valore legale","markdown":"Se apri, vale come consegna."}`)
			return
		}
		_, _ = io.WriteString(w, saysOfAct())
	})
	due := func(id string) bool {
		var page httpapi.MessagePage
		a.by(ada, "GET", communication+"/messages?enrich_result_data=true", nil).into(200, &page)
		for _, m := range page.Items {
			if string(m.ID) == id {
				return m.HasPrecondition
			}
		}
		t.Fatal("no such message")
		return false
	}
	for has, again := range map[string]bool{"ONCE": false, "ALWAYS": true} {
		id := a.sendAct("content.third_party_data.has_precondition", has)
		require.True(t, due(id))
		a.by(ada, "GET", thirdParty+id, nil).problem(403, "")
		a.by(ada, "GET", thirdParty+id+"/attachments/a", nil).problem(403, "")
		var p object
		a.by(ada, "GET", thirdParty+id+"/precondition", nil).into(200, &p)
		require.Equal(t, object{"title": "Un atto con valore legale", "markdown": "Se apri, vale come consegna."}, p)
		a.by(ada, "GET", thirdParty+id, nil).into(200, &p)
		require.Equal(t, again, due(id), has)
		status := a.by(ada, "GET", thirdParty+id+"/precondition", nil).StatusCode
		require.Equal(t, map[bool]int{true: 200, false: 204}[again], status)
		m, err := a.citizen(ada).Message(t.Context(), appio.MessageID(id))
		require.NoError(t, err)
		require.False(t, m.Opening.AcceptedAt.IsZero())
		require.Equal(t, appio.L2, m.Opening.Level)
	}
	never := a.sendAct()
	require.False(t, due(never))
	require.Equal(t, 204, a.by(ada, "GET", thirdParty+never+"/precondition", nil).StatusCode)
}

func TestStoredDocuments(t *testing.T) {
	t.Parallel()
	a := setupArchive(t)
	a.says(500, "")
	doc, err := a.eng.Sender(mensa).PutDocument(t.Context(), ada, appio.Document{Name: "Certificato.pdf", Type: "application/pdf"}, bytes.NewReader(act))
	require.NoError(t, err)
	id := a.message(mensa, ada, func(m *appio.Message) { m.Documents = []appio.Document{doc} })

	var got struct {
		Content httpapi.MessageContent `json:"content"`
		Third   struct {
			Attachments []remotecontent.Attachment `json:"attachments"`
		} `json:"third_party_message"`
	}
	a.by(ada, "GET", communication+"/messages/"+string(id), nil).into(200, &got)
	require.True(t, *got.Content.ThirdParty.HasAttachments, "an app that knows attachments of IO shows it")
	a.by(ada, "GET", thirdParty+string(id), nil).into(200, &got)
	require.Equal(t, []remotecontent.Attachment{{ID: string(doc.ID), ContentType: "application/pdf", Name: "Certificato.pdf",
		URL: "stored/" + string(doc.ID), Category: "DOCUMENT"}}, got.Third.Attachments)
	file := a.by(ada, "GET", thirdParty+string(id)+"/attachments/"+got.Third.Attachments[0].URL, nil)
	require.Equal(t, 200, file.StatusCode)
	require.Equal(t, act, file.body)
	require.EqualValues(t, len(act), file.ContentLength)
	require.Equal(t, 204, a.by(ada, "GET", thirdParty+string(id)+"/precondition", nil).StatusCode)
	a.by(ada, "GET", thirdParty+string(id)+"/attachments/stored/01CFAGRMGB9XCA8B2CQ4QA7K76", nil).problem(404, "")
	a.by(bruno, "GET", thirdParty+string(id)+"/attachments/stored/"+string(doc.ID), nil).problem(404, "")
}

// A client that asks for a document and does not read it holds nothing for longer than Options.Timeout.
func TestDocumentsAreNotHeldByWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	served := make(chan int, 8)
	a := setupArchive(t, func(o *httpapi.Options) {
		o.Timeout = 200 * time.Millisecond
		o.Served = func(route string, status int, _ time.Duration) {
			if strings.Contains(route, "attachments") {
				served <- status
			}
		}
	})
	large := append([]byte("%PDF-1.7\n"), make([]byte, 9<<20)...) // more than the connection's buffers take
	doc, err := a.eng.Sender(mensa).PutDocument(t.Context(), ada, appio.Document{Name: "Certificato.pdf", Type: "application/pdf"}, bytes.NewReader(large))
	require.NoError(t, err)
	id := a.message(mensa, ada, func(m *appio.Message) { m.Documents = []appio.Document{doc} })
	at := thirdParty + string(id) + "/attachments/stored/" + string(doc.ID)

	u, err := url.Parse(a.url)
	require.NoError(t, err)
	conn, err := net.Dial("tcp", u.Host)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", at, string(ada))
	require.NoError(t, err)
	select {
	case status := <-served:
		require.Equal(t, 200, status, "it was begun")
	case <-time.After(20 * time.Second):
		t.Fatal("the request is still under way")
	}
	whole := a.by(ada, "GET", at, nil) // who reads gets all of it
	require.Equal(t, large, whole.body)
}

// One citizen has some documents under way at once, and takes no places from others; what is broken off makes room.
func TestDocumentsAtOnce(t *testing.T) {
	t.Parallel()
	a := setupArchive(t, func(o *httpapi.Options) { o.Timeout = 3 * time.Second })
	large := append([]byte("%PDF-1.7\n"), make([]byte, 9<<20)...) // more than the connection's buffers take
	at := map[fiscalcode.Person]string{}
	for _, code := range []fiscalcode.Person{ada, bruno} {
		doc, err := a.eng.Sender(tributi).PutDocument(t.Context(), code, appio.Document{Name: "Certificato.pdf", Type: "application/pdf"}, bytes.NewReader(large))
		require.NoError(t, err)
		id := a.message(tributi, code, func(m *appio.Message) { m.Documents = []appio.Document{doc} })
		at[code] = thirdParty + string(id) + "/attachments/stored/" + string(doc.ID)
	}
	u, err := url.Parse(a.url)
	require.NoError(t, err)
	for range 8 {
		conn, err := net.Dial("tcp", u.Host)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
		_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", at[ada], string(ada))
		require.NoError(t, err)
		_, err = conn.Read(make([]byte, 1)) // it has begun
		require.NoError(t, err)
	}
	full := a.by(ada, "GET", at[ada], nil)
	full.problem(http.StatusTooManyRequests, "Too many requests")
	require.Equal(t, "5", full.Header.Get("Retry-After"))
	require.Equal(t, large, a.by(bruno, "GET", at[bruno], nil).body)
	require.Eventually(t, func() bool { return bytes.Equal(large, a.by(ada, "GET", at[ada], nil).body) }, 20*time.Second, 100*time.Millisecond)
	a.by(ada, "GET", thirdParty+"01CFAGRMGB9XCA8B2CQ4QA7K76/attachments/stored/x", nil).problem(http.StatusNotFound, "")
}

func TestWithoutAReaderOfRemoteContent(t *testing.T) {
	t.Parallel()
	w := setupApp(t, nil, nil)
	id := w.send(mensa, ada, letter())
	for _, path := range []string{"", "/precondition", "/attachments/a"} {
		w.by(ada, "GET", thirdParty+id+path, nil).problem(501, "Not Implemented")
	}
}

func TestRemoteConfigurations(t *testing.T) {
	t.Parallel()
	a := setupArchive(t)
	one := configsPath + "/" + string(a.conf)

	want := rcConfiguration(a.server.URL)
	want["configuration_id"], want["user_id"] = string(a.conf), string(comune)
	expected, err := json.Marshal(want)
	require.NoError(t, err)
	got := a.manage("GET", one, nil)
	require.Equal(t, 200, got.StatusCode)
	require.JSONEq(t, string(expected), string(got.body))
	var list struct {
		List []object `json:"rcConfigList"`
	}
	a.manage("GET", configsPath, nil).into(200, &list)
	require.Len(t, list.List, 1)
	b, err := json.Marshal(list.List[0])
	require.NoError(t, err)
	require.JSONEq(t, string(expected), string(b))

	// Replaced, with a test environment and certificates, which IO's document does not have: a client that does not know them leaves them.
	root := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.server.Certificate().Raw}))
	test := object{"base_url": a.server.URL + "/prova", "test_users": []string{string(ada)}, "details_authentication": object{
		"header_key_name": "Authorization", "key": "Bearer x", "type": "token", "cert": object{"server_ca": root}}}
	full := rcConfiguration(a.server.URL, "has_precondition", "ALWAYS", "disable_lollipop_for", []string{string(bruno)}, "is_lollipop_enabled", true, "test_environment", test)
	put := a.manage("PUT", one, full)
	require.Equal(t, 204, put.StatusCode, "%s", put.body)
	require.Empty(t, put.body)
	delete(test["details_authentication"].(object), "cert")
	require.Equal(t, 204, a.manage("PUT", one, full).StatusCode)
	is, err := a.eng.Authority(comune).RemoteConfiguration(t.Context(), a.conf)
	require.NoError(t, err)
	require.Equal(t, root, is.Test.Roots)
	require.True(t, is.Signed)
	require.Equal(t, []fiscalcode.Person{ada}, is.TestUsers)
	var shown httpapi.OwnedRCConfiguration
	a.manage("GET", one, nil).into(200, &shown)
	require.Equal(t, root, shown.Test.Authentication.Cert.Roots)
	test["details_authentication"].(object)["cert"] = object{}
	require.Equal(t, 204, a.manage("PUT", one, full).StatusCode)
	is, err = a.eng.Authority(comune).RemoteConfiguration(t.Context(), a.conf)
	require.NoError(t, err)
	require.Empty(t, is.Test.Roots)
	test["details_authentication"].(object)["cert"] = object{"client_cert": "x", "client_key": secretOfRC}
	got = a.manage("PUT", one, full)
	require.Contains(t, got.problem(400, "Bad parameters").Detail, "test_environment.details_authentication.cert")
	require.NotContains(t, string(got.body), secretOfRC)

	t.Run("what cannot work is 400, by the member's name", func(t *testing.T) {
		for name, value := range map[string]any{
			"name": "", "description": "", "has_precondition": "SOMETIMES", "disable_lollipop_for": []string{"x"}, "is_lollipop_enabled": "no",
			"prod_environment.base_url": "http://example.it", "prod_environment.details_authentication.header_key_name": "a b",
			"prod_environment.details_authentication.key": "", "prod_environment.details_authentication.type": "",
			"prod_environment.details_authentication.header_key_name ": nil,
		} {
			name = strings.TrimSpace(name)
			for _, how := range []struct{ method, path string }{{"POST", configsPath}, {"PUT", one}} {
				p := a.manage(how.method, how.path, rcConfiguration("https://example.it", name, value)).problem(400, "Bad parameters")
				require.Contains(t, p.Detail, name)
			}
		}
		for _, to := range []string{"https://127.0.0.1:1", "https://10.0.0.1", "https://169.254.169.254", "https://u:p@example.it", "ftp://example.it"} {
			p := a.manage("POST", configsPath, rcConfiguration(to)).problem(400, "Bad parameters")
			require.Contains(t, p.Detail, "prod_environment.base_url")
			require.NotContains(t, p.Detail, "10.0.0.1")
		}
		a.manage("POST", configsPath, "{").problem(400, "")
		a.manage("POST", configsPath, object{}).problem(400, "")
	})

	t.Run("who may not", func(t *testing.T) {
		for _, how := range []struct {
			method, path string
			body         any
		}{{"POST", configsPath, rcConfiguration("https://example.it")}, {"GET", configsPath, nil}, {"GET", one, nil}, {"PUT", one, rcConfiguration("https://example.it")}} {
			a.ask(how.method, how.path, how.body).problem(401, "Unauthorized")
			a.ask(how.method, how.path, how.body, httpapi.KeyHeader, "a key that nobody has made").problem(401, "Unauthorized")
			a.as(mensa, how.method, how.path, how.body).problem(403, "") // a key of the other kind
		}
		for _, method := range []string{"GET", "PUT"} {
			var body any
			if method == "PUT" {
				body = rcConfiguration("https://example.it")
			}
			a.ask(method, one, body, httpapi.KeyHeader, otherManages).problem(404, "Configuration not found")
			for _, id := range []string{"01CFAGRMGB9XCA8B2CQ4QA7K76", "x", "%2e%2e"} {
				a.manage(method, configsPath+"/"+id, body).problem(404, "")
			}
		}
		a.ask("GET", configsPath, nil, httpapi.KeyHeader, otherManages).into(200, &list)
		require.Empty(t, list.List)
		viewer := "key-of-somebody-who-looks"
		require.NoError(t, a.eng.Authority(comune).PutManageKey(t.Context(), appio.ManageKey{ID: "v", Role: appio.Editor}))
		require.NoError(t, a.eng.Authority(comune).SetManageKey(t.Context(), "v", appio.Primary, viewer))
		a.ask("GET", one, nil, httpapi.KeyHeader, viewer).problem(403, "")
	})

	t.Run("the hundred and first is 400", func(t *testing.T) {
		for i := range 99 {
			require.Equal(t, 201, a.manage("POST", configsPath, rcConfiguration("https://example.it/"+fmt.Sprint(i))).StatusCode)
		}
		a.manage("POST", configsPath, rcConfiguration("https://example.it")).problem(400, "")
	})
	require.NotContains(t, a.logged.String(), secretOfRC)
}

// FuzzAttachment has a citizen ask for any attachment, of a system that has every one: what is asked of it stays below the message, and
// nothing is this side's fault.
func FuzzAttachment(f *testing.F) {
	a := setupArchive(f)
	id := a.sendAct()
	var outside atomic.Bool
	a.answers(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.EscapedPath(), "/messages/atto%207/") {
			outside.Store(true)
		}
		_, _ = w.Write(act[:100])
	})
	for _, at := range []string{"a.pdf", "a/b?x=1", "../../x", "%2e%2e/x", "stored/01CFAGRMGB9XCA8B2CQ4QA7K76", "//example.it/x", "a%00b"} {
		f.Add(at)
	}
	f.Fuzz(func(t *testing.T, at string) {
		w := *a.world
		w.t = t
		u := url.URL{Path: thirdParty + id + "/attachments/" + at}
		got := w.by(ada, "GET", u.String(), nil)
		require.Contains(t, []int{200, 400, 404, 405, 415}, got.StatusCode, "%q: %s", at, got.body)
		require.False(t, outside.Load(), "%q", at)
	})
}
