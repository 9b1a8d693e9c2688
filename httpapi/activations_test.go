package httpapi_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/store/memstore"
)

const bonus = appio.ServiceID("01BONUS")

func TestActivations(t *testing.T) {
	t.Parallel()
	s := &failingStore{Store: memstore.New()}
	w := setupOn(t, s, nil, nil)
	w.service(appio.Service{ID: bonus, Name: "Bonus", State: appio.Live, Category: appio.Special})
	ask := func(path string, code fiscalcode.Person) answered {
		return w.as(bonus, "POST", path, map[string]any{"fiscal_code": code})
	}
	say := func(code fiscalcode.Person, status string) answered {
		return w.as(bonus, "PUT", "/api/v1/activations/", map[string]any{"fiscal_code": code, "status": status})
	}
	var first httpapi.Activation
	say(bruno, "INACTIVE").into(200, &first)
	require.Equal(t, httpapi.Activation{ServiceID: bonus, FiscalCode: bruno, Status: "INACTIVE"}, first, "an end of what never was")
	for _, code := range []fiscalcode.Person{ada, nobody} { // whether somebody came is not told
		ask("/api/v1/activations/", code).problem(404, "Activation not found")
		for version, status := range []string{"PENDING", "ACTIVE", "INACTIVE", "ACTIVE"} {
			want := httpapi.Activation{ServiceID: bonus, FiscalCode: code, Status: status, Version: version}
			var got httpapi.Activation
			say(code, status).into(200, &got)
			require.Equal(t, want, got)
			for _, path := range []string{"/api/v1/activations/", "/api/v1/activations"} {
				ask(path, code).into(200, &got)
				require.Equal(t, want, got)
			}
		}
	}
	holds, err := w.citizen(ada).Activation(context.Background(), bonus)
	require.NoError(t, err)
	require.Equal(t, appio.Active, holds)

	// While somebody is being erased nothing is kept, and no answer says that something was.
	require.NoError(t, w.citizen(ada).Erase(context.Background()))
	for _, status := range []string{"ACTIVE", "PENDING", "INACTIVE"} {
		say(ada, status).problem(404, "Activation not found")
		w.as(bonus, "PUT", "/api/v1/activations", object{"fiscal_code": ada, "status": status}).problem(404, "Activation not found")
		ask("/api/v1/activations/", ada).problem(404, "Activation not found")
	}
	_, err = w.eng.Flush(context.Background())
	require.NoError(t, err)
	ask("/api/v1/activations/", ada).problem(404, "Activation not found")
	var got httpapi.Activation
	say(ada, "ACTIVE").into(200, &got)
	require.Equal(t, httpapi.Activation{ServiceID: bonus, FiscalCode: ada, Status: "ACTIVE", Version: 0}, got, "as of anybody who never came")

	for _, body := range []any{"", "{", "[]", `{"fiscal_code":1}`, `{"fiscal_code":"rssmra85m10h501s","status":"ACTIVE"}`, `{"status":"ACTIVE"}`} {
		w.as(bonus, "POST", "/api/v1/activations/", body).problem(400, "")
		w.as(bonus, "PUT", "/api/v1/activations/", body).problem(400, "")
	}
	for _, status := range []string{"", "active", "DONE"} {
		say(ada, status).problem(400, "Bad parameters")
	}
	for _, method := range []string{"POST", "PUT"} {
		body := map[string]any{"fiscal_code": ada, "status": "ACTIVE"}
		w.as("", method, "/api/v1/activations/", body).problem(401, "")
		w.as(mensa, method, "/api/v1/activations/", body).problem(403, "You are not allowed here")
		s.left.Store(2)
		w.as(bonus, method, "/api/v1/activations/", body).problem(500, "")
	}
	w.as(bonus, "GET", "/api/v1/activations/", nil).problem(405, "")
}
