package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

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
