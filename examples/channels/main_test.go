package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden file")

// The example's output, word for word.
func TestExample(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, channels(t.Context(), &out))
	const golden = "testdata/output.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, out.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
	require.NotContains(t, out.String(), string(mario))
}

func TestStopped(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, channels(ctx, &bytes.Buffer{}), context.Canceled)
}

// What is not meant for them, the far ends do not take.
func TestFarEnds(t *testing.T) {
	t.Parallel()
	far, err := newFarEnds()
	require.NoError(t, err)
	defer far.close()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: far.trust, DisableKeepAlives: true}}
	for url, want := range map[string]int{far.push.url: http.StatusBadRequest, far.hook.url: http.StatusUnauthorized} {
		resp, err := client.Post(url, "application/json", strings.NewReader("{}"))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.StatusCode)
	}
	resp, err := client.Post(far.push.url, "application/octet-stream", strings.NewReader(strings.Repeat("x", 4097)))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
	_, err = tls.Dial("tcp", strings.TrimPrefix(far.hook.url, "https://"), nil)
	require.Error(t, err, "a certificate that nobody else trusts")
	require.ErrorContains(t, far.show(&bytes.Buffer{}), "0 messages have arrived")
}
