package httpapi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

const (
	regione = fiscalcode.Organization("80078750587") // has no agreement
	managed = "/api/v1/manage/services"
)

// manager makes a key of an organization.
func (w *world) manager(code fiscalcode.Organization, k appio.ManageKey) string {
	w.t.Helper()
	if k.Role == "" {
		k.Role = appio.Administrator
	}
	a := w.eng.Authority(code)
	require.NoError(w.t, a.PutManageKey(context.Background(), k))
	key, err := a.NewManageKey(context.Background(), k.ID, appio.Primary)
	require.NoError(w.t, err)
	return key
}

// office is a world whose comune has signed, and keys of the comune and the regione.
func office(t *testing.T, o *httpapi.Options) (w *world, ours, theirs string) {
	t.Helper()
	return officeOn(t, memstore.New(), o)
}

func officeOn(t *testing.T, s store.Store, o *httpapi.Options) (w *world, ours, theirs string) {
	t.Helper()
	w = setupOn(t, s, nil, o)
	for code, signed := range map[fiscalcode.Organization]time.Time{comune: time.Now().Add(-time.Hour), regione: {}} {
		require.NoError(t, w.eng.PutOrganization(t.Context(), appio.Organization{Code: code, Name: "Ente " + string(code[:2]), SignedAt: signed}))
	}
	return w, w.manager(comune, appio.ManageKey{ID: "gestionale"}), w.manager(regione, appio.ManageKey{ID: "gestionale"})
}

// by asks with a key.
func (w *world) keyed(key, method, path string, body any) answered {
	w.t.Helper()
	return w.ask(method, path, body, httpapi.KeyHeader, key)
}

func (a answered) status(status int) {
	a.t.Helper()
	require.Equal(a.t, status, a.StatusCode, "%s", a.body)
	require.Empty(a.t, a.body)
}

// payload is a service that keeps all rules. Changes are as with letter.
func payload(changes ...any) object {
	p := object{
		"name": "Scuola", "description": "Iscrizioni e rette", "organization": object{"name": "Ente 15", "fiscal_code": string(comune)},
		"authorized_recipients": []string{string(ada)},
		"metadata":              object{"scope": "LOCAL", "topic_id": 6, "privacy_url": "https://example.it/privacy", "email": "scuola@example.it"},
	}
	l := letter(changes...)
	for name, v := range l {
		if o, both := v.(object); both && p[name] != nil {
			for n, v := range o {
				p[name].(object)[n] = v
			}
		} else if name != "content" {
			p[name] = v
		}
	}
	return p
}

// without is a payload with one member less.
func without(path string) object {
	p := payload()
	o, names := p, strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		o = o[name].(object)
	}
	delete(o, names[len(names)-1])
	return p
}

// created makes a service.
func (w *world) created(key string, changes ...any) string {
	w.t.Helper()
	var s httpapi.Service
	w.keyed(key, "POST", managed, payload(changes...)).into(http.StatusCreated, &s)
	return managed + "/" + string(s.ID)
}

// approved makes a service that the operator has approved.
func (w *world) approved(key string, publish bool, changes ...any) string {
	w.t.Helper()
	at := w.created(key, changes...)
	w.keyed(key, "PUT", at+"/review", object{"auto_publish": publish}).status(http.StatusNoContent)
	_, err := w.eng.Approve(context.Background(), idOf(at), "anna")
	require.NoError(w.t, err)
	return at
}

func idOf(path string) appio.ServiceID {
	id, _, _ := strings.Cut(strings.TrimPrefix(path, managed+"/"), "/")
	return appio.ServiceID(id)
}

func (w *world) stage(key, at string) httpapi.ServiceStatus {
	w.t.Helper()
	var s httpapi.Service
	w.keyed(key, "GET", at, nil).into(http.StatusOK, &s)
	return s.Status
}

// Where persons of its lists cannot be read, an organization sees its services all the same, and goes on with them; it mends a list by
// putting it again.
func TestPersonsWhoCannotBeRead(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	w, key, _ := officeOn(t, s, nil)
	at, another := w.created(key), w.created(key, "name", "Nido")
	require.Equal(t, 1, damageListed(t, s))
	require.Equal(t, 500, w.keyed(key, "GET", at, nil).StatusCode, "nobody takes who is missing for who was erased")
	var page httpapi.ServicePage
	w.keyed(key, "GET", managed, nil).into(200, &page)
	require.Len(t, page.Value, 2)
	w.keyed(key, "GET", at+"/keys", nil).into(200, &httpapi.ServiceKeys{})
	w.keyed(key, "GET", at+"/history", nil).into(200, &object{})
	w.keyed(key, "PUT", at+"/logo", object{"logo": logo(64, 64)}).status(204)
	w.keyed(key, "PUT", at+"/review", object{"auto_publish": true}).status(204)
	w.keyed(key, "DELETE", another, nil).status(204)

	at = w.created(key, "name", "Biblioteca")
	require.Equal(t, 1, damageListed(t, s))
	w.keyed(key, "PUT", at, payload()).into(200, &httpapi.Service{})
	var is httpapi.Service
	w.keyed(key, "GET", at, nil).into(200, &is)
	require.Contains(t, is.Recipients, string(ada))

	remote := rcConfiguration("https://atti.example.it", "disable_lollipop_for", []string{string(bruno)})
	remote["prod_environment"].(object)["details_authentication"].(object)["cert"] = object{"server_ca": "roots"}
	var c httpapi.CreatedRCConfiguration
	w.keyed(key, "POST", configsPath, remote).into(201, &c)
	one := configsPath + "/" + string(c.ID)
	require.Equal(t, 2, damageListed(t, s))
	require.Equal(t, 500, w.keyed(key, "GET", one, nil).StatusCode)
	var list httpapi.RCConfigurationList
	w.keyed(key, "GET", configsPath, nil).into(200, &list)
	require.Equal(t, c.ID, list.List[0].ID)
	delete(remote["prod_environment"].(object)["details_authentication"].(object), "cert")
	w.keyed(key, "PUT", one, remote).status(204)
	var shown httpapi.OwnedRCConfiguration
	w.keyed(key, "GET", one, nil).into(200, &shown)
	require.Equal(t, []string{string(bruno)}, shown.DisableLollipop)
	require.Equal(t, "roots", shown.Prod.Authentication.Cert.Roots, "that of before")
}

