package webhook

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a webhook.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// maxID is the most bytes of an id.
const maxID = 128

// validID reports whether an id is one that cannot be taken for another: without the full stop that stands between what is signed.
func validID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '-' {
			return false
		}
	}
	return id != "" && len(id) <= maxID
}

// signed is what the signatures are of.
func signed(id, timestamp string, body []byte) []byte {
	b := make([]byte, 0, len(id)+len(timestamp)+len(body)+2)
	b = append(append(b, id...), '.')
	b = append(append(b, timestamp...), '.')
	return append(b, body...)
}

// Sign sets the three headers for a body, with a signature by each key in turn. The channel does so by itself; it is for who tests a
// receiver. An id has 1 to 128 of the characters A-Z, a-z, 0-9, _ and -. Without a key, with more than the 32 that a [Verifier] looks at,
// or with one that cannot sign, the error is [ErrKey].
func Sign(h http.Header, id string, at time.Time, body []byte, keys ...Key) error {
	if !validID(id) {
		return errors.New("webhook: the id has other characters than A-Z, a-z, 0-9, _ and -, or too many")
	}
	if len(keys) == 0 || len(keys) > maxSignatures {
		return ErrKey
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	text := signed(id, timestamp, body)
	signatures := make([]string, len(keys))
	for i, k := range keys {
		if !k.signs() {
			return ErrKey
		}
		signatures[i] = k.version() + "," + base64.StdEncoding.EncodeToString(k.sign(text))
	}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, timestamp)
	h.Set(HeaderSignature, strings.Join(signatures, " "))
	return nil
}
