package push

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
)

// The example of RFC 8291, appendix A.
const (
	vectorText   = "V2hlbiBJIGdyb3cgdXAsIEkgd2FudCB0byBiZSBhIHdhdGVybWVsb24"
	vectorServer = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
	vectorKey    = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	vectorSalt   = "DGv6ra1nlYgDCS1FRnbzlw"
	vectorAuth   = "BTBZMqHH6r4Tts7J_aSIgg"
	vectorBody   = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_" +
		"yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)

func bytesOf(t *testing.T, s string) []byte {
	t.Helper()
	b, err := decode(s)
	require.NoError(t, err)
	return b
}

func TestSealIsThatOfTheStandard(t *testing.T) {
	t.Parallel()
	own, err := ecdh.P256().NewPrivateKey(bytesOf(t, vectorServer))
	require.NoError(t, err)
	to, err := Installation{P256DH: vectorKey}.key()
	require.NoError(t, err)
	text := bytesOf(t, vectorText)
	body, err := seal(text, len(text)+overhead, to, bytesOf(t, vectorAuth), own, bytesOf(t, vectorSalt))
	require.NoError(t, err)
	require.Equal(t, vectorBody, base64.RawURLEncoding.EncodeToString(body))
}

func TestSealedTextsAreOfOneLength(t *testing.T) {
	t.Parallel()
	own, err := ecdh.P256().NewPrivateKey(bytesOf(t, vectorServer))
	require.NoError(t, err)
	to, err := Installation{P256DH: vectorKey}.key()
	require.NoError(t, err)
	for _, n := range []int{0, 1, 100, maxBody - overhead} {
		body, err := seal(bytes.Repeat([]byte("x"), n), maxBody, to, bytesOf(t, vectorAuth), own, bytesOf(t, vectorSalt))
		require.NoError(t, err)
		require.Len(t, body, 4096)
	}
}
