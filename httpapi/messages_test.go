package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/pagopa"
)

type object = map[string]any

// letter is a message that can be sent. Each change is a path, as "content.subject", and a value; nil takes it out.
func letter(changes ...any) object {
	l := object{"content": object{"subject": "Iscrizione alla mensa", "markdown": strings.Repeat("Le iscrizioni aprono. ", 6)}}
	for i := 0; i < len(changes); i += 2 {
		o, path := l, strings.Split(changes[i].(string), ".")
		for _, name := range path[:len(path)-1] {
			if o[name] == nil {
				o[name] = object{}
			}
			o = o[name].(object)
		}
		if o[path[len(path)-1]] = changes[i+1]; changes[i+1] == nil {
			delete(o, path[len(path)-1])
		}
	}
	return l
}

func path(to fiscalcode.Person) string { return "/api/v1/messages/" + string(to) }

// send sends a message that must be accepted.
func (w *world) send(by appio.ServiceID, to fiscalcode.Person, body any, headers ...string) (id string) {
	w.t.Helper()
	var got httpapi.CreatedMessage
	a := w.as(by, "POST", path(to), body, headers...)
	a.into(http.StatusCreated, &got)
	require.Len(w.t, string(got.ID), 26)
	require.Equal(w.t, path(to)+"/"+string(got.ID), a.Header.Get("Location"))
	return string(got.ID)
}

