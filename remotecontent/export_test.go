package remotecontent

import (
	"encoding/json"
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

// Judge reads an answer, and looks at what is made of it.
func Judge(t *testing.T, body string, attachments, text bool) {
	t.Helper()
	c, err := judge([]byte(body), &appio.RemoteContent{Attachments: attachments, Text: text})
	if err != nil {
		require.ErrorIs(t, err, ErrAnswer)
		return
	}
	b, err := json.Marshal(c)
	require.NoError(t, err)
	var again map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(b, &again))
	require.Equal(t, attachments, again["attachments"] != nil)
	for _, a := range c.Attachments {
		JudgeURL(t, a.URL)
		_, _, err := relative(a.URL)
		require.NoError(t, err)
	}
	_, shown := c.Details["markdown"]
	require.Equal(t, text, shown)
}

// JudgeURL reads a URL of an attachment: what is taken stays below the message, however often somebody unescapes it.
func JudgeURL(t *testing.T, at string) {
	t.Helper()
	p, query, err := relative(at)
	if err != nil {
		require.True(t, errors.Is(err, appio.ErrInvalid))
		return
	}
	u, err := url.Parse("https://example.it/io/messages/7" + p)
	require.NoError(t, err)
	u.RawQuery = query
	again, err := url.Parse(u.String())
	require.NoError(t, err)
	require.Equal(t, "example.it", again.Host)
	require.Empty(t, again.Fragment)
	plain := again.Path
	for range 3 {
		require.True(t, strings.HasPrefix(path.Clean(plain), "/io/messages/7/"), "%q", plain)
		if next, err := url.PathUnescape(plain); err == nil {
			plain = next
		}
	}
}
