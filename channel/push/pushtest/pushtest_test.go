package pushtest

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
)

// standard is the browser of RFC 8291, appendix A, with what it is sent there.
func standard(t testing.TB) (b *Browser, body []byte) {
	raw := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		require.NoError(t, err)
		return b
	}
	key, err := ecdh.P256().NewPrivateKey(raw("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"))
	require.NoError(t, err)
	return &Browser{key, raw("BTBZMqHH6r4Tts7J_aSIgg")}, raw("DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLoc" +
		"InmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN")
}

func TestDecryptIsThatOfTheStandard(t *testing.T) {
	t.Parallel()
	b, body := standard(t)
	text, err := b.Decrypt(body)
	require.NoError(t, err)
	require.Equal(t, "When I grow up, I want to be a watermelon", string(text))
	require.Contains(t, string(b.Subscription("https://push.example.org/x")),
		`"p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"`)
}

func TestWhatWasChangedIsNotDecrypted(t *testing.T) {
	t.Parallel()
	b, body := standard(t)
	for i := range body {
		for bit := range 8 {
			changed := bytes.Clone(body)
			changed[i] ^= 1 << bit
			if _, err := b.Decrypt(changed); err == nil && (i < 16 || i >= 20) { // a record may be shorter than the size that is told
				t.Fatalf("bit %d of byte %d may be changed", bit, i)
			}
		}
		_, err := b.Decrypt(body[:i])
		require.Error(t, err)
	}
	_, err := NewBrowser().Decrypt(body)
	require.Error(t, err)
}

func FuzzDecrypt(f *testing.F) {
	b, body := standard(f)
	f.Add(body)
	f.Add(body[:86])
	f.Fuzz(func(t *testing.T, body []byte) {
		if text, err := b.Decrypt(body); err == nil && len(text) > len(body) {
			t.Errorf("%d bytes of %d", len(text), len(body))
		}
	})
}
