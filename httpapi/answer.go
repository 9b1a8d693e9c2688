package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// An answer is what a route says. Its body is encoded as JSON, but for a raw one; nil is none.
type answer struct {
	status int
	body   any
	header map[string]string // beside those of the body; nil: none
}

// A raw body is written as it is.
type raw struct {
	contentType string
	bytes       []byte
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

var noContent = answer{status: http.StatusNoContent}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// keptBuffer is the largest buffer that is kept for the next request, in bytes.
const keptBuffer = 64 << 10

func buffer() *bytes.Buffer {
	b := buffers.Get().(*bytes.Buffer)
	b.Reset()
	return b
}

func release(b *bytes.Buffer) {
	if b.Cap() <= keptBuffer {
		buffers.Put(b)
	}
}

// write writes an answer whole, so that a client that does not read it holds nothing for longer than Options.Timeout.
func (a *api) write(w http.ResponseWriter, ans answer) {
	h := w.Header()
	var out []byte
	switch body := ans.body.(type) {
	case nil:
	case raw:
		h.Set("Content-Type", body.contentType)
		out = body.bytes
	default:
		b := buffer()
		defer release(b)
		enc := json.NewEncoder(b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(body); err != nil {
			panic(err) // a body of ours that has no JSON
		}
		out = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
		h.Set("Content-Type", "application/json")
		if _, is := body.(*Problem); is {
			h.Set("Content-Type", "application/problem+json")
		}
	}
	for k, v := range ans.header {
		h.Set(k, v)
	}
	// What is about a person is nobody's to keep on the way.
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if ans.status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(out)))
	}
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(a.o.Timeout))
	w.WriteHeader(ans.status)
	_, _ = w.Write(out) // who has gone does not read what went wrong
	if rc.Flush() == nil {
		_ = rc.SetWriteDeadline(time.Time{}) // the connection is the host's again
	}
}
