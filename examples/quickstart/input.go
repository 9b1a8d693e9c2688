package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/examples/internal/input"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

// This file reads the three files of a folder, entry by entry.

// A folder holds services.json, citizens.json and messages.jsonl.
type folder struct {
	fs.FS
	name string // for errors
}

func (f folder) problem(file string, err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err // the path is said already
	}
	return fmt.Errorf("%s: %w", filepath.Join(f.name, file), err)
}

// A service is an entry of services.json.
type service struct {
	entry
	appio.Service
	organization appio.Organization
}

func (f folder) services() ([]service, error) {
	entries, err := f.entries("services.json")
	if err != nil {
		return nil, err
	}
	seen := map[appio.ServiceID]bool{}
	var all []service
	for _, e := range entries {
		s, err := parseService(e)
		if err == nil && seen[s.ID] {
			err = errors.New("id stands in an earlier entry too")
		}
		if err != nil {
			return nil, e.problem(err)
		}
		seen[s.ID] = true
		all = append(all, s)
	}
	return all, nil
}

func parseService(e entry) (service, error) {
	o := input.ParseObject(e.raw)
	s := service{entry: e, Service: input.ParseService(o)}
	s.organization = appio.Organization{Code: s.Organization, Name: o.Text("organization_name", input.Required), SignedAt: input.LongAgo}
	return s, cmp.Or(o.Err(), input.InWords(s.organization.Validate(), organizationNames), input.InWords(s.Service.Validate(), input.ServiceNames))
}

// A citizen is an entry of citizens.json.
type citizen struct {
	entry
	input.Citizen
}

func (f folder) citizens() ([]citizen, error) {
	entries, err := f.entries("citizens.json")
	if err != nil {
		return nil, err
	}
	seen := map[fiscalcode.Person]bool{}
	var all []citizen
	for _, e := range entries {
		o := input.ParseObject(e.raw)
		c := citizen{e, input.ParseCitizen(o)}
		err := o.Err()
		if err == nil && seen[c.Code] {
			err = errors.New("fiscal_code stands in an earlier entry too")
		}
		if err != nil {
			return nil, e.problem(err)
		}
		seen[c.Code] = true
		all = append(all, c)
	}
	return all, nil
}

// A submission is a line of messages.jsonl.
type submission struct {
	line    int
	service appio.ServiceID
	message appio.Message
	err     error // why there is no such message: then the rest is incomplete
}

// A lines reads messages.jsonl, of which there may be more than fit in memory.
type lines struct {
	io.Closer
	file string
	r    *bufio.Reader
	read int
}

// maxLine is the most bytes that a line may have.
const maxLine = 1 << 20

func (f folder) messages() (*lines, error) {
	const name = "messages.jsonl"
	file, err := f.Open(name)
	if err != nil {
		return nil, f.problem(name, err)
	}
	r := bufio.NewReaderSize(file, 1<<16)
	if _, err := r.Peek(1); err != nil && err != io.EOF {
		file.Close()
		return nil, f.problem(name, err)
	}
	if start, _ := r.Peek(len(byteOrderMark)); string(start) == byteOrderMark {
		r.Discard(len(start))
	}
	return &lines{Closer: file, file: filepath.Join(f.name, name), r: r}, nil
}

// batch reads up to n submissions of the known services; none are left if it returns none.
func (l *lines) batch(n int, known map[appio.ServiceID]appio.Service) ([]submission, error) {
	var batch []submission
	for len(batch) < n {
		text, err := l.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", l.file, l.read+1, err)
		}
		if len(bytes.TrimSpace(text)) > 0 {
			s := parseSubmission(text, known)
			s.line = l.read
			batch = append(batch, s)
		}
	}
	return batch, nil
}

// next is the next line, without its end and cut behind maxLine bytes, or io.EOF.
func (l *lines) next() ([]byte, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		if len(line) <= maxLine {
			line = append(line, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(line) > 0, err == nil:
			l.read++
			line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
			return line[:min(len(line), maxLine+1)], nil
		default:
			return nil, err
		}
	}
}

