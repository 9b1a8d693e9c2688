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
	"iter"
	"maps"
	"math"
	"net/mail"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

// This file reads the three files of a folder. Members have the names of IO's API; unknown ones are ignored, and null is as
// good as absent. An error says where and what, and repeats nothing that was read: it might be somebody's fiscal code.

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

// longAgo is when organizations joined the platform, and addresses were proved: the files do not say.
var longAgo = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

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
	o := parseObject(e.raw)
	code := fiscalcode.Organization(o.text("organization_fiscal_code", required))
	s := service{
		entry: e,
		Service: appio.Service{
			ID:             appio.ServiceID(o.text("id", required)),
			Name:           o.text("name", required),
			Organization:   code,
			State:          choice(o, "state", optional, map[string]appio.ServiceState{"trial": appio.Trial, "live": appio.Live}),
			Category:       choice(o, "category", optional, map[string]appio.Category{"STANDARD": appio.Standard, "SPECIAL": appio.Special}),
			SecureChannels: o.boolean("require_secure_channels", false),
			MaxPayment:     pagopa.Amount(o.integer("max_allowed_payment_amount", optional)),
			OtherPayees:    true, // as IO lets every service
		},
		organization: appio.Organization{Code: code, Name: o.text("organization_name", required), SignedAt: longAgo},
	}
	for _, code := range o.texts("authorized_recipients") {
		s.Trial = append(s.Trial, fiscalcode.Person(code))
	}
	return s, cmp.Or(*o.err, inFiles(s.organization.Validate(), organizationNames), inFiles(s.Service.Validate(), serviceNames))
}

// A citizen is an entry of citizens.json.
type citizen struct {
	entry
	code        fiscalcode.Person
	mode        appio.Mode
	inbox       bool
	channels    appio.Channels // master switches
	email       appio.Address  // Value empty: none
	preferences map[appio.ServiceID]appio.Preference
	activations map[appio.ServiceID]activation
}

type activation struct {
	status appio.Activation
	age    time.Duration
}

func (f folder) citizens() ([]citizen, error) {
	entries, err := f.entries("citizens.json")
	if err != nil {
		return nil, err
	}
	seen := map[fiscalcode.Person]bool{}
	var all []citizen
	for _, e := range entries {
		c, err := parseCitizen(e)
		if err == nil && seen[c.code] {
			err = errors.New("fiscal_code stands in an earlier entry too")
		}
		if err != nil {
			return nil, e.problem(err)
		}
		seen[c.code] = true
		all = append(all, c)
	}
	return all, nil
}

