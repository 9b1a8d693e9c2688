package httpapi

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

func refused(t *testing.T, status int, err error) {
	t.Helper()
	var p *Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, status, p.Status)
}

func TestValues(t *testing.T) {
	t.Parallel()
	at := func(name, value string) *call {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetPathValue(name, value)
		return &call{r: r}
	}
	for _, s := range []string{"", "rssmra85m10h501s", "RSSMRA85M10H501", "RSSMRA85M10H501SS", "RSSMRA85M10H50ÀS"} {
		_, err := at("fiscal_code", s).person("fiscal_code")
		refused(t, 400, err)
	}
	p, err := at("fiscal_code", "RSSMRA85M10H501S").person("fiscal_code")
	require.NoError(t, err)
	require.Equal(t, fiscalcode.Person("RSSMRA85M10H501S"), p)

	for _, s := range []string{"", "1537637100", "1537637100A"} {
		_, err := at("code", s).organization("code")
		refused(t, 400, err)
	}
	o, err := at("code", "15376371009").organization("code")
	require.NoError(t, err)
	require.Equal(t, fiscalcode.Organization("15376371009"), o)

	for _, s := range []string{"", "2026-02-29", "2026-2-1", "20260201", "2026-02-01T00:00:00Z", "0000-01-01"} {
		_, err := at("date", s).day("date")
		refused(t, 400, err)
	}
	day, err := at("date", "2026-02-28").day("date")
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC), day)
}

func TestQueries(t *testing.T) {
	t.Parallel()
	asked := func(query string) *call { return &call{r: httptest.NewRequest("GET", "/?"+query, nil)} }
	for query, want := range map[string]int{"": 20, "limit=1": 1, "limit=100": 100} {
		n, err := asked(query).number("limit", 1, 100, 20)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	for _, query := range []string{"limit=", "limit=0", "limit=101", "limit=-1", "limit=1.0", "limit=99999999999999999999", "limit=5&limit=6", "limit=%zz"} {
		_, err := asked(query).number("limit", 1, 100, 20)
		refused(t, 400, err)
	}
	for query, want := range map[string]bool{"": false, "archived=true": true, "archived=false": false} {
		b, err := asked(query).flag("archived")
		require.NoError(t, err)
		require.Equal(t, want, b)
	}
	_, err := asked("archived=1").flag("archived")
	refused(t, 400, err)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	a := &api{o: (*Options)(nil).withDefaults()}
	w := httptest.NewRecorder()
	a.write(w, noContent)
	require.Equal(t, 204, w.Code)
	require.Empty(t, w.Body.Bytes())
	require.Empty(t, w.Header().Values("Content-Length"))
	require.Empty(t, w.Header().Values("Content-Type"))

	w = httptest.NewRecorder()
	a.write(w, ok(struct {
		A string `json:"a"`
	}{"<&>"}))
	require.Equal(t, 200, w.Code)
	require.Equal(t, `{"a":"<&>"}`, w.Body.String())
	require.Equal(t, "11", w.Header().Get("Content-Length"))

	w = httptest.NewRecorder()
	a.write(w, ok(raw{"application/pdf", []byte("%PDF")}))
	require.Equal(t, "application/pdf", w.Header().Get("Content-Type"))
	require.Equal(t, "%PDF", w.Body.String())
}

func TestSettled(t *testing.T) {
	t.Parallel()
	require.NoError(t, settled(&appio.InFlightError{}))
	require.NoError(t, settled(nil))
	require.Error(t, settled(errors.New("another")))
}