func TestSubmit(t *testing.T) {
	t.Parallel()
	w := setup(t, nil, nil)

	t.Run("by the path or the body", func(t *testing.T) {
		id := w.send(mensa, ada, letter())
		m, err := w.citizen(ada).Message(t.Context(), appio.MessageID(id))
		require.NoError(t, err)
		require.Equal(t, "Iscrizione alla mensa", m.Subject)

		var got httpapi.CreatedMessage
		a := w.as(mensa, "POST", "/api/v1/messages", letter("fiscal_code", ada))
		a.into(http.StatusCreated, &got)
		require.Equal(t, path(ada)+"/"+string(got.ID), a.Header.Get("Location"))

		w.as(mensa, "POST", "/api/v1/messages", letter()).problem(http.StatusBadRequest, "Bad parameters")
		w.as(mensa, "POST", path(ada), letter("fiscal_code", ada)).problem(http.StatusBadRequest, "Bad parameters")
	})

	t.Run("a code outside the pattern is 400 in both", func(t *testing.T) {
		for _, code := range []string{"rssmra85m10h501s", "RSSMRA85M10H501", "x", "RSSMRA85M10H501S%20", "%C3%80"} {
			w.as(mensa, "POST", "/api/v1/messages/"+code, letter()).problem(http.StatusBadRequest, "Bad parameters")
		}
		for _, code := range []any{"", "rssmra85m10h501s", "RSSMRA85M10H501S "} {
			w.as(mensa, "POST", "/api/v1/messages", letter("fiscal_code", code)).problem(http.StatusBadRequest, "Bad parameters")
		}
		w.as(mensa, "POST", "/api/v1/messages", letter("fiscal_code", 7)).problem(http.StatusBadRequest, "Invalid message structure")
	})

	t.Run("what the engine refuses is 400, by the member's name", func(t *testing.T) {
		text := func(n int) string { return strings.Repeat("x", n) }
		for _, c := range []struct {
			name  string // of the member; empty: it is taken
			value any
			also  string // member that the problem names instead
		}{
			{"content.subject", text(9), ""}, {"", object{"content.subject": text(10)}, ""}, {"", object{"content.subject": text(120)}, ""},
			{"content.subject", text(121), ""}, {"content.subject", nil, ""}, {"content.subject", 10, ""},
			{"", object{"content.subject": strings.Repeat("🗑", 5)}, ""}, {"content.subject", strings.Repeat("🗑", 61), ""},
			{"content.markdown", text(79), ""}, {"", object{"content.markdown": text(80)}, ""}, {"", object{"content.markdown": text(10_000)}, ""},
			{"", object{"content.markdown": strings.Repeat("€", 10_000)}, ""}, {"content.markdown", text(10_001), ""}, {"content.markdown", nil, ""},
			{"content", nil, ""}, {"content", "x", ""}, {"content", []any{}, ""},
			{"time_to_live", 3599, ""}, {"", object{"time_to_live": 3600}, ""}, {"", object{"time_to_live": 604800}, ""}, {"time_to_live", 604801, ""},
			{"time_to_live", 0, ""}, {"time_to_live", -1, ""}, {"time_to_live", 3600.5, ""}, {"time_to_live", "3600", ""},
			{"time_to_live", int64(18446744077), ""}, {"time_to_live", int64(1) << 52, ""}, {"", object{"time_to_live": json.Number("36e2")}, ""},
			{"feature_level_type", "PREMIUM", ""}, {"", object{"feature_level_type": "STANDARD"}, ""}, {"", object{"feature_level_type": "ADVANCED"}, ""},
			{"content.due_date", "2026-12-31", ""}, {"content.due_date", "", ""}, {"content.due_date", "2026-12-31T23:59Z", ""}, {"content.due_date", 7, ""},
			{"content.due_date", "2026-12-31 23:59:59Z", ""}, {"content.due_date", "2026-13-31T23:59:59Z", ""}, {"content.due_date", "2026-12-31T3:59:59Z", ""},
			{"content.due_date", "0000-12-31T23:59:59Z", ""}, {"content.due_date", "0001-01-01T00:00:00Z", ""}, {"content.due_date", "0001-01-01T01:00:00+01:00", ""},
			{"", object{"content.due_date": "2026-12-31T23:59:59Z"}, ""}, {"", object{"content.due_date": "2026-12-31T23:59:59.123+01:00"}, ""},
			{"", object{"content.due_date": "2026-12-31T23:59:59"}, ""}, {"", object{"content.require_secure_channels": true}, ""},
			{"content.require_secure_channels", "true", ""},
			{"content.prescription_data", object{}, "content.prescription_data.nre"},
			{"content.prescription_data.nre", "010A1234567890", ""}, {"", object{"content.prescription_data.nre": "010A12345678901"}, ""},
			{"content.prescription_data", object{"nre": "010A12345678901", "iup": ""}, "content.prescription_data.iup"},
			{"content.prescription_data", object{"nre": "010A12345678901", "prescriber_fiscal_code": "x"}, "content.prescription_data.prescriber_fiscal_code"},
			{"", object{"default_addresses.email": "ente@example.it", "sender": "an unknown member", "content.x": []any{object{"y": nil}}}, ""},
		} {
			if c.name == "" {
				for name, v := range c.value.(object) {
					w.send(mensa, ada, letter(name, v))
				}
				continue
			}
			p := w.as(mensa, "POST", path(ada), letter(c.name, c.value)).problem(http.StatusBadRequest, "Invalid message structure")
			if c.also != "" {
				c.name = c.also
			}
			require.Contains(t, p.Detail, c.name+": ")
			if s, is := c.value.(string); is && len(s) > 4 {
				require.NotContains(t, p.Detail, s, "nothing of a message is quoted")
			}
		}
	})

	t.Run("what is no JSON of a message is 400", func(t *testing.T) {
		whole, err := json.Marshal(letter())
		require.NoError(t, err)
		for _, body := range []string{"", "{", "null", "[]", "7", `"x"`, string(whole) + "}", string(whole[:len(whole)-1]), "\ufeff" + string(whole),
			strings.Replace(string(whole), "Iscrizione", "\xff", 1), strings.Replace(string(whole), "Iscrizione", `\ud800`, 1),
			strings.Replace(string(whole), `"content"`, `"Content"`, 1), strings.Replace(string(whole), `"subject"`, `"subject":"x","subject"`, 1),
			strings.Replace(string(whole), `"subject"`, `"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,"subject"`, 1),
		} {
			w.as(mensa, "POST", path(ada), body).problem(http.StatusBadRequest, "Invalid message structure")
		}
	})

	t.Run("a body that is too large is 413", func(t *testing.T) {
		large := letter("x", strings.Repeat("x", 300_000))
		w.as(mensa, "POST", path(ada), large).problem(http.StatusRequestEntityTooLarge, "")
		j, err := json.Marshal(large)
		require.NoError(t, err)
		req, err := http.NewRequest("POST", w.url+path(ada), struct{ *strings.Reader }{strings.NewReader(string(j))}) // of unknown length
		require.NoError(t, err)
		req.Header.Set(httpapi.KeyHeader, keyOf+string(mensa))
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
	})

	t.Run("the longest message fits, however it is escaped", func(t *testing.T) {
		body := `{"content":{"subject":"Iscrizione alla mensa","markdown":"` + strings.Repeat(`\ud83d\uddd1`, 5_000) + `"}}`
		w.send(mensa, ada, body)
	})
}

