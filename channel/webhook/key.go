package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The prefixes of keys as texts.
const (
	prefixSecret  = "whsec_"
	prefixPrivate = "whsk_"
	prefixPublic  = "whpk_"
)

// Bounds of a secret, in bytes.
const (
	minSecret = 24
	maxSecret = 64
)

// ErrKey is returned for a text that is no key, and for a key that cannot do what it is meant for. It quotes nothing.
var ErrKey = errors.New("webhook: not a key of this kind")

// A Key signs deliveries, or verifies them, or does both. The zero value is none. Printed, it does not show what it is; see [Key.Text].
type Key struct {
	secret  []byte             // of HMAC-SHA256
	private ed25519.PrivateKey // nil in the receiver's half
	public  ed25519.PublicKey
}

// NewKey makes an Ed25519 key, of which receivers get the public half.
func NewKey() Key {
	_, private, _ := ed25519.GenerateKey(nil) // of a source that does not fail
	return keyOf(private)
}

// NewSecret makes a secret of 32 bytes for HMAC-SHA256, which one receiver gets as it is.
func NewSecret() Key {
	k := Key{secret: make([]byte, 32)}
	_, _ = rand.Read(k.secret) // it does not fail
	return k
}

func keyOf(private ed25519.PrivateKey) Key {
	return Key{private: private, public: private.Public().(ed25519.PublicKey)}
}

// ParseKey reads a key: whsec_ with 24 to 64 bytes, whsk_ with an Ed25519 key of 64 bytes, or of the first 32 of them, whpk_ with a
// public one of 32; in base64. The error is [ErrKey].
func ParseKey(text string) (Key, error) {
	kind, encoded, _ := strings.Cut(text, "_")
	b, ok := decode(encoded)
	switch {
	case !ok:
	case kind+"_" == prefixSecret && minSecret <= len(b) && len(b) <= maxSecret:
		return Key{secret: b}, nil
	case kind+"_" == prefixPrivate && len(b) == ed25519.SeedSize:
		return keyOf(ed25519.NewKeyFromSeed(b)), nil
	case kind+"_" == prefixPrivate && len(b) == ed25519.PrivateKeySize:
		// A key whose halves do not belong together would give itself away by signing.
		if k := keyOf(ed25519.NewKeyFromSeed(b[:ed25519.SeedSize])); k.private.Equal(ed25519.PrivateKey(b)) {
			return k, nil
		}
	case kind+"_" == prefixPublic && len(b) == ed25519.PublicKeySize:
		return Key{public: b}, nil
	}
	return Key{}, ErrKey
}

// decode reads base64 of one spelling alone: package base64 skips line breaks by itself.
func decode(text string) ([]byte, bool) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	return b, err == nil && !strings.ContainsAny(text, "\r\n")
}

// Text returns the key as ParseKey reads it, with its secret; empty: there is none.
func (k Key) Text() string {
	switch {
	case k.secret != nil:
		return prefixSecret + base64.StdEncoding.EncodeToString(k.secret)
	case k.private != nil:
		return prefixPrivate + base64.StdEncoding.EncodeToString(k.private)
	case k.public != nil:
		return prefixPublic + base64.StdEncoding.EncodeToString(k.public)
	}
	return ""
}

// Public returns what a receiver needs of an Ed25519 key. Of a secret there is no such half, and the zero Key is returned.
func (k Key) Public() Key { return Key{public: k.public} }

// String tells the kind of a key.
func (k Key) String() string {
	switch {
	case k.secret != nil:
		return "secret key (v1)"
	case k.private != nil:
		return "private key (v1a)"
	case k.public != nil:
		return "public key (v1a)"
	}
	return "no key"
}

// Format prints what String returns, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// signs reports whether the key can sign.
func (k Key) signs() bool { return k.secret != nil || k.private != nil }

// version is that of the key's signatures; empty: there is no key.
func (k Key) version() string {
	switch {
	case k.secret != nil:
		return "v1"
	case k.public != nil:
		return "v1a"
	}
	return ""
}

// sign signs what [signed] returned.
func (k Key) sign(text []byte) []byte {
	if k.secret == nil {
		return ed25519.Sign(k.private, text)
	}
	mac := hmac.New(sha256.New, k.secret)
	mac.Write(text)
	return mac.Sum(nil)
}

// verify reports whether a signature is this key's.
func (k Key) verify(text, signature []byte) bool {
	if k.secret == nil {
		return ed25519.Verify(k.public, text, signature)
	}
	return hmac.Equal(k.sign(text), signature)
}
