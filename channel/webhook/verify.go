package webhook

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Verifying fails with one of these. None quotes what came.
var (
	// ErrHeader is returned for a request without the three headers, each once, in their form.
	ErrHeader = errors.New("webhook: a header is missing, or not in its form")
	// ErrTime is returned for a timestamp too far from now: an old request that is sent again, or a clock that is wrong.
	ErrTime = errors.New("webhook: the timestamp is too far from now")
	// ErrSignature is returned where no signature is by one of the keys.
	ErrSignature = errors.New("webhook: no signature is by a known key")
	// ErrTooLong is returned for a body beyond Verifier.MaxBody.
	ErrTooLong = errors.New("webhook: the body is too long")
)

// Bounds of webhook-signature: what a sender with many keys needs, and no work for others.
const (
	maxSignatures      = 32
	maxSignatureHeader = 4 << 10
)

// A Verifier tells what the sender signed from what others made up. It keeps nothing: who receives keeps the ids that it has dealt with, for
// a delivery may come again, and within Tolerance anybody who saw one can send it again. Its fields are set before it is used; then
// it may be used concurrently.
type Verifier struct {
	Keys []Key // what one of them signed is taken. None: nothing is.

	Tolerance time.Duration    // between the timestamp and now, in both directions; 0: five minutes
	MaxBody   int64            // bytes; 0: 256 KiB, more than an Event can have
	Now       func() time.Time // nil: time.Now
}

// Verify checks a body against the headers that came with it, and returns its id. The body is the bytes that came, not JSON that was read and
// written again.
func (v *Verifier) Verify(h http.Header, body []byte) (id string, err error) {
	id, err = one(h, HeaderID)
	if err != nil || !validID(id) {
		return "", ErrHeader
	}
	timestamp, err := one(h, HeaderTimestamp)
	if err != nil {
		return "", err
	}
	at, err := unix(timestamp)
	if err != nil {
		return "", err
	}
	signatures, err := one(h, HeaderSignature)
	if err != nil || len(signatures) > maxSignatureHeader || strings.Count(signatures, " ") >= maxSignatures {
		return "", ErrHeader
	}
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	if now().Sub(at).Abs() > cmp.Or(v.Tolerance, 5*time.Minute) {
		return "", ErrTime
	}
	text := signed(id, timestamp, body)
	for signature := range strings.SplitSeq(signatures, " ") {
		version, encoded, _ := strings.Cut(signature, ",")
		b, ok := decode(encoded)
		for _, k := range v.Keys {
			if ok && version != "" && version == k.version() && k.verify(text, b) {
				return id, nil
			}
		}
	}
	return "", ErrSignature
}

// one returns a header that stands there once.
func one(h http.Header, name string) (string, error) {
	values := h[name]
	if len(values) != 1 || values[0] == "" {
		return "", ErrHeader
	}
	return values[0], nil
}

// unix reads a timestamp. One that could be written in two ways would be signed in one and read in the other.
func unix(text string) (time.Time, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != text {
		return time.Time{}, ErrHeader
	}
	return time.Unix(n, 0), nil
}

// Read reads the body of a request, verifies it, and returns both it and its id. How long the body may take is for the http.Server to
// say: see its ReadTimeout.
func (v *Verifier) Read(r *http.Request) (id string, body []byte, err error) {
	most := cmp.Or(v.MaxBody, 256<<10)
	if r.ContentLength > most {
		return "", nil, ErrTooLong
	}
	body, err = io.ReadAll(io.LimitReader(r.Body, most+1))
	switch {
	case err != nil:
		return "", nil, err
	case int64(len(body)) > most:
		return "", nil, ErrTooLong
	}
	if id, err = v.Verify(r.Header, body); err != nil {
		return "", nil, err
	}
	return id, body, nil
}

// Handler calls do for each request that is verified, and answers 204 if it returns nil, and 500 if not, after which the sender tries again.
// All other requests are answered 405, 413, or, so that the sender tries again once the keys or the clock are right, 401.
func (v *Verifier) Handler(do func(ctx context.Context, id string, body []byte) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "a webhook is posted", http.StatusMethodNotAllowed)
			return
		}
		id, body, err := v.Read(r)
		switch {
		case errors.Is(err, ErrTooLong):
			w.Header().Set("Connection", "close") // the rest is not read
			http.Error(w, "the body is too long", http.StatusRequestEntityTooLarge)
		case err != nil:
			http.Error(w, "not verified", http.StatusUnauthorized)
		case do(r.Context(), id, body) != nil:
			http.Error(w, "it did not work this time", http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
}