func TestNotices(t *testing.T) {
	t.Parallel()
	w := setup(t, nil, nil)
	notice := func(changes ...any) object {
		return letter(append([]any{"content.payment_data", object{"amount": 100_00, "notice_number": "302032002700000251"}}, changes...)...)
	}
	id := w.send(mensa, ada, notice())
	var got httpapi.MessageResponse
	w.as(mensa, "GET", path(ada)+"/"+id, nil).into(http.StatusOK, &got)
	require.Equal(t, &httpapi.PaymentData{Amount: 100_00, NoticeNumber: "302032002700000251", Payee: &httpapi.Payee{FiscalCode: string(comune)}},
		got.Message.Content.Payment, "the payee is filled in")

	w.send(mensa, ada, notice("content.payment_data.payee", object{"fiscal_code": comune}))
	w.as(mensa, "POST", path(ada), notice("content.payment_data.payee", object{"fiscal_code": "80078750587"})).problem(http.StatusForbidden, "You are not allowed here")
	w.as(mensa, "POST", path(ada), notice("content.payment_data.amount", 100_01)).problem(http.StatusBadRequest, "Error while sending payment metadata")
	for name, v := range map[string]any{"amount": 0, "notice_number": "402032002700000251", "payee": object{"fiscal_code": "1"}} {
		w.as(mensa, "POST", path(ada), notice("content.payment_data."+name, v)).problem(http.StatusBadRequest, "Invalid message structure")
	}
	w.as(mensa, "POST", path(ada), notice("content.payment_data.amount", json.Number("10000000000"))).problem(http.StatusBadRequest, "Invalid message structure")
	w.as(tributi, "POST", path(ada), notice()).problem(http.StatusBadRequest, "Error while sending payment metadata")
}

