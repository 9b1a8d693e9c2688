package push

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"
)

// ParseKey reads a private key of P-256: the .p8 file that Apple hands out (PKCS #8 in PEM), or, as tools for Web Push print VAPID
// keys, 32 bytes in base64url. Its error has nothing of the text.
func ParseKey(text []byte) (*ecdsa.PrivateKey, error) {
	bad := errors.New("push: not a private key of P-256")
	if block, _ := pem.Decode(text); block != nil {
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		key, ok := parsed.(*ecdsa.PrivateKey)
		if err != nil || !ok || key.Curve != elliptic.P256() {
			return nil, bad
		}
		return key, nil
	}
	raw, err := decode(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, bad
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return nil, bad
	}
	return key, nil
}

// ApplicationServerKey is what a browser is given to subscribe with: the public half of [WebPush].Key.
func ApplicationServerKey(key *ecdsa.PrivateKey) (string, error) {
	if !usable(key) {
		return "", errKey
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return "", errKey
	}
	return base64.RawURLEncoding.EncodeToString(point), nil
}

var errKey = errors.New("push: not a key of P-256")

func usable(key *ecdsa.PrivateKey) bool {
	if key == nil || key.Curve != elliptic.P256() {
		return false
	}
	_, err := key.Bytes()
	return err == nil
}

// sign makes a JSON Web Token.
func sign(header, claims any, signature func(digest []byte) ([]byte, error)) (string, error) {
	text := base64.RawURLEncoding.EncodeToString(marshal(header)) + "." + base64.RawURLEncoding.EncodeToString(marshal(claims))
	digest := sha256.Sum256([]byte(text))
	s, err := signature(digest[:])
	if err != nil {
		return "", errors.New("push: a token could not be signed")
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(s), nil
}

// es256 signs as JWTs want it: two numbers of 32 bytes.
func es256(key *ecdsa.PrivateKey) func(digest []byte) ([]byte, error) {
	return func(digest []byte) ([]byte, error) {
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			return nil, err
		}
		out := make([]byte, 64)
		r.FillBytes(out[:32])
		s.FillBytes(out[32:])
		return out, nil
	}
}

func rs256(key *rsa.PrivateKey) func(digest []byte) ([]byte, error) {
	return func(digest []byte) ([]byte, error) { return rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest) }
}

// maxTokens bounds how many a cache keeps: one for each origin, and anybody can name origins.
const maxTokens = 100

// tokens keeps what was signed for some time.
type tokens struct {
	keep time.Duration    // how long one is used
	now  func() time.Time // see wall

	mu sync.Mutex
	m  map[string]signed
}

type signed struct {
	token string
	at    time.Time
}

// get returns the token of a name, or makes one, and forgets those that are not used any more: the name of a push service of one's own may
// tell whose it is, and is not kept for long after the person is gone. A clock that was put back makes a new one too.
func (t *tokens) get(name string, make func(now time.Time) (string, error)) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	used := func(s signed) bool { return !now.Before(s.at) && now.Sub(s.at) < t.keep }
	if s, ok := t.m[name]; ok && used(s) {
		return s.token, nil
	}
	token, err := make(now)
	if err != nil {
		return "", err
	}
	maps.DeleteFunc(t.m, func(_ string, s signed) bool { return !used(s) })
	if t.m == nil || len(t.m) >= maxTokens {
		t.m = map[string]signed{}
	}
	t.m[name] = signed{token, now}
	return token, nil
}

// drop forgets a token that was refused, if it is at least so old.
func (t *tokens) drop(name, token string, age time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.m[name]; s.token == token && t.now().Sub(s.at) >= age {
		delete(t.m, name)
	}
}
