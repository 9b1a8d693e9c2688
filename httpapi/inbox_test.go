package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

const (
	communication = "/api/communication/v1"
	identity      = "/api/identity/v1"
)

// login is a host's login that believes what it is told: a bearer of a fiscal code is that citizen, at level 2, or at 1 behind a slash.
func login(r *http.Request) (appio.Identity, error) {
	token, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	code, low := strings.CutSuffix(token, "/1")
	switch {
	case !is || token == "expired":
		return appio.Identity{}, appio.ErrUnauthorized
	case token == "too-low":
		return appio.Identity{}, appio.ErrForbidden
	case token == "broken":
		return appio.Identity{}, errors.New("the login does not answer")
	case low:
		return appio.Identity{Code: fiscalcode.Person(code), Level: appio.L1}, nil
	}
	return appio.Identity{Code: fiscalcode.Person(code), Level: appio.L2, Provider: "cie"}, nil
}

// setupApp makes a world with e-mail, whose addresses are unique, and push, for citizens to come to.
func setupApp(t testing.TB, eo *appio.Options, o *httpapi.Options) *world {
	t.Helper()
	return setupAppOn(t, memstore.New(), eo, o)
}

func setupAppOn(t testing.TB, s store.Store, eo *appio.Options, o *httpapi.Options) *world {
	t.Helper()
	if eo == nil {
		eo = &appio.Options{}
	}
	if eo.Channels == nil {
		eo.Channels = routes(nil)
	}
	if o == nil {
		o = &httpapi.Options{}
	}
	o.Citizen, o.Send = login, "01SEND"
	w := setupOn(t, s, eo, o)
	w.service(appio.Service{ID: "01SEND", Name: "Avvisi di cortesia", State: appio.Live, Category: appio.Special})
	return w
}

// routes are e-mail and push; nil: what goes by them is lost.
func routes(to appio.ChannelFunc) []appio.Route {
	if to == nil {
		to = func(context.Context, appio.Delivery) error { return nil }
	}
	return []appio.Route{
		{Name: appio.Email, Channel: to, Unique: true},
		{Name: appio.Push, Channel: to, Default: appio.Generic, Secure: appio.Generic, Unvalidated: true},
	}
}

// by asks as a citizen.
func (w *world) by(code fiscalcode.Person, method, path string, body any) answered {
	w.t.Helper()
	return w.ask(method, path, body, "Authorization", "Bearer "+string(code), "Content-Type", "application/json")
}

// message sends one to a citizen.
func (w *world) message(by appio.ServiceID, to fiscalcode.Person, change ...func(*appio.Message)) appio.MessageID {
	w.t.Helper()
	m := appio.Message{To: to, Subject: "Iscrizione alla mensa", Markdown: strings.Repeat("La mensa riapre. ", 6)}
	for _, f := range change {
		f(&m)
	}
	r, err := w.eng.Sender(by).Send(w.t.Context(), m)
	require.NoError(w.t, err)
	require.Equal(w.t, appio.Processed, r.Status)
	return r.ID
}