func TestWhoMaySend(t *testing.T) {
	t.Parallel()
	w, ctx := setup(t, nil, nil), context.Background()

	t.Run("without a key that is known it is 401", func(t *testing.T) {
		for _, c := range []struct{ method, path string }{
			{"POST", "/api/v1/messages"}, {"POST", path(ada)}, {"GET", path(ada) + "/01BX9NSMKVXXS5PSP2FATZMYYY"},
			{"POST", "/api/v1/profiles"}, {"GET", "/api/v1/profiles/" + string(ada)},
			{"POST", "/api/v1/messages/x"}, // it is said before anything else
		} {
			w.ask(c.method, c.path, letter()).problem(http.StatusUnauthorized, "Unauthorized")
			w.ask(c.method, c.path, letter(), httpapi.KeyHeader, "key-that-nobody-has").problem(http.StatusUnauthorized, "Unauthorized")
		}
	})

	t.Run("with an organization's key it is 403, for as long as the key is known", func(t *testing.T) {
		a := w.eng.Authority(comune)
		require.NoError(t, a.PutManageKey(ctx, appio.ManageKey{ID: "gestionale", Role: appio.Administrator}))
		key, err := a.NewManageKey(ctx, "gestionale", appio.Primary)
		require.NoError(t, err)
		for _, c := range []struct{ method, path string }{
			{"POST", "/api/v1/messages"}, {"POST", path(ada)}, {"GET", path(ada) + "/01BX9NSMKVXXS5PSP2FATZMYYY"}, {"GET", "/api/v1/profiles/" + string(ada)},
		} {
			w.ask(c.method, c.path, letter(), httpapi.KeyHeader, key).problem(http.StatusForbidden, "You are not allowed here")
		}
		require.NoError(t, a.RemoveManageKey(ctx, "gestionale"))
		w.ask("POST", path(ada), letter(), httpapi.KeyHeader, key).problem(http.StatusUnauthorized, "Unauthorized")
	})

	t.Run("a key that was replaced is 401, and the other still works", func(t *testing.T) {
		w.service(appio.Service{ID: "rotated", Name: "Anagrafe", State: appio.Live})
		second, err := w.eng.NewKey(ctx, "rotated", appio.Secondary)
		require.NoError(t, err)
		w.send("rotated", ada, letter())
		first, err := w.eng.NewKey(ctx, "rotated", appio.Primary)
		require.NoError(t, err)
		w.as("rotated", "POST", path(ada), letter()).problem(http.StatusUnauthorized, "Unauthorized")
		for _, key := range []string{first, second} {
			require.Equal(t, http.StatusCreated, w.ask("POST", path(ada), letter(), httpapi.KeyHeader, key).StatusCode)
		}
	})

	t.Run("a service in trial writes to its recipients alone", func(t *testing.T) {
		w.service(appio.Service{ID: "trial", Name: "Prova", Trial: []fiscalcode.Person{bruno}})
		for _, to := range []fiscalcode.Person{bruno, fiscalcode.Sandbox} {
			w.send("trial", to, letter())
		}
		for _, to := range []fiscalcode.Person{ada, nobody} {
			w.as("trial", "POST", path(to), letter()).problem(http.StatusForbidden, "Recipient forbidden")
			w.as("trial", "GET", "/api/v1/profiles/"+string(to), nil).problem(http.StatusForbidden, "Recipient forbidden")
		}
	})

	t.Run("a service that was unpublished writes to nobody", func(t *testing.T) {
		w.service(appio.Service{ID: "stopped", Name: "Chiuso", State: appio.Live})
		id := w.send("stopped", ada, letter())
		w.service(appio.Service{ID: "stopped", Name: "Chiuso", State: appio.Stopped})
		for _, to := range []fiscalcode.Person{ada, nobody} {
			w.as("stopped", "POST", path(to), letter()).problem(http.StatusForbidden, "Production call forbidden")
			w.as("stopped", "GET", "/api/v1/profiles/"+string(to), nil).problem(http.StatusForbidden, "Production call forbidden")
		}
		require.Equal(t, http.StatusOK, w.as("stopped", "GET", path(ada)+"/"+id, nil).StatusCode, "what it sent it may look at")
	})

	t.Run("the end of an agreement stops a published service", func(t *testing.T) {
		code := fiscalcode.Organization("80078750587")
		require.NoError(t, w.eng.PutOrganization(ctx, appio.Organization{Code: code, Name: "Ente", SignedAt: time.Now().Add(-time.Hour)}))
		a := w.eng.Authority(code)
		d, err := a.PutDraft(ctx, appio.Service{Name: "Servizio", Description: "Che cosa fa", Privacy: "https://example.it/privacy", Email: "ente@example.it"})
		require.NoError(t, err)
		_, err = a.Submit(ctx, d.ID, true)
		require.NoError(t, err)
		d, err = w.eng.Approve(ctx, d.ID, "ufficio")
		require.NoError(t, err)
		require.Equal(t, appio.Published, d.Publication)
		key, err := a.NewKey(ctx, d.ID, appio.Primary)
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, w.ask("POST", path(ada), letter(), httpapi.KeyHeader, key).StatusCode)
		require.NoError(t, w.eng.WithdrawAgreement(ctx, code))
		w.ask("POST", path(ada), letter(), httpapi.KeyHeader, key).problem(http.StatusForbidden, "Production call forbidden")
	})

	t.Run("what a service has no permission for is 403", func(t *testing.T) {
		w.as(tributi, "POST", path(ada), letter("feature_level_type", "ADVANCED")).problem(http.StatusForbidden, "You are not allowed here")
		for name, v := range map[string]any{
			"eu_covid_cert": object{"auth_code": "1"},
			"legal_data":    object{"sender_mail_from": "pec@example.it", "has_attachment": false, "message_unique_id": "1"},
		} {
			w.as(mensa, "POST", path(ada), letter("content."+name, v)).problem(http.StatusForbidden, "You are not allowed here")
		}
	})
}

func TestScopes(t *testing.T) {
	t.Parallel()
	w := setup(t, nil, nil)
	id := w.send(mensa, ada, letter("feature_level_type", "ADVANCED"))
	only := func(scopes ...appio.Scope) {
		w.service(appio.Service{ID: mensa, Name: "Mensa", State: appio.Live, Premium: true, Scopes: scopes})
	}
	for _, c := range []struct {
		method, path string
		needs        appio.Scope
	}{
		{"POST", path(ada), appio.WriteMessages}, {"GET", path(ada) + "/" + id, appio.ReadMessages}, {"GET", "/api/v1/profiles/" + string(ada), appio.ReadProfiles},
	} {
		only(appio.ReadFeed)
		w.as(mensa, c.method, c.path, letter()).problem(http.StatusForbidden, "You are not allowed here")
		only(c.needs)
		require.Less(t, w.as(mensa, c.method, c.path, letter()).StatusCode, 300)
	}
	var r httpapi.MessageResponse
	only(appio.ReadMessages)
	w.as(mensa, "GET", path(ada)+"/"+id, nil).into(http.StatusOK, &r)
	require.Empty(t, r.ReadStatus)
	only(appio.ReadMessages, appio.ReadAdvanced)
	w.as(mensa, "GET", path(ada)+"/"+id, nil).into(http.StatusOK, &r)
	require.Equal(t, "UNREAD", r.ReadStatus)
}

