// Package template makes messages of templates: texts in several languages, with typed placeholders, that are checked as a whole when
// they are loaded, so that a rendering can only fail by its values, with an error that names the placeholder. It is useful without the
// engine, and reads no clock.
//
// A template is a file:
//
//	template tari-rata 1
//	label kind payment
//	placeholder anno integer 2020..2099
//	placeholder importo euro 1.00..5000.00
//	placeholder scadenza date
//	placeholder pagamento url
//
//	== it
//	TARI {anno}: rata in scadenza
//
//	La rata della TARI {anno} è di **{importo}**. Paga entro **{scadenza}**: [come pagare]({pagamento}).
//
//	== en
//	TARI {anno}: instalment due
//
//	Your {anno} TARI waste tax instalment is **{importo}**. Please pay by **{scadenza}**: [how to pay]({pagamento}).
//
// It becomes a message so:
//
//	t, err := template.Parse("tari-rata.txt", text)
//	r, err := t.Render(template.Values{"anno": 2026, "importo": pagopa.Amount(150_00), "scadenza": due, "pagamento": "https://..."})
//	m.Use(r) // an appio.Message: its texts in all languages, and which template they are of
//
// # Files
//
// The head has one thing a line; empty lines and lines that begin with # are left out:
//
//	template ID VERSION                 the first: ID is [a-z][a-z0-9-]*, at most 64 bytes; VERSION is 1 to 999999
//	label NAME VALUE                    whatever the host wants to know of the template; see [Template.Label]
//	placeholder NAME TYPE MIN..MAX      NAME is [a-z][a-z0-9_]*, at most 40 bytes; see [Type] for the bounds and where they may be left out
//
// Then each language begins with "== " and its tag (BCP 47); the first is the template's main one. Its first line is the subject, the
// next is empty, and the rest is Markdown (CommonMark, with the tables of GitHub's). Each language has each placeholder, as {name}, in
// the subject or in the Markdown. {{ and }} are braces.
//
// Of Markdown a template may use headings, emphasis, lists, quotes, tables, links and autolinks. Refused are what a message has no
// use for, HTML, code, strikethrough, images, reference links, entities, and what would make its structure depend on a value: see
// the messages of [ParseError]. A url stands in [text]({url}) or <{url}>, and an email in <{email}>, and nowhere else.
//
// # What values can do
//
// A value is text, whatever it holds: it can begin no link, image, heading, emphasis, HTML, code or list, nor end one of the
// template's. Characters that Markdown reads are escaped; before an @, and in what begins like a web address, stands a word joiner
// (U+2060, invisible), since many programs make links of what looks like an address after they have read the Markdown. So addresses
// have types of their own. Programs that make links of bare names with a dot do so with those of any text.
//
// # Lengths
//
// A subject has 10 to 120 UTF-16 units and a Markdown text 80 to 10,000, as in IO. [Parse] checks it for the shortest and the longest
// values that the bounds allow, escaped; so no rendering fails by its length.
package template

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// ErrInvalid is returned for files and values that are refused: a [ParseError] or a [ValueError] says where. Neither quotes a value.
var ErrInvalid = errors.New("template: invalid")

// A ParseError is an [ErrInvalid] about a line of a file.
type ParseError struct {
	File string
	Line int // from 1
	Rule string
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("template: %s:%d: %s", e.File, e.Line, e.Rule)
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *ParseError) Is(target error) bool { return target == ErrInvalid }

// A ValueError is an [ErrInvalid] about the value of a placeholder.
type ValueError struct {
	Template    Ref
	Placeholder string // "" where what the caller called it can be no placeholder's name
	Rule        string // "missing", "1 to 40 UTF-16 units", never the value
}

func (e *ValueError) Error() string {
	if e.Placeholder == "" {
		return fmt.Sprintf("template: %s: %s", e.Template, e.Rule)
	}
	return fmt.Sprintf("template: %s: placeholder %s: %s", e.Template, e.Placeholder, e.Rule)
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *ValueError) Is(target error) bool { return target == ErrInvalid }

// A Ref names one version of a template. The zero Ref names none.
type Ref struct {
	ID      string
	Version int
}

// Valid reports whether r can name a template.
func (r Ref) Valid() bool {
	return validName(r.ID, '-', maxID) && r.Version >= 1 && r.Version <= maxVersion
}

// String is "tari-rata@1".
func (r Ref) String() string { return r.ID + "@" + strconv.Itoa(r.Version) }

const (
	maxID      = 64
	maxVersion = 999_999
	maxName    = 40
)

// validName reports whether s is a lower-case letter and then letters, digits and one more character.
func validName(s string, also byte, most int) bool {
	if s == "" || len(s) > most || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != also && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// A Text is a message's text in one language.
type Text struct {
	Language string // BCP 47: "it"
	Subject  string
	Markdown string
}

// A Rendering is what a template says with some values.
type Rendering struct {
	Template Ref
	Texts    []Text // in all languages of the template, its main one first
}

// A Template is one version of a template. It never changes.
type Template struct {
	ref          Ref
	labels       map[string]string
	placeholders []Placeholder
	languages    []language
}

// A language is a template's text in one of its languages.
type language struct {
	tag      string
	subject  []piece
	markdown []piece
}

// Ref names the template.
func (t *Template) Ref() Ref { return t.ref }

// Label is what the file says under a label; "": nothing.
func (t *Template) Label(name string) string { return t.labels[name] }

// Languages are the tags of the template's languages, its main one first.
func (t *Template) Languages() []string {
	tags := make([]string, len(t.languages))
	for i := range t.languages {
		tags[i] = t.languages[i].tag
	}
	return tags
}

// Placeholders are those of the template, as its file has them.
func (t *Template) Placeholders() []Placeholder { return slices.Clone(t.placeholders) }