// pathsOfCitizens are all of them, with a request that does no harm.
var pathsOfCitizens = []struct {
	method, path string
	body         any
}{
	{"GET", communication + "/messages", nil},
	{"GET", communication + "/messages/01CFAGRMGB9XCA8B2CQ4QA7K76", nil},
	{"PUT", communication + "/messages/01CFAGRMGB9XCA8B2CQ4QA7K76/status", map[string]any{"change_type": "reading", "is_read": true}},
	{"PUT", "/api/v1/messages/01CFAGRMGB9XCA8B2CQ4QA7K76/message-status", map[string]any{"change_type": "reading", "is_read": true}},
	{"GET", communication + "/third-party-messages/01CFAGRMGB9XCA8B2CQ4QA7K76", nil},
	{"GET", communication + "/third-party-messages/01CFAGRMGB9XCA8B2CQ4QA7K76/precondition", nil},
	{"GET", communication + "/third-party-messages/01CFAGRMGB9XCA8B2CQ4QA7K76/attachments/a/b.pdf", nil},
	{"GET", communication + "/send/activation", nil},
	{"POST", communication + "/send/activation", map[string]any{"activation_status": true}},
	{"PUT", communication + "/installations/2f1f1d0c", map[string]any{"platform": "fcmv1", "pushChannel": "token"}},
	{"GET", communication + "/payment/info/15376371009302032002700000251", nil},
	{"GET", identity + "/profile", nil},
	{"POST", identity + "/profile", map[string]any{"version": 99}},
	{"GET", identity + "/services/01MENSA/preferences", nil},
	{"POST", identity + "/services/01MENSA/preferences", map[string]any{
		"is_inbox_enabled": true, "is_email_enabled": true, "is_webhook_enabled": true, "settings_version": 99}},
	{"POST", identity + "/email-validation-process", nil},
	{"POST", identity + "/user-data-processing", map[string]any{"choice": "NONE"}},
	{"GET", identity + "/user-data-processing/DOWNLOAD", nil},
	{"DELETE", identity + "/user-data-processing/DELETE", nil},
}

func TestWhoACitizenIs(t *testing.T) {
	t.Parallel()
	w := setupApp(t, nil, nil)
	closed := setup(t, nil, nil)
	for _, p := range pathsOfCitizens {
		for token, status := range map[string]int{"": 401, "Bearer expired": 401, "Bearer too-low": 403, "Bearer broken": 500} {
			w.ask(p.method, p.path, p.body, "Authorization", token, "Content-Type", "application/json").problem(status, "")
		}
		w.as(mensa, p.method, p.path, p.body).problem(401, "")
		closed.ask(p.method, p.path, p.body, "Authorization", "Bearer "+string(ada)).problem(closed.unmatched(p.path), "")
		if p.body != nil { // a form, which a browser can be made to send with the citizen's cookies
			w.ask(p.method, p.path, p.body, "Authorization", "Bearer "+string(ada), "Content-Type", "text/plain").problem(415, "")
			w.by(ada, p.method, p.path, "{").problem(400, "")
			w.by(ada, p.method, p.path, `"text"`).problem(400, "")
			w.by(ada, p.method, p.path, "").problem(400, "")
		}
	}
}

// A page of another site that has the citizen's browser ask, with their cookie, gets nothing done: neither by what has no body, nor by a GET that
// accepts something.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	w := setup(t, nil, &httpapi.Options{Citizen: func(r *http.Request) (appio.Identity, error) {
		if c, err := r.Cookie("session"); err == nil {
			return appio.Identity{Code: fiscalcode.Person(c.Value), Level: appio.L2}, nil
		}
		return appio.Identity{Code: ada, Level: appio.L2}, nil
	}})
	for _, p := range pathsOfCitizens {
		ask := func(headers ...string) answered {
			return w.ask(p.method, p.path, p.body, append(headers, "Cookie", "session="+string(ada), "Content-Type", "application/json")...)
		}
		require.Equal(t, "The request is another site's.", ask("Sec-Fetch-Site", "cross-site").problem(403, "").Detail)
		for _, own := range [][]string{nil, {"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Site", "none"}, {"Sec-Fetch-Site", "cross-site", "Authorization", "Bearer x"}} {
			require.NotEqual(t, 403, ask(own...).StatusCode, "%s %s %v", p.method, p.path, own)
		}
	}
}

// unmatched is what a handler without citizens answers: another path of the senders' may have the same form.
func (w *world) unmatched(path string) int {
	if strings.HasPrefix(path, "/api/v1/") {
		return 405
	}
	return 404
}