func TestRemoteContent(t *testing.T) {
	t.Parallel()
	w, ctx := setup(t, nil, nil), context.Background()
	configured := func(code fiscalcode.Organization) string {
		c, err := w.eng.Authority(code).PutRemoteConfiguration(ctx, appio.RemoteConfiguration{
			Name: "Protocollo", Description: "Gli atti", Precondition: appio.Once,
			Production: &appio.RemoteSystem{URL: "https://atti.example.it/io", Header: "X-Api-Key", Key: "la-chiave", Type: "API_KEY"},
		})
		require.NoError(t, err)
		return string(c.ID)
	}
	own := configured(comune)
	const data = "content.third_party_data."
	remote := func(changes ...any) object {
		return letter(append([]any{"feature_level_type", "ADVANCED", data + "id", "atto 1/2", data + "configuration_id", own}, changes...)...)
	}
	id := w.send(mensa, ada, remote(data+"has_attachments", true, data+"has_remote_content", true, data+"summary", "Una notifica",
		data+"original_sender", "Procura", data+"original_receipt_date", "2026-01-02T03:04:05Z"))
	var got struct {
		Message struct {
			Content struct {
				Data object `json:"third_party_data"`
			} `json:"content"`
		} `json:"message"`
	}
	w.as(mensa, "GET", path(ada)+"/"+id, nil).into(http.StatusOK, &got)
	require.Equal(t, object{"id": "atto 1/2", "configuration_id": own, "has_attachments": true, "has_remote_content": true, "summary": "Una notifica",
		"original_sender": "Procura", "original_receipt_date": "2026-01-02T03:04:05.000Z", "has_precondition": "ONCE"}, got.Message.Content.Data)

	w.send(mensa, ada, remote("feature_level_type", "STANDARD", data+"has_precondition", "NEVER"))
	w.as(mensa, "POST", path(ada), remote(data+"configuration_id", nil)).problem(http.StatusForbidden, "No configuration id for remote content")
	for _, other := range []string{configured("80078750587"), "01BX9NSMKVXXS5PSP2FATZMYYY"} {
		w.as(mensa, "POST", path(ada), remote(data+"configuration_id", other)).problem(http.StatusForbidden, "Not your configuration")
	}
	w.as(mensa, "POST", path(ada), remote("feature_level_type", "STANDARD", data+"has_attachments", true)).problem(http.StatusForbidden, "Attachments call forbidden")
	for name, v := range map[string]any{"id": "", "configuration_id": "x", "has_precondition": "SOMETIMES", "summary": "", "original_sender": "",
		"has_attachments": "yes", "original_receipt_date": "2026-01-02"} {
		p := w.as(mensa, "POST", path(ada), remote(data+name, v)).problem(http.StatusBadRequest, "Invalid message structure")
		require.Contains(t, p.Detail, data+name+": ")
	}
	w.service(appio.Service{ID: mensa, Name: "Mensa", State: appio.Live, Premium: true, Scopes: []appio.Scope{appio.WriteMessages}})
	w.as(mensa, "POST", path(ada), remote()).problem(http.StatusForbidden, "You are not allowed here")
}

func TestWhereAKeyMayBeUsed(t *testing.T) {
	t.Parallel()
	var from atomic.Value
	from.Store(netip.Addr{})
	w := setup(t, nil, &httpapi.Options{Addr: func(*http.Request) netip.Addr { return from.Load().(netip.Addr) }})
	near := setup(t, nil, nil)
	for _, w := range []*world{w, near} {
		w.service(appio.Service{ID: "bound", Name: "Sportello", State: appio.Live, Prefixes: []netip.Prefix{
			netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("0.0.0.0/1")}})
	}
	for addr, status := range map[string]int{
		"192.0.2.7": http.StatusCreated, "::ffff:192.0.2.7": http.StatusCreated, "2001:db8::1": http.StatusCreated, "127.0.0.1": http.StatusCreated,
		"192.0.3.7": http.StatusForbidden, "2001:db9::1": http.StatusForbidden, "::1": http.StatusForbidden,
	} {
		from.Store(netip.MustParseAddr(addr))
		require.Equal(t, status, w.as("bound", "POST", path(ada), letter()).StatusCode, addr)
	}
	from.Store(netip.Addr{})
	w.as("bound", "POST", path(ada), letter()).problem(http.StatusForbidden, "You are not allowed here")
	w.as("bound", "GET", "/api/v1/profiles/"+string(ada), nil).problem(http.StatusForbidden, "You are not allowed here")
	w.send(mensa, ada, letter())
	near.send("bound", ada, letter()) // from 127.0.0.1
}

