// Package webhook holds what channel/webhook signs, and which addresses it goes to, against what others wrote: the library of Standard
// Webhooks, OpenSSL, and a table of addresses that was made from the registries by a program.
package webhook

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio/channel/webhook"
	"github.com/appio-go/appio/internal/form"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made is something to sign: of any bytes and length.
func made(r *rand.Rand) (id string, body []byte) {
	const letters = "ABCDEFGHJKMNPQRSTVWXYZabcdefghijkmnpqrstvwxyz0123456789_-"
	name := make([]byte, 1+r.IntN(128))
	for i := range name {
		name[i] = letters[r.IntN(len(letters))]
	}
	body = make([]byte, r.IntN(1+1<<r.IntN(16)))
	for i := range body {
		body[i] = byte(r.Uint32())
	}
	return string(name), body
}

// secret is a key of any length that there may be.
func secret(t *testing.T, r *rand.Rand) webhook.Key {
	t.Helper()
	b := make([]byte, 24+r.IntN(41))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	k, err := webhook.ParseKey("whsec_" + base64.StdEncoding.EncodeToString(b))
	require.NoError(t, err)
	return k
}

func TestAnotherLibrary(t *testing.T) {
	const inRound = 1_000
	seed, n := form.Seed(t), 0
	for more := form.Rounds(t, 0, 2, 1); more(); {
		for range inRound {
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			k, other := secret(t, r), secret(t, r)
			id, body := made(r)
			lib, err := standard.NewWebhook(k.Text())
			require.NoError(t, err)

			h := http.Header{}
			require.NoError(t, webhook.Sign(h, id, time.Now(), body, webhook.NewKey(), other, k))
			require.NoError(t, lib.Verify(body, h), "input %d", n)
			require.NoError(t, webhook.Sign(h, id, time.Now(), body, other))
			require.Error(t, lib.Verify(body, h), "input %d", n)

			at := time.Now()
			signature, err := lib.Sign(id, at, body)
			require.NoError(t, err)
			theirs := http.Header{}
			theirs.Set(standard.HeaderWebhookID, id)
			theirs.Set(standard.HeaderWebhookTimestamp, fmt.Sprint(at.Unix()))
			theirs.Set(standard.HeaderWebhookSignature, signature)
			got, err := (&webhook.Verifier{Keys: []webhook.Key{other, k}}).Verify(theirs, body)
			require.NoError(t, err, "input %d", n)
			require.Equal(t, id, got)
			_, err = (&webhook.Verifier{Keys: []webhook.Key{other}}).Verify(theirs, body)
			require.ErrorIs(t, err, webhook.ErrSignature)
			n++
		}
	}
	form.Figures(t, map[string]float64{"signatures": float64(n)})
}

// openssl runs it, and returns what it writes.
func openssl(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", args...)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("openssl %s: %w: %s%s", args[0], err, out, failed.String())
	}
	return out, nil
}

// raw is a key as text without what tells its kind.
func raw(t *testing.T, k webhook.Key) []byte {
	t.Helper()
	_, text, _ := strings.Cut(k.Text(), "_")
	b, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	return b
}

// signature is the only one in the headers, as bytes.
func signature(h http.Header, version string) ([]byte, error) {
	text, ok := strings.CutPrefix(h.Get(webhook.HeaderSignature), version+",")
	if !ok {
		return nil, errors.New("another version")
	}
	return base64.StdEncoding.DecodeString(text)
}

// file writes one into a folder of the test.
func file(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// toSign writes what the signatures of a webhook are of.
func toSign(t *testing.T, h http.Header, body []byte) string {
	t.Helper()
	return file(t, "signed", fmt.Appendf(nil, "%s.%s.%s", h.Get("webhook-id"), h.Get("webhook-timestamp"), body))
}

func TestOpenSSLMakesTheSameHMAC(t *testing.T) {
	form.Need(t, "openssl")
	seed, n := form.Seed(t), 0
	for more := form.Rounds(t, 0, 20, 5); more(); n++ {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		k := secret(t, r)
		id, body := made(r)
		h := http.Header{}
		require.NoError(t, webhook.Sign(h, id, time.Now(), body, k))
		ours, err := signature(h, "v1")
		require.NoError(t, err)
		theirs, err := openssl(t, "dgst", "-sha256", "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString(raw(t, k)), "-binary", toSign(t, h, body))
		require.NoError(t, err)
		require.Equal(t, theirs, ours, "input %d", n)
	}
}

func TestOpenSSLAndEd25519(t *testing.T) {
	form.Need(t, "openssl")
	seed, n := form.Seed(t), 0
	for more := form.Rounds(t, 0, 20, 5); more(); n++ {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		k := webhook.NewKey()
		public, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(raw(t, k.Public())))
		require.NoError(t, err)
		private, err := x509.MarshalPKCS8PrivateKey(ed25519.PrivateKey(raw(t, k)))
		require.NoError(t, err)
		publicFile := file(t, "public", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
		privateFile := file(t, "private", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))

		id, body := made(r)
		h := http.Header{}
		require.NoError(t, webhook.Sign(h, id, time.Now(), body, k))
		ours, err := signature(h, "v1a")
		require.NoError(t, err)
		text := toSign(t, h, body)
		verify := func(signature []byte) error {
			_, err := openssl(t, "pkeyutl", "-verify", "-pubin", "-inkey", publicFile, "-rawin", "-in", text, "-sigfile", file(t, "signature", signature))
			return err
		}
		require.NoError(t, verify(ours), "input %d", n)
		wrong := bytes.Clone(ours)
		wrong[r.IntN(len(wrong))] ^= 1
		require.Error(t, verify(wrong), "input %d: OpenSSL takes anything", n)

		theirs, err := openssl(t, "pkeyutl", "-sign", "-inkey", privateFile, "-rawin", "-in", text)
		require.NoError(t, err)
		h.Set(webhook.HeaderSignature, "v1a,"+base64.StdEncoding.EncodeToString(theirs))
		_, err = (&webhook.Verifier{Keys: []webhook.Key{k.Public()}}).Verify(h, body)
		require.NoError(t, err, "input %d", n)
	}
}