func TestManagedService(t *testing.T) {
	t.Parallel()
	w, key, _ := office(t, nil)

	t.Run("comes back as it was sent, with what IO adds", func(t *testing.T) {
		whole := payload("require_secure_channel", true, "max_allowed_payment_amount", int64(9_999_999_999), "authorized_cidrs", []string{"192.0.2.0/24", "198.51.100.7"},
			"organization.department_name", "Ufficio scuola", "an unknown member", object{"x": []any{nil}})
		for name, v := range map[string]string{"web_url": "https://example.it", "app_ios": "https://example.it/ios", "app_android": "https://example.it/android",
			"tos_url": "https://example.it/tos", "address": "Via Roma 1", "phone": "+39 02 0202", "pec": "a@pec.example.it", "cta": "---\nit: x\n---",
			"token_name": "token", "support_url": "https://example.it/aiuto"} {
			whole["metadata"].(object)[name] = v
		}
		var got object
		a := w.keyed(key, "POST", managed, whole)
		a.into(http.StatusCreated, &got)
		id, at := got["id"].(string), managed+"/"+got["id"].(string)
		require.Len(t, id, 26)
		updated, err := time.Parse("2006-01-02T15:04:05.000Z", got["last_update"].(string))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), updated, time.Minute)
		want := whole
		delete(want, "an unknown member")
		want["id"], want["last_update"], want["status"] = id, got["last_update"], object{"value": "draft"}
		want["authorized_recipients"] = []string{string(ada), string(fiscalcode.Sandbox)}
		want["authorized_cidrs"] = []string{"192.0.2.0/24", "198.51.100.7/32"}
		delete(want["metadata"].(object), "topic_id")
		want["metadata"].(object)["topic"] = object{"id": 6, "name": "Educazione e formazione"}
		require.JSONEq(t, text(t, want), string(a.body))
		require.JSONEq(t, text(t, want), string(w.keyed(key, "GET", at, nil).body))

		// What IO's payloads have no member for stays as it was.
		d, err := w.eng.Authority(comune).PutDraft(t.Context(), appio.Service{ID: appio.ServiceID(id), Name: "x", Assessment: "protocollo 1", Basis: appio.PublicTask})
		require.NoError(t, err)
		require.Equal(t, "protocollo 1", d.Assessment)
		w.keyed(key, "PUT", at, payload()).into(http.StatusOK, &got)
		d, err = w.eng.Authority(comune).Draft(t.Context(), appio.ServiceID(id))
		require.NoError(t, err)
		require.Equal(t, []any{"protocollo 1", appio.PublicTask, "Scuola", ""}, []any{d.Assessment, d.Basis, d.Name, d.Phone})
		require.Empty(t, d.Prefixes)
		require.Equal(t, false, got["require_secure_channel"])
		require.Equal(t, 0.0, got["max_allowed_payment_amount"])
	})

	t.Run("what is wrong with it is 400, by the member's name", func(t *testing.T) {
		at := w.created(key)
		long := strings.Repeat("x", 1001)
		for name, bad := range map[string][]any{
			"name": {"", nil, 7, strings.Repeat("x", 201)}, "description": {"", long, []any{}}, "organization.name": {"", 7}, "organization.fiscal_code": {"", "1", comune[:10]},
			"organization.department_name": {"", long}, "require_secure_channel": {"true", 1}, "authorized_recipients": {"x", []string{"x"}, []string{""}, []int{1}},
			"authorized_cidrs":           {"192.0.2.1", []string{"x"}, []string{""}, []string{"300.0.0.1"}, []string{"192.0.2.0/33"}, []string{"2001:db8::/32"}, []string{"192.0.2"}},
			"max_allowed_payment_amount": {-1, int64(10_000_000_000), "1", 0.5}, "metadata.scope": {"", "local", "EU"}, "metadata.topic_id": {-1, 18, 1.5, "3"},
			"metadata.privacy_url": {"", long}, "metadata.web_url": {"", long}, "metadata.app_ios": {"", long}, "metadata.app_android": {"", long}, "metadata.tos_url": {"", long},
			"metadata.address": {"", long}, "metadata.phone": {"", long}, "metadata.email": {"", long}, "metadata.pec": {"", long}, "metadata.cta": {"", long},
			"metadata.token_name": {"", long}, "metadata.support_url": {"", long},
		} {
			for _, v := range bad {
				p := payload(name, v)
				if v == nil {
					p = without(name)
				}
				for _, a := range []answered{w.keyed(key, "POST", managed, p), w.keyed(key, "PUT", at, p)} {
					got := a.problem(http.StatusBadRequest, "Bad parameters")
					require.True(t, strings.HasPrefix(got.Detail, name+": ") || strings.HasPrefix(got.Detail, name+".0: "), "%s of %v", got.Detail, v)
				}
			}
		}
		for _, name := range []string{"name", "description", "organization", "organization.name", "organization.fiscal_code", "metadata", "metadata.scope", "metadata.topic_id"} {
			got := w.keyed(key, "POST", managed, without(name)).problem(http.StatusBadRequest, "Bad parameters")
			require.Contains(t, got.Detail, name+": ")
		}
		for _, body := range []string{"", "{", "null", "[]", text(t, payload()) + "}"} {
			for _, where := range []string{"POST " + managed, "PUT " + at, "PUT " + at + "/review", "PUT " + at + "/logo", "PUT /api/v1/organizations/" + string(comune) + "/logo"} {
				method, path, _ := strings.Cut(where, " ")
				w.keyed(key, method, path, body).problem(http.StatusBadRequest, "Bad parameters")
			}
		}
		for _, body := range []any{object{}, object{"auto_publish": "true"}, object{"auto_publish": nil}} {
			w.keyed(key, "PUT", at+"/review", body).problem(http.StatusBadRequest, "Bad parameters")
		}
		require.Equal(t, "draft", w.stage(key, at).Value)
		w.keyed(key, "POST", managed, strings.Repeat(" ", 256<<10+1)).problem(http.StatusRequestEntityTooLarge, "")
	})
}

