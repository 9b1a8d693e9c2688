package remotecontent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/magic"
	"github.com/appio-go/appio/internal/text"
)

// A Precondition is what a citizen is shown before they open a message.
type Precondition struct {
	Title    string `json:"title"`
	Markdown string `json:"markdown"`
}

// Content is what a message has elsewhere, and the documents that it carries. As JSON it is IO's ThirdPartyMessage.
type Content struct {
	Attachments []Attachment // none: nil
	// Details is what the system says beside: of a message with RemoteContent.Text its "subject" and "markdown", within the limits of a
	// message's own. More is the other members of its answer. Both are as the system wrote them: who shows them escapes them.
	Details, More map[string]json.RawMessage
}

// An Attachment is a document that can be opened by its URL: see [Reader.Attachment].
type Attachment struct {
	ID          string `json:"id"`
	ContentType string `json:"content_type,omitempty"`
	Name        string `json:"name,omitempty"`
	URL         string `json:"url"` // relative
	Category    string `json:"category,omitempty"`
}

// MarshalJSON writes what IO's API answers.
func (c Content) MarshalJSON() ([]byte, error) {
	whole := map[string]any{}
	for name, v := range c.More {
		whole[name] = v
	}
	delete(whole, "details")
	if len(c.Details) > 0 {
		whole["details"] = c.Details
	}
	delete(whole, "attachments")
	if c.Attachments != nil {
		whole["attachments"] = c.Attachments
	}
	return json.Marshal(whole)
}

// The bounds of what a system says.
const (
	maxAttachments = 100
	maxTitle       = 1000 // UTF-16 units
	maxURL         = 1000 // bytes
)

// stored begins the URLs of documents that a message carries itself.
const stored = "stored/"

// Precondition fetches what the citizen has to be shown before they open a message, and notes that they were; nil: there is nothing.
func (r *Reader) Precondition(ctx context.Context, c *appio.Citizen, id appio.MessageID) (*Precondition, error) {
	m, err := r.message(ctx, c, id)
	if err != nil || !m.PreconditionDue() {
		return nil, err
	}
	b, err := r.json(ctx, &m, "/precondition")
	if err != nil {
		return nil, err
	}
	var p Precondition
	if err := object(b, &p); err != nil {
		return nil, err
	}
	if n := text.Units(p.Title); n < 1 || n > maxTitle {
		return nil, wrong("the precondition's title is missing, or too long")
	}
	if n := text.Units(p.Markdown); n < 1 || n > text.MaxMarkdown {
		return nil, wrong("the precondition's text is missing, or too long")
	}
	if err := c.PreconditionShown(ctx, id, p.Title+"\n\n"+p.Markdown); err != nil {
		return nil, err
	}
	return &p, nil
}

// message is one that has something to open.
func (r *Reader) message(ctx context.Context, c *appio.Citizen, id appio.MessageID) (appio.InboxMessage, error) {
	m, err := c.Message(ctx, id)
	if err == nil && m.Remote == nil && len(m.Documents) == 0 {
		err = ErrNothing
	}
	return m, err
}

// Open fetches what a message has. Where it has a precondition, the citizen accepts it by this, and it is noted before anything is fetched; who
// was not shown it is [appio.ErrForbidden].
func (r *Reader) Open(ctx context.Context, c *appio.Citizen, id appio.MessageID) (appio.InboxMessage, Content, error) {
	m, err := r.message(ctx, c, id)
	if err != nil {
		return m, Content{}, err
	}
	if err := c.AcceptPrecondition(ctx, id); err != nil {
		return m, Content{}, err
	}
	var content Content
	if m.Remote != nil {
		b, err := r.json(ctx, &m, "")
		if err == nil {
			content, err = judge(b, m.Remote)
		}
		if err != nil {
			return m, Content{}, err
		}
	}
	for _, d := range m.Documents {
		content.Attachments = append(content.Attachments, Attachment{string(d.ID), d.Type, d.Name, stored + string(d.ID), "DOCUMENT"})
	}
	return m, content, nil
}

// judge reads what a system says of a message, and keeps what the message says that there is.
func judge(b []byte, m *appio.RemoteContent) (c Content, err error) {
	if err := object(b, &c.More); err != nil {
		return c, err
	}
	if m.Attachments {
		if err := json.Unmarshal(c.More["attachments"], &c.Attachments); err != nil || c.Attachments == nil {
			return c, wrong("ATTACHMENTS_NOT_PRESENT")
		}
		if len(c.Attachments) > maxAttachments {
			return c, wrong(fmt.Sprintf("it has more than %d attachments", maxAttachments))
		}
		for i := range c.Attachments {
			a := &c.Attachments[i]
			if _, _, err := relative(a.URL); err != nil || a.ID == "" || strings.HasPrefix(a.URL, stored) {
				return c, wrong("an attachment has no id, or a URL that is not relative")
			}
		}
	}
	if d := c.More["details"]; d != nil && json.Unmarshal(d, &c.Details) != nil {
		return c, wrong("its details are no object")
	}
	if !m.Text {
		delete(c.Details, "subject")
		delete(c.Details, "markdown")
		return c, nil
	}
	var subject, markdown string
	if c.Details["subject"] == nil || c.Details["markdown"] == nil || json.Unmarshal(c.Details["subject"], &subject) != nil ||
		json.Unmarshal(c.Details["markdown"], &markdown) != nil {
		return c, wrong("REMOTE_CONTENT_NOT_PRESENT")
	}
	if n := text.Units(markdown); n < text.MinMarkdown || n > text.MaxMarkdown {
		return c, wrong("MARKDOWN_VALIDATION_ERROR")
	}
	if n := text.Units(subject); n < text.MinSubject || n > text.MaxSubject {
		return c, wrong("SUBJECT_VALIDATION_ERROR")
	}
	return c, nil
}

