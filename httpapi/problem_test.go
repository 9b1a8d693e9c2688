package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
)

// Each kind of error has its answer, however it is wrapped; when to ask again is rounded up to whole seconds.
func TestProblemOf(t *testing.T) {
	t.Parallel()
	a := &api{o: (*Options)(nil).withDefaults()}
	for _, c := range []struct {
		err    error
		status int
		title  string
		after  string
	}{
		{problem(http.StatusTeapot, "Tea", ""), 418, "Tea", ""},
		{&appio.FieldError{Field: "Subject", Rule: "short"}, 400, "Bad parameters", ""},
		{appio.ErrInvalid, 400, "Bad parameters", ""},
		{appio.ErrUnauthorized, 401, "Unauthorized", ""},
		{appio.ErrForbidden, 403, "You are not allowed here", ""},
		{appio.ErrNotFound, 404, "Not Found", ""},
		{appio.ErrConflict, 409, "Conflict", ""},
		{appio.ErrErasing, 409, "Conflict", ""},
		{appio.ErrExpired, 410, "Gone", ""},
		{appio.ErrTaken, 412, "Precondition Failed", ""},
		{appio.ErrLimited, 429, "Too many requests", "1"},
		{&appio.LimitedError{After: time.Millisecond}, 429, "Too many requests", "1"},
		{&appio.LimitedError{After: 61*time.Second + 1}, 429, "Too many requests", "62"},
		{appio.ErrBusy, 429, "Too many requests", "1"},
		{appio.ErrUnsupported, 501, "Not Implemented", ""},
		{appio.ErrUnknown, 500, "Internal server error", ""},
		{context.Canceled, 503, "Service Unavailable", "1"},
		{context.DeadlineExceeded, 503, "Service Unavailable", "1"},
		{store.ErrFull, 503, "Service Unavailable", "10"},
		{store.ErrClosed, 503, "Service Unavailable", "10"},
		{store.ErrFailed, 500, "Internal server error", ""},
		{store.ErrCorrupt, 500, "Internal server error", ""},
		{store.ErrKey, 500, "Internal server error", ""},
		{errors.New("a secret"), 500, "Internal server error", ""},
	} {
		for _, err := range []error{c.err, fmt.Errorf("sending: %w", c.err)} {
			p := a.problemOf(&route{}, err)
			require.Equal(t, c.status, p.Status, err)
			require.Equal(t, c.title, p.Title, err)
			require.Equal(t, c.after, p.answer().header["Retry-After"], err)
			require.NotContains(t, p.Detail, "secret")
		}
	}
}

// A host's own path answers as the handler does, and does not take a revocation that holds for a failure.
func TestProblemsOfAHostsOwnPaths(t *testing.T) {
	require.Nil(t, ProblemOf(nil))
	require.Nil(t, ProblemOf(fmt.Errorf("choosing: %w", &appio.InFlightError{Deliveries: []appio.DeliveryID{"d"}})))

	w := httptest.NewRecorder()
	ProblemOf(&appio.LimitedError{After: 61 * time.Second}).ServeHTTP(w, nil)
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, "61", w.Header().Get("Retry-After"))
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.JSONEq(t, `{"title":"Too many requests","status":429}`, w.Body.String())
}