// A key that is bound to all addresses is bound to those that somebody has: what the host does not know, or is nobody's, is none of them.
func TestAnAddressThatNobodyKnows(t *testing.T) {
	t.Parallel()
	var from atomic.Value
	w := setup(t, nil, &httpapi.Options{Addr: func(*http.Request) netip.Addr { return from.Load().(netip.Addr) }})
	for _, c := range []struct {
		prefix string
		may    []string // of those below
	}{
		{"::/0", []string{"2001:db8::1"}},
		{"0.0.0.0/0", []string{"192.0.2.7", "::ffff:192.0.2.7"}},
		{"::ffff:0:0/96", []string{"192.0.2.7", "::ffff:192.0.2.7"}},
		{"::/128", nil},
	} {
		prefixes := []netip.Prefix{netip.MustParsePrefix(c.prefix)}
		w.service(appio.Service{ID: "bound", Name: "Sportello", State: appio.Live, Prefixes: prefixes})
		key := w.manager(comune, appio.ManageKey{ID: "bound", Prefixes: prefixes})
		for _, addr := range []string{"", "::", "0.0.0.0", "::ffff:0.0.0.0", "2001:db8::1", "192.0.2.7", "::ffff:192.0.2.7"} {
			var is netip.Addr
			if addr != "" {
				is = netip.MustParseAddr(addr)
			}
			from.Store(is)
			sent, listed := w.as("bound", "POST", path(ada), letter()), w.keyed(key, "GET", managed, nil)
			if slices.Contains(c.may, addr) {
				require.Equal(t, []int{201, 200}, []int{sent.StatusCode, listed.StatusCode}, "%s from %q", c.prefix, addr)
				continue
			}
			require.Equal(t, []int{403, 403}, []int{sent.StatusCode, listed.StatusCode}, "%s from %q", c.prefix, addr)
		}
	}
}

// Whoever does not agree, and who is not known, are accepted alike, and are all rejected, for no reason that is said.
func TestRejected(t *testing.T) {
	t.Parallel()
	w := setup(t, nil, nil)
	shape := func(a answered, to fiscalcode.Person, id string) string {
		h := a.Header.Clone()
		h.Del("Date")
		s := fmt.Sprintf("%d %v %s", a.StatusCode, h, a.body)
		return strings.NewReplacer(string(to), "CODE", id, "ID").Replace(s)
	}
	var accepted, rejected []string
	for _, to := range []fiscalcode.Person{ada, bruno, carla, nobody} {
		a := w.as(mensa, "POST", path(to), letter("feature_level_type", "ADVANCED", "time_to_live", 7200))
		var got httpapi.CreatedMessage
		a.into(http.StatusCreated, &got)
		accepted = append(accepted, shape(a, to, string(got.ID)))
		a = w.as(mensa, "GET", path(to)+"/"+string(got.ID), nil)
		if to == ada {
			continue
		}
		var r httpapi.MessageResponse
		a.into(http.StatusOK, &r)
		require.Equal(t, httpapi.MessageResponse{Status: appio.Rejected, Message: httpapi.SentMessage{
			ID: got.ID, FiscalCode: string(to), CreatedAt: r.Message.CreatedAt, FeatureLevelType: "ADVANCED", SenderServiceID: mensa}}, r)
		at, err := r.Message.CreatedAt.MarshalText()
		require.NoError(t, err)
		rejected = append(rejected, strings.Replace(shape(a, to, string(got.ID)), string(at), "AT", 1))
	}
	for _, s := range accepted {
		require.Equal(t, accepted[0], s)
	}
	for _, s := range rejected {
		require.Equal(t, rejected[0], s)
	}
	require.NotContains(t, rejected[0], "reason")
}

