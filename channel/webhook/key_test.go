package webhook_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/channel/webhook"
)

func key(t testing.TB, text string) webhook.Key {
	t.Helper()
	k, err := webhook.ParseKey(text)
	require.NoError(t, err)
	return k
}

// of writes bytes as a key.
func of(prefix string, n int) string {
	return prefix + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", n)))
}

func TestKeys(t *testing.T) {
	t.Parallel()
	pair, secret := webhook.NewKey(), webhook.NewSecret()
	require.NotEqual(t, pair.Text(), webhook.NewKey().Text())
	require.NotEqual(t, secret.Text(), webhook.NewSecret().Text())
	for _, k := range []webhook.Key{pair, secret, pair.Public(), key(t, of("whsec_", 24)), key(t, of("whsec_", 64))} {
		require.Equal(t, k, key(t, k.Text()))
	}
	require.True(t, strings.HasPrefix(pair.Text(), "whsk_"))
	require.True(t, strings.HasPrefix(pair.Public().Text(), "whpk_"))
	require.True(t, strings.HasPrefix(secret.Text(), "whsec_"))
	require.Empty(t, secret.Public().Text(), "a secret has no public half")

	// A key pair as others write it, whole and by its first half.
	k := key(t, svixPrivate)
	require.Equal(t, svixPublic, k.Public().Text())
	seed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(svixPrivate, "whsk_"))
	require.NoError(t, err)
	require.Equal(t, k, key(t, "whsk_"+base64.StdEncoding.EncodeToString(seed[:32])))
}

func TestWhatIsNoKey(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "w", "whsec", "whsec_", "whsk_", "whpk_", "whsec_%", "whsec_wronglength", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
		of("whsec_", 23), of("whsec_", 65), of("whsk_", 24), of("whsk_", 31), of("whsk_", 33), of("whsk_", 63), of("whsk_", 65),
		of("whpk_", 31), of("whpk_", 33), of("whpk_", 64), of("hwsec_", 32), of("WHSEC_", 32), of("", 32), of(" whsec_", 32), of("whsec_", 32) + " ",
		of("whsec_", 32) + "\n", strings.Replace(of("whsec_", 32), "a", "\na", 1), strings.TrimRight(of("whsec_", 25), "="),
		of("whsk_", 64), // halves that do not belong together
		svixPrivate[:len(svixPrivate)-3], strings.Replace(svixPrivate, "0dRqSKJ", "aaaaaaa", 1),
		"whsec_" + strings.Repeat("_-", 16), of("whsec_", 25)[:len("whsec_")+32] + "ab==", // bits that are none
	} {
		k, err := webhook.ParseKey(text)
		require.ErrorIs(t, err, webhook.ErrKey, text)
		require.Zero(t, k)
		if len(text) > 10 {
			require.NotContains(t, err.Error(), text[6:])
		}
	}
}

func TestPrintedKeysAreSecret(t *testing.T) {
	t.Parallel()
	for _, k := range []webhook.Key{{}, webhook.NewKey(), webhook.NewSecret(), webhook.NewKey().Public()} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			for _, v := range []any{k, &k, webhook.Options{Keys: []webhook.Key{k}}} {
				said := fmt.Sprintf(verb, v)
				if text := k.Text(); text != "" {
					require.NotContains(t, said, text[6:20])
				}
				require.NotContains(t, said, "[1", "no bytes: %s", said)
				require.NotContains(t, said, "0x", "no bytes: %s", said)
			}
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, text := range []string{svixPrivate, svixPublic, standardSecret, of("whsec_", 64), of("whsk_", 32), "whsec_", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := webhook.ParseKey(text)
		if err != nil {
			require.ErrorIs(t, err, webhook.ErrKey)
			require.Zero(t, k)
			return
		}
		again := k.Text()
		require.Equal(t, k, key(t, again))
		if len(again) == len(text) { // and no other spelling of it
			require.Equal(t, again, text)
		}
	})
}
