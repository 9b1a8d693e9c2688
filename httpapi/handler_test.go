package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/httpapi"
)

type object = map[string]any

// letter is a message that can be sent.
func letter() object {
	return object{"content": object{"subject": "Iscrizione alla mensa", "markdown": strings.Repeat("Le iscrizioni aprono. ", 6)}}
}

func TestUnmatched(t *testing.T) {
	t.Parallel()
	w := setup(t, nil, nil)
	for _, path := range []string{"/", "/api", "/api/v1/messages/", "/api/v1//messages", "/api/v1/./messages", "/api/v2/messages"} {
		w.as(mensa, "POST", path, letter()).problem(http.StatusNotFound, "Not Found")
	}
	a := w.as(mensa, "PUT", "/api/v1/messages", letter())
	a.problem(http.StatusMethodNotAllowed, "Method Not Allowed")
	require.Equal(t, "POST", a.Header.Get("Allow"))
}

func TestSubmit(t *testing.T) {
	t.Parallel()
	w := setup(t, nil, nil)
	var got httpapi.CreatedMessage
	a := w.as(mensa, "POST", "/api/v1/messages/"+string(ada), letter())
	a.into(http.StatusCreated, &got)
	require.Len(t, string(got.ID), 26)
	require.Equal(t, "/api/v1/messages/"+string(ada)+"/"+string(got.ID), a.Header.Get("Location"))

	w.as("", "POST", "/api/v1/messages/"+string(ada), letter()).problem(http.StatusUnauthorized, "Unauthorized")
	w.ask("POST", "/api/v1/messages/"+string(ada), letter(), httpapi.KeyHeader, "nobody's").problem(http.StatusUnauthorized, "Unauthorized")
	w.as(mensa, "POST", "/api/v1/messages/"+string(ada), "{").problem(http.StatusBadRequest, "")
}