func TestSentMessage(t *testing.T) {
	t.Parallel()
	w := setup(t, nil, nil)
	id := w.send(mensa, ada, letter(
		"content.due_date", "2026-12-31T23:59:59.1234+01:00", "time_to_live", 7200, "content.require_secure_channels", true,
		"content.prescription_data", object{"nre": "010A12345678901", "iup": "1", "prescriber_fiscal_code": nobody},
		"content.payment_data", object{"amount": 1, "notice_number": "302032002700000251", "invalid_after_due_date": true}))
	a := w.as(mensa, "GET", path(ada)+"/"+id, nil)
	var got object
	a.into(http.StatusOK, &got)
	created := got["message"].(object)["created_at"].(string)
	at, err := time.Parse("2006-01-02T15:04:05.000Z", created)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, time.Minute)
	want, err := json.Marshal(object{"status": "PROCESSED", "message": object{
		"id": id, "fiscal_code": ada, "sender_service_id": mensa, "created_at": created, "time_to_live": 7200, "feature_level_type": "STANDARD",
		"content": object{
			"subject": "Iscrizione alla mensa", "markdown": letter()["content"].(object)["markdown"], "due_date": "2026-12-31T22:59:59.123Z",
			"require_secure_channels": true,
			"prescription_data":       object{"nre": "010A12345678901", "iup": "1", "prescriber_fiscal_code": nobody},
			"payment_data": object{"amount": 1, "notice_number": "302032002700000251", "invalid_after_due_date": true,
				"payee": object{"fiscal_code": comune}},
		}}})
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(a.body))

	t.Run("is for its sender, on its recipient's path", func(t *testing.T) {
		w.as(tributi, "GET", path(ada)+"/"+id, nil).problem(http.StatusForbidden, "You are not allowed here")
		for _, to := range []fiscalcode.Person{bruno, nobody} {
			w.as(mensa, "GET", path(to)+"/"+id, nil).problem(http.StatusNotFound, "Message not found")
		}
		for _, other := range []string{"01BX9NSMKVXXS5PSP2FATZMYYY", "x", strings.ToLower(id), id + "0", "..%2f" + id, "%00", "01BX9NSMKVXXS5PSP2FATZMYYU"} {
			w.as(mensa, "GET", path(ada)+"/"+other, nil).problem(http.StatusNotFound, "Message not found")
		}
		w.as(mensa, "GET", "/api/v1/messages/x/"+id, nil).problem(http.StatusBadRequest, "Bad parameters")
	})

	t.Run("after an erasure it is processed and says nothing", func(t *testing.T) {
		id := w.send(mensa, bruno, letter())
		w.as(mensa, "GET", path(bruno)+"/"+id, nil).into(http.StatusOK, &got)
		require.Equal(t, "REJECTED", got["status"])
		id = w.send(tributi, bruno, letter())
		require.NoError(t, w.citizen(bruno).Erase(t.Context()))
		var r httpapi.MessageResponse
		w.as(tributi, "GET", path(bruno)+"/"+id, nil).into(http.StatusOK, &r)
		require.Equal(t, appio.Processed, r.Status)
		require.Nil(t, r.Message.Content)
	})
}

func TestReadAndPaid(t *testing.T) {
	t.Parallel()
	creditors := &gatewaytest.Gateway{}
	w, ctx := setup(t, &appio.Options{Payments: creditors}, nil), context.Background()
	rpt := pagopa.RPTID{Creditor: comune, Notice: "302032002700000251"}
	creditors.Put(appio.Debt{RPTID: rpt, Amount: 100, Payee: "Comune di Esempio"})
	creditors.OnEvent = func(ev appio.PaymentEvent) { require.NoError(t, w.eng.Settle(ctx, ev)) }
	notice := []any{"content.payment_data", object{"amount": 100, "notice_number": rpt.Notice}}
	advanced := append([]any{"feature_level_type", "ADVANCED"}, notice...)
	standard := w.send(mensa, ada, letter(notice...))
	premium := w.send(mensa, ada, letter(advanced...))
	plain := w.send(mensa, ada, letter("feature_level_type", "ADVANCED"))
	is := func(id, read, paid string) {
		t.Helper()
		var r httpapi.MessageResponse
		w.as(mensa, "GET", path(ada)+"/"+id, nil).into(http.StatusOK, &r)
		require.Equal(t, []string{read, paid}, []string{r.ReadStatus, r.PaymentStatus})
	}
	is(standard, "", "")
	is(premium, "UNREAD", "NOT_PAID")
	is(plain, "UNREAD", "")

	for _, id := range []string{standard, premium, plain} {
		require.NoError(t, w.citizen(ada).MarkRead(ctx, appio.MessageID(id)))
	}
	creditors.Pay(rpt)
	_, err := w.eng.Flush(ctx)
	require.NoError(t, err)
	is(standard, "", "")
	is(premium, "READ", "PAID")
	is(plain, "READ", "")

	require.NoError(t, w.citizen(ada).SetPreference(ctx, mensa, appio.Preference{Inbox: true}))
	is(standard, "", "")
	is(premium, "UNAVAILABLE", "")
	is(plain, "UNAVAILABLE", "")
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	w := setup(t, nil, nil)
	for _, to := range []fiscalcode.Person{ada, nobody} {
		first := w.send(mensa, to, letter(), "Idempotency-Key", "2026/0001")
		require.Equal(t, first, w.send(mensa, to, letter("time_to_live", 3600), "Idempotency-Key", "2026/0001"))
		require.NotEqual(t, first, w.send(mensa, to, letter(), "Idempotency-Key", "2026/0002"))
		require.NotEqual(t, first, w.send(tributi, to, letter(), "Idempotency-Key", "2026/0001"))
		w.as(mensa, "POST", path(to), letter("content.subject", "Un altro oggetto"), "Idempotency-Key", "2026/0001").problem(http.StatusConflict, "Conflict")
	}
	p := w.as(mensa, "POST", path(ada), letter(), "Idempotency-Key", strings.Repeat("k", 201)).problem(http.StatusBadRequest, "")
	require.Contains(t, p.Detail, "Idempotency-Key: ")
}

