package push

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTokensAgeByTheTimeOfDay: a time with a monotonic reading would be compared by that, so that a clock that is put right, or a machine
// that slept, would leave tokens in use that providers call expired.
func TestTokensAgeByTheTimeOfDay(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for _, given := range []func() time.Time{nil, time.Now} {
		c, err := New(&Options{
			Web: &WebPush{Key: key, Subject: "https://example.org"}, APNs: &Apple{Key: key, KeyID: "K", TeamID: "T", Topic: "app"}, Now: given,
		})
		require.NoError(t, err)
		for _, clock := range []func() time.Time{c.now, c.by[Web].(*webPush).tokens.now, c.by[APNs].(*apns).tokens.now} {
			now := clock()
			require.NotContains(t, now.String(), " m=")
			require.WithinDuration(t, time.Now(), now, time.Minute)
		}
	}
	require.Contains(t, time.Now().String(), " m=", "this system has a monotonic clock")
}