// What the operator has put and given to its organization has less than what is sent over HTTP, and is shown whole.
func TestEntrustedService(t *testing.T) {
	t.Parallel()
	w, key, _ := office(t, nil)
	_, err := w.eng.Entrust(t.Context(), tributi, "anna")
	require.NoError(t, err)
	at := managed + "/" + string(tributi)
	var s httpapi.Service
	w.keyed(key, "GET", at, nil).into(http.StatusOK, &s)
	require.Equal(t, []any{"approved", "Tributi", "Tributi", "LOCAL"}, []any{s.Status.Value, s.Name, s.Description, s.Metadata.Scope})
	require.Nil(t, s.Metadata.Topic)
	var p httpapi.PublishedService
	w.keyed(key, "GET", at+"/release", nil).into(http.StatusOK, &p)
	require.Equal(t, "published", p.Status)
	w.keyed(key, "DELETE", at+"/release", nil).status(http.StatusNoContent)
	w.as(tributi, "POST", "/api/v1/messages/"+string(ada), letter()).problem(http.StatusForbidden, "")
	var k httpapi.ServiceKeys
	w.keyed(key, "PUT", at+"/keys/primary", nil).into(http.StatusOK, &k)
	require.Len(t, k.Primary, 64)
	w.as(tributi, "POST", "/api/v1/messages/"+string(ada), letter()).problem(http.StatusUnauthorized, "")
}