func TestInboxList(t *testing.T) {
	t.Parallel()
	w := setupApp(t, nil, nil)
	var all []appio.MessageID // newest first
	for i := range 7 {
		by := mensa
		if i%2 == 0 {
			by = tributi
		}
		all = append([]appio.MessageID{w.message(by, ada)}, all...)
	}
	list := func(query string) (p httpapi.MessagePage, ids []appio.MessageID) {
		t.Helper()
		w.by(ada, "GET", communication+"/messages"+query, nil).into(200, &p)
		ids = []appio.MessageID{}
		for _, m := range p.Items {
			ids = append(ids, m.ID)
		}
		return p, ids
	}
	p, ids := list("")
	require.Equal(t, all, ids)
	require.Equal(t, all[0], p.Prev)
	require.Empty(t, p.Next)
	require.Equal(t, string(ada), p.Items[0].FiscalCode)
	require.Equal(t, 3600, p.Items[0].TimeToLive)
	require.Equal(t, tributi, p.Items[0].SenderServiceID)
	require.Nil(t, p.Items[0].Enrichment)

	// By pages to the end, and back for what has come since.
	p, ids = list("?page_size=3")
	require.Equal(t, all[:3], ids)
	require.Equal(t, []appio.MessageID{all[0], all[2]}, []appio.MessageID{p.Prev, p.Next})
	p, ids = list("?page_size=3&maximum_id=" + string(p.Next))
	require.Equal(t, all[3:6], ids)
	p, ids = list("?page_size=3&maximum_id=" + strings.ToLower(string(p.Next)))
	require.Equal(t, all[6:], ids)
	require.Equal(t, all[6], p.Prev)
	require.Empty(t, p.Next)
	p, ids = list("?page_size=1&maximum_id=" + string(all[6]))
	require.Empty(t, ids)
	require.NotNil(t, p.Items)
	require.Empty(t, p.Prev)
	_, ids = list("?minimum_id=" + string(all[2]))
	require.Equal(t, all[:2], ids)
	p, ids = list("?page_size=1&minimum_id=" + string(all[3]) + "&maximum_id=" + string(all[0]))
	require.Equal(t, all[1:2], ids)
	require.Equal(t, all[1], p.Next)
	p, _ = list("?page_size=7")
	require.Empty(t, p.Next, "there are no more")

	// The archive is a list of its own.
	for _, id := range []appio.MessageID{all[1], all[4]} {
		w.by(ada, "PUT", communication+"/messages/"+string(id)+"/status", map[string]any{"change_type": "archiving", "is_archived": true}).
			into(200, &httpapi.MessageStatusChanged{})
	}
	_, ids = list("?archived=true")
	require.Equal(t, []appio.MessageID{all[1], all[4]}, ids)
	p, ids = list("?archived=true&page_size=1")
	require.Equal(t, []appio.MessageID{all[1]}, ids)
	require.Equal(t, all[1], p.Next)
	_, ids = list("?archived=false&page_size=3")
	require.Equal(t, []appio.MessageID{all[0], all[2], all[3]}, ids)

	for _, query := range []string{"page_size=0", "page_size=101", "page_size=x", "page_size=1&page_size=2", "archived=1", "enrich_result_data=yes",
		"maximum_id=", "maximum_id=x", "minimum_id=01CFAGRMGB9XCA8B2CQ4QA7KI6", "minimum_id=01CFAGRMGB9XCA8B2CQ4QA7K7%2B", "maximum_id=%zz"} {
		w.by(ada, "GET", communication+"/messages?"+query, nil).problem(400, "Bad parameters")
	}
	var none httpapi.MessagePage
	w.by(nobody, "GET", communication+"/messages", nil).into(200, &none)
	require.Empty(t, none.Items)
}