func TestSendRate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := setup(t, &appio.Options{Now: func() time.Time { return now }}, nil)
	w.service(appio.Service{ID: "slow", Name: "Piano", State: appio.Live, SendRate: 0.1})
	w.send("slow", ada, letter())
	for _, to := range []fiscalcode.Person{ada, bruno, nobody} {
		a := w.as("slow", "POST", path(to), letter())
		a.problem(http.StatusTooManyRequests, "Too many requests")
		require.Equal(t, "10", a.Header.Get("Retry-After"))
	}
	for range 300 {
		w.send(mensa, nobody, letter())
	}
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := setup(t, &appio.Options{Now: func() time.Time { return now }}, nil)
	require.NoError(t, w.citizen(ada).UpdateProfile(t.Context(), func(p *appio.Profile) error {
		p.Languages = []string{"it", "de", "de-AT", "sl", "lld"}
		return nil
	}))
	asked := 0
	ask := func(to fiscalcode.Person) (both [2]answered) {
		asked += 2
		return [2]answered{w.as(mensa, "POST", "/api/v1/profiles", object{"fiscal_code": to}), w.as(mensa, "GET", "/api/v1/profiles/"+string(to), nil)}
	}
	for _, a := range ask(ada) {
		require.Equal(t, http.StatusOK, a.StatusCode)
		require.JSONEq(t, `{"sender_allowed":true,"preferred_languages":["it_IT","de_DE","de_AT","sl_SI"]}`, string(a.body))
	}
	for _, a := range ask(bruno) {
		require.Equal(t, http.StatusOK, a.StatusCode)
		require.JSONEq(t, `{"sender_allowed":false}`, string(a.body))
	}
	for _, to := range []fiscalcode.Person{carla, nobody} {
		for _, a := range ask(to) {
			a.problem(http.StatusNotFound, "Profile not found")
		}
	}
	w.as(mensa, "GET", "/api/v1/profiles/x", nil).problem(http.StatusBadRequest, "Bad parameters")
	for _, body := range []string{"", "{}", `{"fiscal_code":"x"}`, `{"fiscal_code":null}`} {
		w.as(mensa, "POST", "/api/v1/profiles", body).problem(http.StatusBadRequest, "Bad parameters")
	}

	// By default a service may ask 200 times at once, and then 20 times a second.
	for ; asked < 200; asked++ {
		require.NotEqual(t, http.StatusTooManyRequests, w.as(mensa, "GET", "/api/v1/profiles/"+string(nobody), nil).StatusCode)
	}
	for _, to := range []fiscalcode.Person{ada, bruno, carla, nobody} {
		for _, a := range ask(to) {
			a.problem(http.StatusTooManyRequests, "Too many requests")
			require.Equal(t, "1", a.Header.Get("Retry-After"))
		}
	}
	require.Equal(t, http.StatusOK, w.as(tributi, "GET", "/api/v1/profiles/"+string(ada), nil).StatusCode, "another service has its own limit")
	w.send(mensa, ada, letter())
}

func TestProfilesCanBeClosed(t *testing.T) {
	t.Parallel()
	w := setup(t, nil, &httpapi.Options{CloseProfiles: true})
	for _, to := range []fiscalcode.Person{ada, bruno, carla, nobody} {
		w.as(mensa, "GET", "/api/v1/profiles/"+string(to), nil).problem(http.StatusForbidden, "You are not allowed here")
		w.as(mensa, "POST", "/api/v1/profiles", object{"fiscal_code": to}).problem(http.StatusForbidden, "You are not allowed here")
		w.send(mensa, to, letter())
	}
}