func parseCitizen(e entry) (citizen, error) {
	o := parseObject(e.raw)
	c := citizen{
		entry:       e,
		code:        o.person("fiscal_code"),
		mode:        choice(o, "mode", optional, map[string]appio.Mode{"AUTO": appio.Auto, "MANUAL": appio.Manual}),
		inbox:       o.boolean("inbox", true),
		channels:    appio.Channels{},
		preferences: map[appio.ServiceID]appio.Preference{},
		activations: map[appio.ServiceID]activation{},
	}

	email, _ := o.object("email")
	c.email = appio.Address{Channel: appio.Email, Value: email.text("address", optional)}
	if c.email.Value != "" {
		if a, err := mail.ParseAddress(c.email.Value); err != nil || a.Address != c.email.Value {
			email.fail("address", "must be an e-mail address")
		}
	}
	if email.boolean("validated", false) {
		c.email.ValidatedAt = longAgo
	}
	if email.boolean("enabled", false) {
		c.channels[appio.Email] = appio.Full
	}

	push, _ := o.object("push")
	c.channels[appio.Push] = cmp.Or(
		choice(push, "content", optional, map[string]appio.Content{"FULL": appio.Full, "ANONYMOUS": appio.Generic}), appio.Generic)
	if !push.boolean("enabled", true) {
		c.channels[appio.Push] = appio.None
	}

	for id, p := range o.objects("preferences") {
		preference := appio.Preference{Inbox: p.boolean("inbox", false), Channels: appio.Channels{}}
		for _, name := range []string{appio.Email, appio.Push} {
			if p.boolean(name, false) {
				preference.Channels[name] = appio.Full
			}
		}
		c.preferences[appio.ServiceID(id)] = preference
	}
	for id, a := range o.objects("activations") {
		status := choice(a, "status", required, map[string]appio.Activation{
			"ACTIVE": appio.Active, "PENDING": appio.Pending, "INACTIVE": appio.Inactive,
		})
		seconds := a.integer("age_seconds", optional)
		if seconds < 0 || seconds > 1e9 {
			a.fail("age_seconds", "must be from 0 to 1000000000")
		}
		c.activations[appio.ServiceID(id)] = activation{status, time.Duration(seconds) * time.Second}
	}
	return c, *o.err
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
	o := parseObject(text)
	s := submission{
		message: appio.Message{To: o.person("fiscal_code")},
		service: appio.ServiceID(o.text("service_id", required)),
	}
	if _, ok := known[s.service]; !ok {
		o.fail("service_id", "is of an unknown service")
	}
	if *o.err != nil {
		return submission{err: *o.err}
	}

	s.message.Key = o.text("idempotency_key", optional)
	if o.has("time_to_live") {
		seconds := o.integer("time_to_live", required)
		if seconds < 3600 || seconds > 604800 {
			o.fail("time_to_live", "must be from 3600 to 604800")
		}
		s.message.TimeToLive = time.Duration(seconds) * time.Second
	}
	content, ok := o.object("content")
	if !ok {
		o.fail("content", "is missing")
	}
	s.message.Subject = content.text("subject", required)
	s.message.Markdown = content.text("markdown", required)
	s.message.Due = content.instant("due_date")
	s.message.SecureChannels = content.boolean("require_secure_channels", false)
	if payment, ok := content.object("payment_data"); ok {
		s.message.Payment = &appio.Notice{
			Amount:          pagopa.Amount(payment.integer("amount", required)),
			Number:          pagopa.NoticeNumber(payment.text("notice_number", required)),
			InvalidAfterDue: payment.boolean("invalid_after_due_date", false),
		}
		if payee, ok := payment.object("payee"); ok {
			s.message.Payment.Payee = fiscalcode.Organization(payee.text("fiscal_code", required))
			if !s.message.Payment.Payee.Valid() {
				payee.fail("fiscal_code", "must be 11 digits")
			}
		}
	}
	if err := cmp.Or(*o.err, inFiles(s.message.Validate(), messageNames)); err != nil {
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

// An object is a JSON object. Its methods take members by their exact names; where one is not what it should be they say so
// in err, which all objects of an entry have in common and which keeps the first such word.
type object struct {
	members map[string]json.RawMessage
	path    string // "content.payment_data."
	err     *error
}

func parseObject(raw []byte) object {
	o := object{err: new(error)}
	if err := json.Unmarshal(raw, &o.members); err != nil || o.members == nil {
		*o.err = errors.New("must be a JSON object")
	}
	return o
}

func (o object) fail(name, rule string) {
	if *o.err == nil {
		*o.err = errors.New(o.path + name + " " + rule)
	}
}

func (o object) has(name string) bool {
	raw, ok := o.members[name]
	return ok && string(raw) != "null"
}

type presence bool

const (
	required presence = true
	optional presence = false
)

// take reads a member, if it is there, into a variable of the right type.
func (o object) take(name string, p presence, into any, rule string) bool {
	if !o.has(name) {
		if p == required {
			o.fail(name, "is missing")
		}
		return false
	}
	if json.Unmarshal(o.members[name], into) != nil {
		o.fail(name, rule)
		return false
	}
	return true
}

func (o object) text(name string, p presence) (s string) {
	o.take(name, p, &s, "must be a string")
	return s
}

func (o object) texts(name string) (all []string) {
	o.take(name, optional, &all, "must be an array of strings")
	return all
}

func (o object) boolean(name string, absent bool) bool {
	b := absent
	o.take(name, optional, &b, "must be true or false")
	return b
}

// integer takes 3600.0 too, which is what some programs write for 3600.
func (o object) integer(name string, p presence) int64 {
	var f float64
	const rule = "must be an integer"
	if o.take(name, p, &f, rule) && (f != math.Trunc(f) || math.Abs(f) > 1<<53) {
		o.fail(name, rule)
	}
	return int64(f)
}

func (o object) person(name string) fiscalcode.Person {
	p := fiscalcode.Person(o.text(name, required))
	if !p.Valid() {
		o.fail(name, "must be a person's fiscal code: 16 characters in a fixed pattern, letters in upper case")
	}
	return p
}

var instantPattern = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$`)

// instant reads a date and time; one without a zone is in UTC.
func (o object) instant(name string) (t time.Time) {
	s := o.text(name, optional)
	if !o.has(name) {
		return t
	}
	zone := instantPattern.FindStringSubmatch(s)
	if zone != nil && zone[2] == "" {
		s += "Z"
	}
	if zone == nil || t.UnmarshalText([]byte(s)) != nil {
		o.fail(name, "must be a date and time with seconds, such as 2026-06-30T23:59:59+02:00")
	}
	return t.UTC()
}

func (o object) object(name string) (object, bool) {
	sub := object{path: o.path + name + ".", err: o.err}
	return sub, o.take(name, optional, &sub.members, "must be an object")
}

// objects are the members of a member, all of them objects. Their names are identifiers, so that errors leave them out.
func (o object) objects(name string) iter.Seq2[string, object] {
	return func(yield func(string, object) bool) {
		all, _ := o.object(name)
		for _, id := range slices.Sorted(maps.Keys(all.members)) {
			one := object{path: all.path + "*.", err: o.err}
			if json.Unmarshal(all.members[id], &one.members) != nil {
				all.fail("*", "must be an object")
			}
			if all.has(id) && !yield(id, one) {
				return
			}
		}
	}
}

// choice reads a member that is one of a few words.
func choice[T any](o object, name string, p presence, words map[string]T) T {
	s := o.text(name, p)
	v, ok := words[s]
	if !ok && o.has(name) {
		o.fail(name, "must be one of "+strings.Join(slices.Sorted(maps.Keys(words)), ", "))
	}
	return v
}

// inFiles says in the words of the files what the engine says in Go's.
func inFiles(err error, names map[string]string) error {
	field := (*appio.FieldError)(nil)
	if !errors.As(err, &field) {
		return err
	}
	name, _, _ := strings.Cut(field.Field, "[")
	return fmt.Errorf("%s must be %s", cmp.Or(names[name], name), field.Rule)
}

var (
	serviceNames = map[string]string{
		"ID": "id", "Name": "name", "Organization": "organization_fiscal_code",
		"MaxPayment": "max_allowed_payment_amount", "Trial": "authorized_recipients",
	}
	organizationNames = map[string]string{"Code": "organization_fiscal_code", "Name": "organization_name"}
	messageNames      = map[string]string{
		"To": "fiscal_code", "Key": "idempotency_key", "TimeToLive": "time_to_live",
		"Subject": "content.subject", "Markdown": "content.markdown", "Due": "content.due_date",
		"Payment.Amount": "content.payment_data.amount", "Payment.Number": "content.payment_data.notice_number",
		"Payment.Payee": "content.payment_data.payee.fiscal_code",
	}
)