func TestEnrichedList(t *testing.T) {
	t.Parallel()
	w := setupApp(t, nil, nil)
	w.service(appio.Service{ID: "01ALTRO", Name: "Altro", State: appio.Live, Organization: "80078750587"}) // which nobody has put
	notice := w.message(mensa, ada, func(m *appio.Message) { m.Payment = &appio.Notice{Number: "302032002700000251", Amount: 1} })
	plain := w.message("01ALTRO", ada)
	w.by(ada, "PUT", communication+"/messages/"+string(plain)+"/status", map[string]any{"change_type": "reading", "is_read": true})
	var p httpapi.MessagePage
	w.by(ada, "GET", communication+"/messages?enrich_result_data=true", nil).into(200, &p)
	require.Len(t, p.Items, 2)
	require.Equal(t, &httpapi.Enrichment{
		ServiceName: "Altro", OrganizationName: "80078750587", OrganizationCode: "80078750587", MessageTitle: "Iscrizione alla mensa",
		Category: httpapi.MessageCategory{Tag: "GENERIC"}, MessageStatusChanged: httpapi.MessageStatusChanged{IsRead: true},
	}, p.Items[0].Enrichment)
	want := &httpapi.Enrichment{
		ServiceName: "Mensa", OrganizationName: "Comune di Esempio", OrganizationCode: string(comune), MessageTitle: "Iscrizione alla mensa",
		Category: httpapi.MessageCategory{Tag: "PAYMENT", RPTID: string(comune) + "302032002700000251"},
	}
	require.Equal(t, want, p.Items[1].Enrichment)

	var m httpapi.ReceivedMessage
	w.by(ada, "GET", communication+"/messages/"+string(notice)+"?public_message=true", nil).into(200, &m)
	require.Equal(t, want, m.Enrichment)
	require.Equal(t, string(comune), m.Content.Payment.Payee.FiscalCode)
	a := w.by(ada, "GET", communication+"/messages/"+strings.ToLower(string(notice)), nil)
	require.NotContains(t, string(a.body), "service_name")
	m = httpapi.ReceivedMessage{}
	a.into(200, &m)
	require.Nil(t, m.Enrichment)
	require.Equal(t, "Iscrizione alla mensa", m.Content.Subject)
	require.Equal(t, notice, m.ID)
}

func TestCategoriesOfWhatGoesOnElsewhere(t *testing.T) {
	t.Parallel()
	w := setupApp(t, nil, nil)
	made, err := w.eng.Authority(comune).PutRemoteConfiguration(t.Context(), appio.RemoteConfiguration{
		Name: "Atti", Description: "Gli atti", Precondition: appio.Once, Production: &appio.RemoteSystem{URL: "https://atti.example.it", Header: "X-Key", Key: "k", Type: "API_KEY"},
	})
	require.NoError(t, err)
	require.NoError(t, w.eng.Sender("01SEND").Activate(t.Context(), ada, appio.Active, time.Time{}))
	received := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	remote := func(m *appio.Message) {
		m.Remote = &appio.RemoteContent{
			ID: "IUN-1", Configuration: made.ID, OriginalSender: "Comune di Altrove", ReceivedAt: received, Attachments: true, Summary: "Una multa",
		}
	}
	w.service(appio.Service{ID: "01SEND", Name: "Avvisi di cortesia", State: appio.Live, Category: appio.Special, Premium: true})
	w.message("01SEND", ada, remote)
	w.message(mensa, ada, remote, func(m *appio.Message) { m.Payment = &appio.Notice{Number: "302032002700000251", Amount: 1} })
	var p httpapi.MessagePage
	w.by(ada, "GET", communication+"/messages?enrich_result_data=true", nil).into(200, &p)
	at := httpapi.Timestamp(received)
	require.Equal(t, []httpapi.MessageCategory{
		{Tag: "GENERIC"},
		{Tag: "PN", ID: "IUN-1", OriginalSender: "Comune di Altrove", ReceivedAt: &at, Summary: "Una multa"},
	}, []httpapi.MessageCategory{p.Items[0].Category, p.Items[1].Category})
	for _, m := range p.Items {
		require.True(t, m.HasAttachments)
		require.True(t, m.HasPrecondition)
	}
}