func text(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

type managedPath struct {
	method, path string // behind the service's
	body         any
	change       bool // it changes something
	keys         bool // it is about keys
}

// Every path of a service, and what is needed for it.
var managedPaths = []managedPath{
	{"GET", "", nil, false, false},
	{"PUT", "", payload(), true, false},
	{"DELETE", "", nil, true, false},
	{"PUT", "/logo", object{"logo": logo(1, 1)}, true, false},
	{"GET", "/history", nil, false, false},
	{"GET", "/keys", nil, false, true},
	{"PUT", "/keys/primary", nil, true, true},
	{"PUT", "/keys/secondary", nil, true, true},
	{"PUT", "/review", object{"auto_publish": false}, true, false},
	{"POST", "/release", nil, true, false},
	{"GET", "/release", nil, false, false},
	{"DELETE", "/release", nil, true, false},
}

func logo(width, height int) string {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func TestWhoMayManage(t *testing.T) {
	t.Parallel()
	var from atomic.Value
	from.Store(netip.MustParseAddr("192.0.2.7"))
	w, key, theirs := office(t, &httpapi.Options{Addr: func(*http.Request) netip.Addr { return from.Load().(netip.Addr) }})
	at := w.approved(key, true)
	require.NoError(t, w.eng.Authority(comune).SetGroup(t.Context(), idOf(at), "scuola"))
	viewer := w.manager(comune, appio.ManageKey{ID: "viewer", Role: appio.Viewer})
	editor := w.manager(comune, appio.ManageKey{ID: "editor", Role: appio.Editor})
	school := w.manager(comune, appio.ManageKey{ID: "school", Group: "scuola"})
	sport := w.manager(comune, appio.ManageKey{ID: "sport", Group: "sport"})
	bound := w.manager(comune, appio.ManageKey{ID: "bound", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	const notHere = "You are not allowed here"

	for _, p := range managedPaths {
		name := p.method + " " + p.path
		ask := func(key string) answered { return w.keyed(key, p.method, at+p.path, p.body) }
		w.ask(p.method, at+p.path, p.body).problem(http.StatusUnauthorized, "Unauthorized")
		ask(strings.Repeat("k", 64)).problem(http.StatusUnauthorized, "Unauthorized")
		ask(keyOf+string(mensa)).problem(http.StatusForbidden, notHere)
		ask(theirs).problem(http.StatusForbidden, notHere)
		ask(sport).problem(http.StatusForbidden, notHere)
		w.keyed(key, p.method, managed+"/nessuno"+p.path, p.body).problem(http.StatusNotFound, "Not found")
		w.keyed(key, p.method, managed+"/"+string(tributi)+p.path, p.body).problem(http.StatusNotFound, "Not found") // the operator's own
		from.Store(netip.MustParseAddr("198.51.100.1"))
		ask(bound).problem(http.StatusForbidden, notHere)
		from.Store(netip.Addr{})
		ask(bound).problem(http.StatusForbidden, notHere)
		from.Store(netip.MustParseAddr("192.0.2.7"))
		if p.change || p.keys {
			require.Equal(t, http.StatusForbidden, ask(viewer).StatusCode, name)
		} else {
			require.Equal(t, http.StatusOK, ask(viewer).StatusCode, name)
		}
		if p.keys {
			ask(editor).problem(http.StatusForbidden, notHere)
		}
	}
	for _, p := range managedPaths { // and those who may
		if p.method == "DELETE" && p.path == "" {
			continue
		}
		for _, k := range []string{school, bound} {
			a := w.keyed(k, p.method, at+p.path, p.body)
			require.True(t, a.StatusCode/100 == 2 || a.StatusCode == http.StatusConflict && p.path == "/review" ||
				a.StatusCode == http.StatusConflict && p.path == "" && p.method == "PUT", "%s %s: %d %s", p.method, p.path, a.StatusCode, a.body)
		}
	}

	w.ask("POST", managed, payload()).problem(http.StatusUnauthorized, "")
	w.keyed(strings.Repeat("k", 64), "GET", managed, nil).problem(http.StatusUnauthorized, "")
	for _, k := range []string{viewer, theirs, keyOf + string(mensa)} {
		w.keyed(k, "POST", managed, payload()).problem(http.StatusForbidden, notHere)
	}
	w.keyed(keyOf+string(mensa), "GET", managed, nil).problem(http.StatusForbidden, notHere)
	w.keyed(key, "POST", "/api/v1/messages/"+string(ada), letter()).problem(http.StatusForbidden, notHere)

	a := w.eng.Authority(comune)
	fresh, err := a.NewManageKey(t.Context(), "gestionale", appio.Primary)
	require.NoError(t, err)
	w.keyed(key, "GET", at, nil).problem(http.StatusUnauthorized, "")
	require.Equal(t, http.StatusOK, w.keyed(fresh, "GET", at, nil).StatusCode)
	require.NoError(t, a.RemoveManageKey(t.Context(), "gestionale"))
	w.keyed(fresh, "GET", at, nil).problem(http.StatusUnauthorized, "")

	made := w.created(sport, "name", "Sport")
	require.Equal(t, http.StatusOK, w.keyed(sport, "GET", made, nil).StatusCode, "what a group's key makes is of the group")
	w.keyed(school, "GET", made, nil).problem(http.StatusForbidden, notHere)
	w.keyed(editor, "PUT", at, payload("organization.fiscal_code", regione)).problem(http.StatusForbidden, notHere)
}

func TestServicesAreListed(t *testing.T) {
	t.Parallel()
	w, key, theirs := office(t, nil)
	var want []string
	for i := range 25 {
		want = append(want, w.created(key, "name", fmt.Sprint("Servizio ", i)))
	}
	w.created(theirs, "organization.fiscal_code", regione)
	w.keyed(key, "DELETE", want[7], nil).status(http.StatusNoContent)
	require.Equal(t, "deleted", w.stage(key, want[7]).Value)
	want = append(want[:7:7], want[8:]...)
	listed := func(query string) (paths []string, p httpapi.Pagination) {
		var page httpapi.ServicePage
		w.keyed(key, "GET", managed+query, nil).into(http.StatusOK, &page)
		for _, s := range page.Value {
			paths = append(paths, managed+"/"+string(s.ID))
		}
		return paths, page.Pagination
	}
	got, p := listed("")
	require.Equal(t, want[:20], got)
	require.Equal(t, httpapi.Pagination{Offset: 0, Limit: 20, Count: 24}, p)
	got, p = listed("?offset=20")
	require.Equal(t, want[20:], got)
	require.Equal(t, httpapi.Pagination{Offset: 20, Limit: 20, Count: 24}, p)
	got, _ = listed("?limit=1&offset=23")
	require.Equal(t, want[23:], got)
	got, p = listed("?limit=100&offset=24")
	require.Empty(t, got)
	require.Equal(t, 24, p.Count)
	require.Contains(t, string(w.keyed(key, "GET", managed+"?offset=99", nil).body), `"value":[]`)
	for _, query := range []string{"?limit=0", "?limit=101", "?limit=x", "?offset=-1", "?offset=99999999999999999999", "?limit=5&limit=6"} {
		w.keyed(key, "GET", managed+query, nil).problem(http.StatusBadRequest, "Bad parameters")
	}
}

// From a draft to citizens and back, as software written for IO goes.
func TestReleasing(t *testing.T) {
	t.Parallel()
	w, key, theirs := office(t, nil)
	ctx := t.Context()
	at := w.created(key)
	var keys httpapi.ServiceKeys
	w.keyed(key, "GET", at+"/keys", nil).into(http.StatusOK, &keys)
	require.Len(t, keys.Primary, 64)
	require.Len(t, keys.Secondary, 64)
	sends := func(key string, to fiscalcode.Person, status int) {
		t.Helper()
		a := w.keyed(key, "POST", "/api/v1/messages/"+string(to), letter())
		require.Equal(t, status, a.StatusCode, "%s", a.body)
	}

	// In trial.
	for _, k := range []string{keys.Primary, keys.Secondary} {
		sends(k, ada, http.StatusCreated)
		sends(k, fiscalcode.Sandbox, http.StatusCreated)
		sends(k, bruno, http.StatusForbidden)
	}
	for _, method := range []string{"GET", "POST", "DELETE"} {
		w.keyed(key, method, at+"/release", nil).problem(http.StatusNotFound, "Not found")
	}

	// Review: once, and frozen.
	w.keyed(key, "PUT", at+"/review", object{"auto_publish": false}).status(http.StatusNoContent)
	require.Equal(t, httpapi.ServiceStatus{Value: "submitted"}, w.stage(key, at))
	w.keyed(key, "PUT", at+"/review", object{"auto_publish": false}).problem(http.StatusConflict, "Conflict")
	w.keyed(key, "PUT", at, payload()).problem(http.StatusConflict, "Conflict")
	w.keyed(key, "DELETE", at, nil).problem(http.StatusConflict, "Conflict")
	_, err := w.eng.Reject(ctx, idOf(at), "anna", "Manca l'orario")
	require.NoError(t, err)
	require.Equal(t, httpapi.ServiceStatus{Value: "rejected", Reason: "Manca l'orario"}, w.stage(key, at))
	w.keyed(key, "PUT", at+"/review", object{"auto_publish": false}).problem(http.StatusConflict, "Conflict")
	require.Equal(t, http.StatusOK, w.keyed(key, "PUT", at, payload("metadata.privacy_url", "privacy")).StatusCode)
	w.keyed(key, "PUT", at+"/review", object{"auto_publish": true}).status(http.StatusNoContent)
	require.Equal(t, httpapi.ServiceStatus{Value: "rejected", Reason: "link-malformed"}, w.stage(key, at), "by a rule of quality")
	require.Equal(t, http.StatusOK, w.keyed(key, "PUT", at, payload()).StatusCode)
	w.keyed(key, "PUT", at+"/review", object{"auto_publish": false}).status(http.StatusNoContent)
	_, err = w.eng.Approve(ctx, idOf(at), "anna")
	require.NoError(t, err)
	require.Equal(t, "approved", w.stage(key, at).Value)

	// Released, and not published.
	var p httpapi.PublishedService
	w.keyed(key, "GET", at+"/release", nil).into(http.StatusOK, &p)
	require.Equal(t, []any{"unpublished", "Scuola"}, []any{p.Status, p.Name})
	sends(keys.Primary, bruno, http.StatusForbidden)
	w.keyed(key, "POST", at+"/release", nil).status(http.StatusNoContent)
	w.keyed(key, "POST", at+"/release", nil).status(http.StatusNoContent)
	w.keyed(key, "GET", at+"/release", nil).into(http.StatusOK, &p)
	require.Equal(t, "published", p.Status)
	sends(keys.Primary, bruno, http.StatusCreated)

	// The next version, while the live copy stays.
	require.Equal(t, http.StatusOK, w.keyed(key, "PUT", at, payload("name", "Scuola e sport")).StatusCode)
	for _, step := range []func(){
		func() {},
		func() {
			w.keyed(key, "PUT", at+"/review", object{"auto_publish": false}).status(http.StatusNoContent)
		},
	} {
		step()
		w.keyed(key, "GET", at+"/release", nil).into(http.StatusOK, &p)
		require.Equal(t, []any{"published", "Scuola"}, []any{p.Status, p.Name})
		sends(keys.Primary, bruno, http.StatusCreated)
	}
	_, err = w.eng.Approve(ctx, idOf(at), "anna")
	require.NoError(t, err)
	w.keyed(key, "GET", at+"/release", nil).into(http.StatusOK, &p)
	require.Equal(t, []any{"published", "Scuola e sport"}, []any{p.Status, p.Name}, "approval without publishing does not unpublish")
	sends(keys.Primary, bruno, http.StatusCreated)

	// Stopped: by its organization, by the operator, by the end of the agreement.
	w.keyed(key, "DELETE", at+"/release", nil).status(http.StatusNoContent)
	w.keyed(key, "DELETE", at+"/release", nil).status(http.StatusNoContent)
	for _, to := range []fiscalcode.Person{ada, bruno, fiscalcode.Sandbox} {
		sends(keys.Primary, to, http.StatusForbidden)
	}
	w.keyed(key, "POST", at+"/release", nil).status(http.StatusNoContent)
	require.NoError(t, w.eng.StopService(ctx, idOf(at), "anna", "reclami"))
	sends(keys.Primary, bruno, http.StatusForbidden)
	require.Contains(t, w.keyed(key, "POST", at+"/release", nil).problem(http.StatusForbidden, "You are not allowed here").Detail, "operator")
	require.NoError(t, w.eng.AllowService(ctx, idOf(at), "anna"))
	w.keyed(key, "POST", at+"/release", nil).status(http.StatusNoContent)
	require.NoError(t, w.eng.WithdrawAgreement(ctx, comune))
	sends(keys.Primary, bruno, http.StatusForbidden)
	require.Contains(t, w.keyed(key, "POST", at+"/release", nil).problem(http.StatusForbidden, "You are not allowed here").Detail, "agreement")

	// Gone.
	w.keyed(key, "DELETE", at, nil).status(http.StatusNoContent)
	require.Equal(t, "deleted", w.stage(key, at).Value)
	w.keyed(key, "DELETE", at, nil).problem(http.StatusConflict, "Conflict")
	w.keyed(key, "PUT", at, payload()).problem(http.StatusConflict, "Conflict")
	w.keyed(key, "PUT", at+"/review", object{"auto_publish": true}).problem(http.StatusConflict, "Conflict")
	for _, p := range managedPaths {
		if p.path != "" && p.path != "/history" && p.path != "/review" {
			w.keyed(key, p.method, at+p.path, p.body).problem(http.StatusNotFound, "Not found")
		}
	}
	sends(keys.Primary, ada, http.StatusUnauthorized)

	// Without an agreement one prepares, tries, and is approved.
	partner := w.created(theirs, "organization.fiscal_code", regione)
	w.keyed(theirs, "GET", partner+"/keys", nil).into(http.StatusOK, &keys)
	sends(keys.Primary, ada, http.StatusCreated)
	w.keyed(theirs, "PUT", partner+"/review", object{"auto_publish": true}).status(http.StatusNoContent)
	_, err = w.eng.Approve(ctx, idOf(partner), "")
	require.NoError(t, err)
	sends(keys.Primary, bruno, http.StatusForbidden)
	w.keyed(theirs, "POST", partner+"/release", nil).problem(http.StatusForbidden, "You are not allowed here")
}

func TestKeysOfAService(t *testing.T) {
	t.Parallel()
	w, key, _ := office(t, nil)
	at := w.created(key)
	keys := func(method, path string) (k httpapi.ServiceKeys) {
		w.keyed(key, method, at+path, nil).into(http.StatusOK, &k)
		return k
	}
	works := func(key string) bool {
		return w.keyed(key, "POST", "/api/v1/messages/"+string(ada), letter()).StatusCode == http.StatusCreated
	}
	first := keys("GET", "/keys")
	require.Equal(t, first, keys("GET", "/keys"), "at any time")
	second := keys("PUT", "/keys/primary")
	require.NotEqual(t, first.Primary, second.Primary)
	require.Equal(t, first.Secondary, second.Secondary)
	w.keyed(first.Primary, "POST", "/api/v1/messages/"+string(ada), letter()).problem(http.StatusUnauthorized, "Unauthorized")
	third := keys("PUT", "/keys/secondary")
	require.Equal(t, second.Primary, third.Primary)
	require.Equal(t, third, keys("GET", "/keys"))
	require.False(t, works(second.Secondary))
	require.True(t, works(third.Primary) && works(third.Secondary))
	for _, kind := range []string{"Primary", "tertiary", "0"} {
		w.keyed(key, "PUT", at+"/keys/"+kind, nil).problem(http.StatusBadRequest, "Bad parameters")
	}
	require.NoError(t, w.eng.PutKey(t.Context(), idOf(at), appio.Primary, "una chiave fatta altrove"))
	require.Equal(t, httpapi.ServiceKeys{Secondary: third.Secondary}, keys("GET", "/keys"), "one made elsewhere cannot be shown")

	// An editor's key makes a service, whose keys somebody else makes.
	editor := w.manager(comune, appio.ManageKey{ID: "editor", Role: appio.Editor})
	made := w.created(editor, "name", "Sport")
	w.keyed(editor, "GET", made+"/keys", nil).problem(http.StatusForbidden, "You are not allowed here")
	at = made
	require.Zero(t, keys("GET", "/keys"))
	require.NotEmpty(t, keys("PUT", "/keys/secondary").Secondary)
}

func TestHistoryOfAService(t *testing.T) {
	t.Parallel()
	w, key, _ := office(t, nil)
	ctx := t.Context()
	at := w.approved(key, true)
	w.keyed(key, "PUT", at+"/keys/primary", nil)
	w.keyed(key, "PUT", at+"/logo", object{"logo": logo(2, 2)}).status(http.StatusNoContent)
	require.Equal(t, http.StatusOK, w.keyed(key, "PUT", at, payload("name", "Scuola e sport")).StatusCode)
	w.keyed(key, "PUT", at+"/review", object{"auto_publish": false}).status(http.StatusNoContent)
	_, err := w.eng.Reject(ctx, idOf(at), "anna", "Non adesso")
	require.NoError(t, err)
	w.keyed(key, "DELETE", at+"/release", nil).status(http.StatusNoContent)
	w.keyed(key, "POST", at+"/release", nil).status(http.StatusNoContent)
	require.NoError(t, w.eng.StopService(ctx, idOf(at), "anna", "reclami"))
	w.keyed(key, "DELETE", at, nil).status(http.StatusNoContent)
	want := []string{
		"lifecycle draft Scuola ", "lifecycle submitted Scuola ", "lifecycle approved Scuola ", "publication published Scuola ",
		"lifecycle draft Scuola e sport ", "lifecycle submitted Scuola e sport ", "lifecycle rejected Scuola e sport Non adesso",
		"publication unpublished Scuola ", "publication published Scuola ", "publication unpublished Scuola reclami", "lifecycle deleted Scuola e sport ",
	}
	history := func(query string, limit int) (lines []string) {
		for token := ""; ; {
			q := query
			if token != "" {
				q += "&continuationToken=" + token
			}
			var h httpapi.ServiceHistory
			a := w.keyed(key, "GET", at+"/history?"+q, nil)
			a.into(http.StatusOK, &h)
			require.NotContains(t, string(a.body), string(ada), "no persons")
			require.NotNil(t, h.Items)
			if h.Token != "" {
				require.Len(t, h.Items, limit, "a page is full although some of what happened has no status")
			}
			for _, i := range h.Items {
				require.Equal(t, idOf(at), i.ID)
				require.Equal(t, comune, i.Organization.FiscalCode)
				require.Empty(t, i.Recipients)
				require.Equal(t, "Educazione e formazione", i.Metadata.Topic.Name)
				lines = append(lines, i.Status.Kind+" "+i.Status.Value+" "+i.Name+" "+i.Status.Reason)
			}
			if token = string(h.Token); token == "" {
				return lines
			}
		}
	}
	for limit := 1; limit <= 12; limit++ {
		require.Equal(t, want, history(fmt.Sprint("order=ASC&limit=", limit), limit))
		down := history(fmt.Sprint("limit=", limit), limit)
		require.Len(t, down, len(want))
		for i := range down {
			require.Equal(t, want[len(want)-1-i], down[i])
		}
	}
	require.Len(t, history("order=DESC", 10), len(want))
	var h httpapi.ServiceHistory
	w.keyed(key, "GET", at+"/history?limit=2", nil).into(http.StatusOK, &h)
	for _, query := range []string{"limit=0", "limit=101", "limit=x", "order=asc", "order=ASC&order=ASC", "continuationToken=", "continuationToken=x",
		"order=ASC&continuationToken=" + string(h.Token), "%zz"} {
		w.keyed(key, "GET", at+"/history?"+query, nil).problem(http.StatusBadRequest, "Bad parameters")
	}
	other := w.created(key, "name", "Altro")
	w.keyed(key, "GET", other+"/history?continuationToken="+string(h.Token), nil).problem(http.StatusBadRequest, "Bad parameters")
}

func TestLogos(t *testing.T) {
	t.Parallel()
	w, key, theirs := office(t, nil)
	at, org := w.created(key), "/api/v1/organizations/"+string(comune)+"/logo"
	small := logo(300, 300)
	raw, err := base64.StdEncoding.DecodeString(small)
	require.NoError(t, err)
	w.keyed(key, "PUT", at+"/logo", object{"logo": strings.TrimRight(small, "=")}).status(http.StatusNoContent)
	got, err := w.eng.Logo(t.Context(), idOf(at))
	require.NoError(t, err)
	require.Equal(t, raw, got)
	for _, k := range []string{key, keyOf + string(mensa)} {
		w.keyed(k, "PUT", org, object{"logo": small}).status(http.StatusAccepted)
	}
	got, err = w.eng.OrganizationLogo(t.Context(), comune)
	require.NoError(t, err)
	require.Equal(t, raw, got)
	for _, where := range []string{at + "/logo", org} {
		for _, bad := range []any{"", "!", "AAAA", base64.StdEncoding.EncodeToString([]byte("GIF89a")), 7, nil, base64.StdEncoding.EncodeToString(raw[:len(raw)-1])} {
			p := w.keyed(key, "PUT", where, object{"logo": bad}).problem(http.StatusBadRequest, "Bad parameters")
			require.Contains(t, p.Detail, "logo: ")
		}
		large := base64.StdEncoding.EncodeToString(append(raw, make([]byte, 512<<10)...))
		w.keyed(key, "PUT", where, object{"logo": large}).problem(http.StatusBadRequest, "Bad parameters")
		w.keyed(key, "PUT", where, object{"logo": strings.Repeat("A", 768<<10)}).problem(http.StatusRequestEntityTooLarge, "")
	}
	for _, k := range []string{theirs, w.manager(comune, appio.ManageKey{ID: "g", Group: "scuola"}), w.manager(comune, appio.ManageKey{ID: "v", Role: appio.Viewer})} {
		w.keyed(k, "PUT", org, object{"logo": small}).problem(http.StatusForbidden, "You are not allowed here")
	}
	w.keyed(keyOf+string(mensa), "PUT", "/api/v1/organizations/"+string(regione)+"/logo", object{"logo": small}).problem(http.StatusForbidden, "You are not allowed here")
	w.keyed(key, "PUT", "/api/v1/organizations/123/logo", object{"logo": small}).problem(http.StatusBadRequest, "Bad parameters")
	w.service(appio.Service{ID: tributi, Name: "Tributi", State: appio.Live, Scopes: []appio.Scope{appio.WriteMessages, appio.ReadMessages}})
	w.keyed(keyOf+string(tributi), "PUT", org, object{"logo": small}).problem(http.StatusForbidden, "You are not allowed here")
	w.ask("PUT", org, object{"logo": small}).problem(http.StatusUnauthorized, "Unauthorized")
	w.keyed(strings.Repeat("k", 40), "PUT", org, object{"logo": small}).problem(http.StatusUnauthorized, "Unauthorized")
}

// Who manages a group's services has their keys, and still changes nothing that is the whole organization's.
func TestAGroupHasNoLogo(t *testing.T) {
	t.Parallel()
	w, key, _ := office(t, nil)
	org, small := "/api/v1/organizations/"+string(comune)+"/logo", object{"logo": logo(3, 2)}
	school := w.manager(comune, appio.ManageKey{ID: "school", Group: "scuola"})
	keysOf := func(manager, at string) (k httpapi.ServiceKeys) {
		w.keyed(manager, "GET", at+"/keys", nil).into(http.StatusOK, &k)
		return k
	}
	at := w.created(school)
	theirs := keysOf(school, at)
	for _, live := range []bool{false, true} {
		for _, k := range []string{school, theirs.Primary, theirs.Secondary} {
			w.keyed(k, "PUT", org, small).problem(http.StatusForbidden, "You are not allowed here")
		}
		w.keyed(school, "PUT", at+"/logo", small).status(http.StatusNoContent)
		if !live {
			w.keyed(school, "PUT", at+"/review", object{"auto_publish": true}).status(http.StatusNoContent)
			_, err := w.eng.Approve(t.Context(), idOf(at), "anna")
			require.NoError(t, err)
		}
		w.keyed(theirs.Primary, "POST", "/api/v1/messages/"+string(ada), letter()).into(http.StatusCreated, &httpapi.CreatedMessage{})
	}
	_, err := w.eng.OrganizationLogo(t.Context(), comune)
	require.ErrorIs(t, err, appio.ErrNotFound)
	w.keyed(keysOf(key, w.created(key)).Primary, "PUT", org, small).status(http.StatusAccepted)
	require.NoError(t, w.eng.Authority(comune).SetGroup(t.Context(), idOf(at), ""))
	w.keyed(theirs.Primary, "PUT", org, small).status(http.StatusAccepted)
}

func TestTopics(t *testing.T) {
	t.Parallel()
	w, key, _ := office(t, nil)
	for _, k := range []string{key, keyOf + string(mensa)} {
		var l httpapi.TopicList
		w.keyed(k, "GET", managed+"/topics", nil).into(http.StatusOK, &l)
		require.Len(t, l.Topics, 18)
		require.Equal(t, []httpapi.Topic{{ID: 0, Name: "Altro"}, {ID: 1, Name: "Ambiente e animali"}}, l.Topics[:2])
	}
	w.ask("GET", managed+"/topics", nil).problem(http.StatusUnauthorized, "Unauthorized")
	w.keyed(strings.Repeat("k", 40), "GET", managed+"/topics", nil).problem(http.StatusUnauthorized, "Unauthorized")
}

// An aggregator manages the services of those who name it, with its own key or one for each of them.
func TestAggregators(t *testing.T) {
	t.Parallel()
	w, key, theirs := office(t, nil)
	w.keyed(theirs, "POST", managed, payload()).problem(http.StatusForbidden, "You are not allowed here")
	own := w.created(key, "name", "Prima")
	name := func(codes ...fiscalcode.Organization) {
		require.NoError(t, w.eng.PutOrganization(t.Context(), appio.Organization{Code: comune, Name: "Comune", SignedAt: time.Now().Add(-time.Hour), Aggregators: codes}))
	}
	name(regione)
	at := w.created(theirs)
	require.Equal(t, http.StatusOK, w.keyed(theirs, "GET", at, nil).StatusCode)
	var page httpapi.ServicePage
	w.keyed(theirs, "GET", managed, nil).into(http.StatusOK, &page)
	require.Equal(t, 1, page.Pagination.Count, "what it has made")
	require.Equal(t, "Comune", page.Value[0].Organization.Name)
	require.Equal(t, http.StatusOK, w.keyed(theirs, "PUT", own, payload("name", "Prima")).StatusCode)
	w.keyed(theirs, "GET", managed, nil).into(http.StatusOK, &page)
	require.Equal(t, 2, page.Pagination.Count, "and what it has edited")
	w.keyed(theirs, "PUT", "/api/v1/organizations/"+string(comune)+"/logo", object{"logo": logo(1, 1)}).status(http.StatusAccepted)

	regional := w.created(theirs, "organization.fiscal_code", regione)
	w.keyed(theirs, "PUT", regional, payload()).problem(http.StatusForbidden, "You are not allowed here") // a service does not change hands so
	w.keyed(theirs, "DELETE", regional, nil).status(http.StatusNoContent)

	acting := w.eng.Authority(regione).For(comune)
	require.NoError(t, acting.PutManageKey(t.Context(), appio.ManageKey{ID: "per il comune", Role: appio.Administrator}))
	forComune, err := acting.NewManageKey(t.Context(), "per il comune", appio.Primary)
	require.NoError(t, err)
	w.keyed(forComune, "GET", managed, nil).into(http.StatusOK, &page)
	require.Equal(t, 2, page.Pagination.Count, "all of the organization")
	name()
	w.keyed(theirs, "GET", at, nil).problem(http.StatusForbidden, "You are not allowed here")
	w.keyed(forComune, "GET", at, nil).problem(http.StatusForbidden, "You are not allowed here")
	w.keyed(theirs, "GET", managed, nil).into(http.StatusOK, &page)
	require.Zero(t, page.Pagination.Count)
	require.Equal(t, http.StatusOK, w.keyed(key, "GET", at, nil).StatusCode)
}

// A paper is what a client of IO would expect of a service.
type paper struct {
	stage, draft, live       string // live: empty, there is none
	published, auto, stopped bool
}

// TestManagingAgreesWithAModel does what is chosen at random over HTTP, and holds each answer against a model, and then the service.
func TestManagingAgreesWithAModel(t *testing.T) {
	t.Parallel()
	w, key, _ := office(t, nil)
	seed := form.Seed(t)
	r := rand.New(rand.NewPCG(seed, 3))
	for round := range 12 {
		var steps []string
		m := paper{stage: "draft", draft: fmt.Sprint("Scuola ", round)}
		at := w.created(key, "name", m.draft)
		var keys httpapi.ServiceKeys
		w.keyed(key, "GET", at+"/keys", nil).into(http.StatusOK, &keys)
		approve := func() {
			m.stage, m.live = "approved", m.draft
			m.published = m.published || m.auto && !m.stopped
		}
		for range 40 {
			want, got, step := http.StatusNoContent, 0, ""
			deleted := m.stage == "deleted"
			switch r.IntN(9) {
			case 0, 1:
				name := fmt.Sprintf("Scuola %d%s", round, []string{"", " e sport"}[r.IntN(2)])
				step, want = "edit", http.StatusOK
				if m.stage == "submitted" || deleted {
					want = http.StatusConflict
				} else {
					m.stage, m.draft = "draft", name
				}
				got = w.keyed(key, "PUT", at, payload("name", name)).StatusCode
			case 2, 3:
				auto := r.IntN(2) == 0
				step = fmt.Sprint("review ", auto)
				if m.stage != "draft" {
					want = http.StatusConflict
				} else {
					m.stage, m.auto = "submitted", auto
					if m.live == m.draft {
						approve()
					}
				}
				got = w.keyed(key, "PUT", at+"/review", object{"auto_publish": auto}).StatusCode
			case 4:
				if m.stage != "submitted" {
					continue
				}
				var err error
				if got = http.StatusNoContent; r.IntN(3) > 0 {
					step = "approve"
					approve()
					_, err = w.eng.Approve(t.Context(), idOf(at), "")
				} else {
					step, m.stage = "reject", "rejected"
					_, err = w.eng.Reject(t.Context(), idOf(at), "", "no")
				}
				require.NoError(t, err)
			case 5:
				step = "publish"
				switch {
				case deleted || m.live == "":
					want = http.StatusNotFound
				case m.stopped:
					want = http.StatusForbidden
				default:
					m.published = true
				}
				got = w.keyed(key, "POST", at+"/release", nil).StatusCode
			case 6:
				step = "unpublish"
				if deleted || m.live == "" {
					want = http.StatusNotFound
				} else {
					m.published = false
				}
				got = w.keyed(key, "DELETE", at+"/release", nil).StatusCode
			case 7:
				if r.IntN(6) > 0 {
					continue
				}
				step = "delete"
				if m.stage == "submitted" || deleted {
					want = http.StatusConflict
				} else {
					m.stage, m.published = "deleted", false
				}
				got = w.keyed(key, "DELETE", at, nil).StatusCode
			case 8:
				if deleted || m.live == "" {
					continue
				}
				got = http.StatusNoContent
				if m.stopped = !m.stopped; m.stopped {
					step, m.published = "stop", false
					require.NoError(t, w.eng.StopService(t.Context(), idOf(at), "", ""))
				} else {
					step = "allow"
					require.NoError(t, w.eng.AllowService(t.Context(), idOf(at), ""))
				}
			}
			steps = append(steps, step)
			say := fmt.Sprintf("seed %d: %s", seed, strings.Join(steps, ", "))
			require.Equal(t, want, got, say)
			var s httpapi.Service
			w.keyed(key, "GET", at, nil).into(http.StatusOK, &s)
			require.Equal(t, []string{m.stage, m.draft}, []string{s.Status.Value, s.Name}, say)
			a := w.keyed(key, "GET", at+"/release", nil)
			if m.live == "" || m.stage == "deleted" {
				a.problem(http.StatusNotFound, "Not found")
			} else {
				var p httpapi.PublishedService
				a.into(http.StatusOK, &p)
				require.Equal(t, []any{m.published, m.live}, []any{p.Status == "published", p.Name}, say)
			}
			status := http.StatusForbidden
			if m.published {
				status = http.StatusCreated
			} else if m.stage == "deleted" {
				status = http.StatusUnauthorized
			}
			require.Equal(t, status, w.keyed(keys.Primary, "POST", "/api/v1/messages/"+string(bruno), letter()).StatusCode, say)
		}
	}
}

// A store that fails is 500, whatever is asked, and nothing is said of why.
func TestManagingWithoutAStore(t *testing.T) {
	t.Parallel()
	s := &failing{Store: memstore.New()}
	s.after.Store(never)
	w := setupOn(t, s, nil, nil)
	require.NoError(t, w.eng.PutOrganization(t.Context(), appio.Organization{Code: comune, Name: "Comune", SignedAt: time.Now().Add(-time.Hour)}))
	key := w.manager(comune, appio.ManageKey{ID: "gestionale"})
	at := w.approved(key, true)
	for after := range 3 { // the key is read first, and then the service
		ask := func(method, path string, body any) {
			s.after.Store(int64(after))
			a := w.keyed(key, method, path, body)
			failed := s.after.Load() < 0
			s.after.Store(never)
			require.True(t, failed || after > 0, "%s %s", method, path)
			if failed {
				require.Empty(t, a.problem(http.StatusInternalServerError, "Internal server error").Detail, "%s %s", method, path)
			}
		}
		ask("GET", managed, nil)
		ask("GET", managed+"/topics", nil)
		ask("POST", managed, payload())
		ask("PUT", "/api/v1/organizations/"+string(comune)+"/logo", object{"logo": logo(1, 1)})
		for _, p := range managedPaths {
			ask(p.method, at+p.path, p.body)
		}
	}
}

// failing fails each read after some.
type failing struct {
	store.Store
	after atomic.Int64
}

const never = 1 << 40

func (f *failing) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if f.after.Add(-1) < 0 {
		return nil, errors.New("the disk is gone")
	}
	return f.Store.View(ctx, reads)
}