func parseSubmission(text []byte, known map[appio.ServiceID]appio.Service) submission {
	switch {
	case len(text) > maxLine:
		return submission{err: errors.New("line is over 1 MiB")}
	case !utf8.Valid(text) || !json.Valid(text):
		return submission{err: errors.New("line is not JSON")}
	}
	o := input.ParseObject(text)
	s := submission{
		message: appio.Message{To: o.Person("fiscal_code")},
		service: appio.ServiceID(o.Text("service_id", input.Required)),
	}
	if _, ok := known[s.service]; !ok {
		o.Fail("service_id", "is of an unknown service")
	}
	if o.Err() != nil {
		return submission{err: o.Err()}
	}

	s.message.Key = o.Text("idempotency_key", input.Optional)
	if o.Has("time_to_live") {
		seconds := o.Integer("time_to_live", input.Required)
		if seconds < 3600 || seconds > 604800 {
			o.Fail("time_to_live", "must be from 3600 to 604800")
		}
		s.message.TimeToLive = time.Duration(seconds) * time.Second
	}
	content, ok := o.Object("content")
	if !ok {
		o.Fail("content", "is missing")
	}
	s.message.Subject = content.Text("subject", input.Required)
	s.message.Markdown = content.Text("markdown", input.Required)
	s.message.Due = content.Instant("due_date")
	s.message.SecureChannels = content.Boolean("require_secure_channels", false)
	if payment, ok := content.Object("payment_data"); ok {
		s.message.Payment = &appio.Notice{
			Amount:          pagopa.Amount(payment.Integer("amount", input.Required)),
			Number:          pagopa.NoticeNumber(payment.Text("notice_number", input.Required)),
			InvalidAfterDue: payment.Boolean("invalid_after_due_date", false),
		}
		if payee, ok := payment.Object("payee"); ok {
			s.message.Payment.Payee = fiscalcode.Organization(payee.Text("fiscal_code", input.Required))
			if !s.message.Payment.Payee.Valid() {
				payee.Fail("fiscal_code", "must be 11 digits")
			}
		}
	}
	if err := cmp.Or(o.Err(), input.InWords(s.message.Validate(), messageNames)); err != nil {
		// The texts go: they may be as long as the line.
		return submission{service: s.service, message: appio.Message{To: s.message.To}, err: err}
	}
	return s
}

// An entry is one element of services.json or citizens.json.
type entry struct {
	raw      json.RawMessage
	position string // "citizens.json:12:3: entry 2"
}

func (e entry) problem(err error) error { return fmt.Errorf("%s: %w", e.position, err) }

// byteOrderMark stands at the start of what some editors write.
const byteOrderMark = "\ufeff"

// entries are the elements of the JSON array that a file is.
func (f folder) entries(name string) ([]entry, error) {
	data, err := fs.ReadFile(f, name)
	if err != nil {
		return nil, f.problem(name, err)
	}
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	file := filepath.Join(f.name, name)
	var elements []json.RawMessage
	if err := json.Unmarshal(data, &elements); err != nil {
		if bad := (*json.SyntaxError)(nil); errors.As(err, &bad) {
			line, column := advance(1, 1, data[:max(bad.Offset-1, 0)])
			return nil, fmt.Errorf("%s:%d:%d: not JSON: %w", file, line, column, err)
		}
		return nil, fmt.Errorf("%s:1:1: must be a JSON array", file)
	}
	var all []entry
	line, column := 1, 1
	for i, raw := range elements {
		start := bytes.Index(data, raw) // found where it is: before it stand blanks and a comma or bracket
		line, column = advance(line, column, data[:start])
		e := entry{raw, fmt.Sprintf("%s:%d:%d: entry %d", file, line, column, i+1)}
		if !utf8.Valid(raw) {
			return nil, e.problem(errors.New("must be in UTF-8"))
		}
		line, column = advance(line, column, raw)
		data = data[start+len(raw):]
		all = append(all, e)
	}
	return all, nil
}

// advance is the line and column behind a text that begins at line and column.
func advance(line, column int, text []byte) (int, int) {
	if i := bytes.LastIndexByte(text, '\n'); i >= 0 {
		return line + bytes.Count(text, []byte{'\n'}), len(text) - i
	}
	return line, column + len(text)
}

var (
	organizationNames = map[string]string{"Code": "organization_fiscal_code", "Name": "organization_name"}
	messageNames      = map[string]string{
		"To": "fiscal_code", "Key": "idempotency_key", "TimeToLive": "time_to_live",
		"Subject": "content.subject", "Markdown": "content.markdown", "Due": "content.due_date",
		"Payment.Amount": "content.payment_data.amount", "Payment.Number": "content.payment_data.notice_number",
		"Payment.Payee": "content.payment_data.payee.fiscal_code",
	}
)