func TestAMessageIsItsCitizens(t *testing.T) {
	t.Parallel()
	w := setupApp(t, nil, nil)
	id := w.message(mensa, ada)
	for _, path := range []string{communication + "/messages/%s/status", "/api/v1/messages/%s/message-status"} {
		for _, other := range []string{"01CFAGRMGB9XCA8B2CQ4QA7K76", "x", "..%2F" + string(id), string(id) + "%2B"} {
			w.by(ada, "PUT", fmt.Sprintf(path, other), map[string]any{"change_type": "reading", "is_read": true}).problem(404, "Message not found")
		}
		w.by(bruno, "PUT", fmt.Sprintf(path, id), map[string]any{"change_type": "reading", "is_read": true}).problem(404, "Message not found")
	}
	for _, who := range []fiscalcode.Person{bruno, nobody} {
		w.by(who, "GET", communication+"/messages/"+string(id), nil).problem(404, "Message not found")
	}
	for _, other := range []string{"01CFAGRMGB9XCA8B2CQ4QA7K76", "x", string(id) + "x"} {
		w.by(ada, "GET", communication+"/messages/"+other, nil).problem(404, "Message not found")
	}
	w.by(ada, "GET", communication+"/messages/"+string(id)+"?public_message=1", nil).problem(400, "")
}

func TestChangeOfState(t *testing.T) {
	t.Parallel()
	w := setupApp(t, nil, nil)
	id := w.message(mensa, ada)
	put := func(body string) answered {
		t.Helper()
		return w.by(ada, "PUT", communication+"/messages/"+string(id)+"/status", body)
	}
	for _, c := range []struct {
		body           string
		read, archived bool
	}{
		{`{"change_type":"archiving","is_archived":true}`, false, true},
		{`{"change_type":"archiving","is_archived":false,"is_read":true}`, false, false}, // is_read is not of this kind
		{`{"change_type":"bulk","is_archived":true}`, false, true},
		{`{"change_type":"bulk","is_archived":false,"is_read":true,"unknown":{}}`, true, false},
		{`{"change_type":"bulk","is_archived":true}`, true, true}, // what was read stays read
		{`{"change_type":"archiving","is_archived":false}`, true, false},
		{`{"change_type":"reading","is_read":true}`, true, false},
	} {
		var is httpapi.MessageStatusChanged
		put(c.body).into(200, &is)
		require.Equal(t, httpapi.MessageStatusChanged{IsRead: c.read, IsArchived: c.archived}, is, c.body)
	}
	for _, body := range []string{
		`{}`, `{"change_type":"other","is_read":true}`, `{"change_type":"reading"}`, `{"change_type":"reading","is_read":false}`,
		`{"change_type":"archiving"}`, `{"change_type":"bulk","is_read":true}`, `{"change_type":"bulk","is_archived":true,"is_read":false}`,
		`{"change_type":"archiving","is_archived":"true"}`, `{"change_type":"archiving","is_archived":null}`, `[]`, `{"change_type":1}`,
	} {
		put(body).problem(400, "Bad parameters")
	}
	m, err := w.citizen(ada).Message(t.Context(), id)
	require.NoError(t, err)
	require.True(t, m.Read)
	require.False(t, m.Archived)
}

// What a service keeps of persons who try it out is none of a citizen's business: of whom one is damaged, the others see and choose what they did.
func TestWhoTriesAServiceIsNotRead(t *testing.T) {
	t.Parallel()
	s, ctx := memstore.New(), t.Context()
	w := setupAppOn(t, s, nil, nil)
	w.service(appio.Service{ID: "prova", Name: "Prova", State: appio.Live, Trial: []fiscalcode.Person{"RSSMRA80A01H501U"}})
	id := w.message("prova", ada)
	require.Equal(t, 1, damageListed(t, s))
	_, err := w.eng.Service(ctx, "prova")
	require.ErrorIs(t, err, store.ErrCorrupt)
	var page httpapi.MessagePage
	w.by(ada, "GET", communication+"/messages?enrich_result_data=true", nil).into(http.StatusOK, &page)
	require.Equal(t, id, page.Items[0].ID)
	require.Equal(t, "Prova", page.Items[0].ServiceName)
	var p httpapi.ServicePreference
	w.by(ada, "GET", preferences("prova"), nil).into(http.StatusOK, &p)
	w.by(ada, "POST", preferences("prova"), choice(false, false, false, p.SettingsVersion)).into(http.StatusOK, &p)
	require.False(t, p.IsInboxEnabled)
}
