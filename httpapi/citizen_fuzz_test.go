package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/store/memstore"
)

// citizensTarget is a handler for citizens over an engine in memory, with all that it can be given.
func citizensTarget(f *testing.F) http.Handler {
	e, err := appio.New(memstore.New(), &appio.Options{
		Keys: appio.RandomKeys(), Channels: routes(nil), Payments: &gatewaytest.Gateway{}, DebtRate: 1e9, AddressRate: 1e9, CitizenRate: 1e9,
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { e.Close() })
	ctx := f.Context()
	for _, err := range []error{
		e.PutService(ctx, appio.Service{ID: mensa, Name: "Mensa", Organization: comune, State: appio.Live}),
		e.PutService(ctx, appio.Service{ID: "01SEND", Name: "SEND", Organization: comune, State: appio.Live, Category: appio.Special}),
		e.Citizen(appio.Identity{Code: ada}).SetMode(ctx, appio.Auto),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	return httpapi.Handler(e, &httpapi.Options{
		Citizen: login, Send: "01SEND", Validate: func(context.Context, appio.Validation) error { return nil },
	})
}

// askAda asks as Ada, and fails where the answer is a failure of the server's, or one that is neither JSON nor empty. What a platform has
// no means for is 501, and no failure; the faults of payments are not problems.
func askAda(t *testing.T, h http.Handler, method string, u *url.URL, body string) {
	r := httptest.NewRequest("GET", "/", strings.NewReader(body))
	r.Method, r.URL, r.RequestURI = method, u, u.RequestURI()
	r.Header.Set("Authorization", "Bearer "+string(ada))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var fault httpapi.PaymentFault
	switch kind := w.Header().Get("Content-Type"); {
	case w.Code >= 300 && w.Code < 400, w.Code >= 500 && w.Code != http.StatusNotImplemented:
		t.Fatalf("%s %s: %d: %s", method, u, w.Code, w.Body)
	case w.Code == http.StatusNoContent, w.Code == http.StatusAccepted:
		if w.Body.Len() > 0 {
			t.Fatalf("%d with a body", w.Code)
		}
	case w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()):
		t.Fatalf("%s %s: %d is no JSON: %s", method, u, w.Code, w.Body)
	case w.Code >= 400 && kind != "application/problem+json" && (json.Unmarshal(w.Body.Bytes(), &fault) != nil || fault.Category == ""):
		t.Fatalf("%s %s: %d is no problem: %s", method, u, w.Code, w.Body)
	}
}

func FuzzCitizenBody(f *testing.F) {
	h := citizensTarget(f)
	for _, s := range []string{
		`{"version":1,"service_preferences_settings":{"mode":"AUTO"},"email":"ada@example.it","accepted_tos_version":2.4,"is_webhook_enabled":true}`,
		`{"version":1,"service_preferences_settings":{"mode":"MANUAL"},"preferred_languages":["it_IT"],"reminder_status":"ENABLED","last_app_version":"1.2.3.4",
			"push_notifications_content_type":"FULL","blocked_inbox_or_channels":{"01MENSA":["INBOX"]},"is_inbox_enabled":true,"is_email_enabled":false}`,
		`{"is_inbox_enabled":true,"is_email_enabled":true,"is_webhook_enabled":false,"settings_version":0,"can_access_message_read_status":true}`,
		`{"choice":"DELETE"}`, `{"choice":"DOWNLOAD"}`, `{"platform":"apns","pushChannel":"AB"}`, `{"platform":"gcm","pushChannel":"a:b"}`,
		`{"activation_status":true}`, `{"change_type":"bulk","is_archived":true,"is_read":true}`, `{"blocked_inbox_or_channels":{"a":[],"a":[]}}`, `{}`, ``, `[`,
	} {
		for i := range pathsOfCitizens {
			f.Add(s, i)
		}
	}
	f.Fuzz(func(t *testing.T, body string, which int) {
		if which < 0 {
			return
		}
		p := pathsOfCitizens[which%len(pathsOfCitizens)]
		u, err := url.Parse(p.path)
		if err != nil {
			t.Fatal(err)
		}
		askAda(t, h, p.method, u, body)
	})
}

func FuzzCitizenPath(f *testing.F) {
	h := citizensTarget(f)
	for _, p := range pathsOfCitizens {
		body, err := json.Marshal(p.body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p.method, p.path, string(body))
	}
	for _, s := range []string{
		"/messages?page_size=1&maximum_id=01CFAGRMGB9XCA8B2CQ4QA7K76&minimum_id=01CFAGRMGB9XCA8B2CQ4QA7K70&archived=true&enrich_result_data=true",
		"/messages/%00?public_message=true", "/payment/info/15376371009302032002700000251?test=true", "/installations/%2F..", "/send/activation?isTest=true",
	} {
		f.Add("GET", communication+s, "")
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || method == http.MethodHead {
			return
		}
		askAda(t, h, method, u, body)
	})
}
