package httpapi

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// An answer is what a route says. Its body is encoded as JSON, but for a raw one and a stream; nil is none.
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

// A stream is a body that is written as it comes, of size bytes, -1: not known, and closed. If it does not end well neither does the answer: the
// connection is broken off, so that nobody takes a part for the whole.
type stream struct {
	contentType string
	size        int64
	from        io.ReadCloser
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
	case stream:
		a.writeStream(w, &ans, body)
		return
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
			h.Set("Content-Type", problemType)
		}
	}
	ans.writeHeader(h)
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

func (ans *answer) writeHeader(h http.Header) {
	for k, v := range ans.header {
		h.Set(k, v)
	}
	// What is about a person is nobody's to keep on the way.
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

// streamTime is the most that a stream takes.
const streamTime = 5 * time.Minute

// writeStream writes a stream in pieces, of which a client has to take each within Options.Timeout.
func (a *api) writeStream(w http.ResponseWriter, ans *answer, s stream) {
	defer s.from.Close()
	h := w.Header()
	h.Set("Content-Type", s.contentType)
	ans.writeHeader(h)
	if s.size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(s.size, 10))
	}
	rc, end := http.NewResponseController(w), time.Now().Add(streamTime)
	w.WriteHeader(ans.status)
	piece := make([]byte, 32<<10)
	for written := int64(0); ; {
		n, err := s.from.Read(piece)
		if written += int64(n); n > 0 {
			by := time.Now().Add(a.o.Timeout)
			if by.After(end) {
				by = end
			}
			_ = rc.SetWriteDeadline(by)
			if _, err := w.Write(piece[:n]); err != nil {
				panic(http.ErrAbortHandler) // who has gone is told nothing
			}
		}
		switch {
		case err == io.EOF && (s.size < 0 || written == s.size):
			if rc.Flush() == nil {
				_ = rc.SetWriteDeadline(time.Time{})
			}
			return
		case err != nil:
			a.o.Logger.Error("a document broke off while it was read", "err", err)
			panic(http.ErrAbortHandler)
		}
	}
}
