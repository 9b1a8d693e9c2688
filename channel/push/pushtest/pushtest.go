// Package pushtest plays the browser in tests of Web Push: it subscribes, and decrypts what a push service was given for it.
//
// What decrypts is written from the steps of RFC 8291 and shares nothing with what encrypts in package push.
package pushtest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
)

// A Browser holds the keys of one subscription. It may be used concurrently.
type Browser struct {
	key  *ecdh.PrivateKey
	auth []byte
}

// NewBrowser makes keys.
func NewBrowser() *Browser {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		panic("pushtest: " + err.Error()) // never, as rand.Reader does not fail
	}
	b := &Browser{key, make([]byte, 16)}
	_, _ = rand.Read(b.auth)
	return b
}

// Subscription is what the browser hands to the app, which hands it to push.ParseSubscription: a PushSubscription as JSON.
func (b *Browser) Subscription(endpoint string) []byte {
	type keys struct {
		P256DH string `json:"p256dh"`
		Auth   string `json:"auth"`
	}
	text, err := json.Marshal(struct {
		Endpoint       string  `json:"endpoint"`
		ExpirationTime *string `json:"expirationTime"`
		Keys           keys    `json:"keys"`
	}{endpoint, nil, keys{base64.RawURLEncoding.EncodeToString(b.key.PublicKey().Bytes()), base64.RawURLEncoding.EncodeToString(b.auth)}})
	if err != nil {
		panic("pushtest: " + err.Error()) // strings alone
	}
	return text
}

// Decrypt reads the body of a request to the push service, of the coding aes128gcm.
func (b *Browser) Decrypt(body []byte) ([]byte, error) {
	const salted, header = 16, 16 + 4 + 1 + 65
	if len(body) < header || body[salted+4] != 65 {
		return nil, errors.New("pushtest: not a body of aes128gcm with a key of P-256")
	}
	salt, theirs, record := body[:salted], body[salted+5:header], body[header:]
	if int64(len(record)) > int64(binary.BigEndian.Uint32(body[salted:])) {
		return nil, errors.New("pushtest: more than one record")
	}
	sender, err := ecdh.P256().NewPublicKey(theirs)
	if err != nil {
		return nil, errors.New("pushtest: the sender's key is not a point of P-256")
	}
	shared, err := b.key.ECDH(sender)
	if err != nil {
		return nil, errors.New("pushtest: the keys do not fit")
	}
	one := []byte{1}
	input := mac(mac(b.auth, shared), []byte("WebPush: info\x00"), b.key.PublicKey().Bytes(), theirs, one)
	made := mac(salt, input)
	block, err := aes.NewCipher(mac(made, []byte("Content-Encoding: aes128gcm\x00"), one)[:16])
	if err != nil {
		return nil, errors.New("pushtest: no key for AES")
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, errors.New("pushtest: no key for AES")
	}
	text, err := gcm.Open(nil, mac(made, []byte("Content-Encoding: nonce\x00"), one)[:12], record, nil)
	if err != nil {
		return nil, errors.New("pushtest: it is not for this browser, or was changed on the way")
	}
	end := len(text) - 1
	for end >= 0 && text[end] == 0 {
		end--
	}
	if end < 0 || text[end] != 2 {
		return nil, errors.New("pushtest: the last record does not end as it must")
	}
	return text[:end], nil
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