// json reads an answer that must be JSON.
func (r *Reader) json(ctx context.Context, m *appio.InboxMessage, path string) ([]byte, error) {
	resp, _, err := r.ask(ctx, m, path, "", "application/json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	// Systems made for IO call it what they like; a page of somebody's is not it.
	if kind, given := contentType(resp); given && !strings.HasPrefix(kind, "application/") && kind != "text/plain" {
		return nil, wrong("it is not JSON")
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, r.o.MaxMessage+1))
	if err == nil && int64(len(b)) > r.o.MaxMessage {
		err = wrong("it is too long")
	}
	return b, err
}

// object reads a JSON object.
func object(b []byte, into any) error {
	if !utf8.Valid(b) || !bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) || json.Unmarshal(b, into) != nil {
		return wrong("it is not JSON")
	}
	return nil
}

func contentType(resp *http.Response) (kind string, given bool) {
	header := resp.Header.Get("Content-Type")
	if header == "" {
		return "", false
	}
	kind, _, err := mime.ParseMediaType(header)
	if err != nil {
		return "unreadable", true
	}
	return kind, true
}

// A Document is one that is being fetched.
type Document struct {
	Type string // as "application/pdf"
	Name string // empty: not known
	Size int64  // -1: not known
	Body io.ReadCloser
}

// Attachment opens a document by the URL of an [Attachment] of the message; its body must be closed. A body that ends with io.EOF is
// whole. Beside what [Reader.Open] answers, a document of the system that does not begin as a PDF file is [ErrKind], and one that is too long
// is [ErrAnswer], from here or while it is read.
func (r *Reader) Attachment(ctx context.Context, c *appio.Citizen, id appio.MessageID, at string) (*Document, error) {
	m, err := r.message(ctx, c, id)
	if err != nil {
		return nil, err
	}
	if doc, ok := strings.CutPrefix(at, stored); ok {
		if err := c.AcceptPrecondition(ctx, id); err != nil {
			return nil, err
		}
		d, body, err := c.OpenDocument(ctx, id, appio.DocumentID(doc))
		if err != nil {
			return nil, err
		}
		return &Document{d.Type, d.Name, d.Size, body}, nil
	}
	path, query, err := relative(at)
	if err != nil {
		return nil, err
	}
	if m.Remote == nil || !m.Remote.Attachments {
		return nil, fmt.Errorf("%w: the message has no such document", appio.ErrNotFound)
	}
	if err := c.AcceptPrecondition(ctx, id); err != nil {
		return nil, err
	}
	return r.document(ctx, &m, path, query)
}

func (r *Reader) document(ctx context.Context, m *appio.InboxMessage, path, query string) (d *Document, err error) {
	resp, inTime, err := r.ask(ctx, m, path, query, "application/pdf, application/octet-stream")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = resp.Body.Close()
		}
	}()
	if kind, given := contentType(resp); given && !strings.HasPrefix(kind, "application/") && kind != "binary/octet-stream" {
		return nil, ErrKind
	}
	if resp.ContentLength > r.o.MaxDocument {
		return nil, wrong("it is too long")
	}
	body := bufio.NewReaderSize(&bounded{resp.Body, r.o.MaxDocument}, 4<<10)
	head, err := body.Peek(magic.Head)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if !magic.Is(magic.PDF, head) {
		return nil, ErrKind
	}
	if !inTime() {
		return nil, ErrTimeout
	}
	return &Document{Type: magic.PDF, Size: resp.ContentLength, Body: struct {
		io.Reader
		io.Closer
	}{body, resp.Body}}, nil
}

// A bounded reader fails beyond its bound.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, wrong("it is too long")
	}
	return n, err
}

var errURL = &appio.FieldError{Field: "url", Rule: "that of an attachment of the message"}

// relative is a URL that leads to something below the message, as a path, escaped, and a query. Everything else is refused, in whatever way it is
// written: the key goes with the request.
func relative(at string) (path, query string, err error) {
	at, query, _ = strings.Cut(strings.TrimPrefix(at, "/"), "?")
	if len(at)+len(query) > maxURL || strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }) {
		return "", "", errURL
	}
	for segment := range strings.SplitSeq(at, "/") {
		if s, err := url.PathUnescape(segment); err == nil {
			segment = s
		}
		if segment == "" || segment == "." || segment == ".." || !utf8.ValidString(segment) ||
			strings.ContainsFunc(segment, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune(`/\%#`, r) }) {
			return "", "", errURL
		}
		path += "/" + url.PathEscape(segment)
	}
	return path, query, nil
}
