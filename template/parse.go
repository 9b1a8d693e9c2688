package template

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/appio-go/appio/internal/text"
)

// maxFile is in bytes: ten languages of the longest text have room.
const (
	maxFile         = 1 << 19
	maxLanguages    = 10
	maxPlaceholders = 50
	maxLabels       = 50
)

// Parse reads a template. file is what errors call it. Every error is a [ParseError].
func Parse(file, source string) (*Template, error) {
	p := &parser{file: file, t: &Template{labels: map[string]string{}}}
	if err := p.parse(source); err != nil {
		return nil, err
	}
	return p.t, nil
}

type parser struct {
	file  string
	lines []string
	at    int // the line that is read, from 0
	t     *Template
}

func (p *parser) fail(format string, args ...any) error {
	return p.failAt(p.at, format, args...)
}

func (p *parser) failAt(line int, format string, args ...any) error {
	return &ParseError{p.file, line + 1, fmt.Sprintf(format, args...)}
}

func (p *parser) parse(source string) error {
	if len(source) > maxFile {
		return p.fail("at most %d bytes", maxFile)
	}
	p.lines = strings.Split(strings.TrimSuffix(source, "\n"), "\n")
	for i, l := range p.lines {
		l = strings.TrimSuffix(l, "\r") // as some editors, and git, leave files
		p.lines[i] = l
		switch {
		case !utf8.ValidString(l):
			return p.failAt(i, "not UTF-8")
		case strings.ContainsFunc(l, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) }):
			return p.failAt(i, "a control or formatting character, such as a tab")
		case strings.TrimRightFunc(l, unicode.IsSpace) != l:
			return p.failAt(i, "blanks at the end")
		}
	}
	if err := p.head(); err != nil {
		return err
	}
	for p.at < len(p.lines) {
		if err := p.language(); err != nil {
			return err
		}
	}
	if len(p.t.languages) == 0 {
		return p.failAt(len(p.lines)-1, "no language: \"== it\" begins one")
	}
	return nil
}

const languageMark = "== "

// head reads up to the first language.
func (p *parser) head() error {
	for ; p.at < len(p.lines); p.at++ {
		l := p.lines[p.at]
		switch {
		case l == "" || strings.HasPrefix(l, "#"):
			continue
		case strings.HasPrefix(l, languageMark) && p.t.ref.ID != "":
			return nil
		}
		key, rest, _ := strings.Cut(l, " ")
		var err error
		switch {
		case key == "template" && p.t.ref.ID == "":
			err = p.name(rest)
		case p.t.ref.ID == "":
			err = p.fail("\"template ID VERSION\" comes first")
		case key == "label":
			err = p.label(rest)
		case key == "placeholder":
			err = p.placeholder(rest)
		default:
			err = p.fail("neither a label nor a placeholder, nor the begin of a language")
		}
		if err != nil {
			return err
		}
	}
	if p.t.ref.ID == "" {
		return p.failAt(0, "\"template ID VERSION\" comes first")
	}
	return nil
}

func (p *parser) name(s string) error {
	id, version, _ := strings.Cut(s, " ")
	n, ok := number(version)
	ref := Ref{id, int(n)}
	if !ok || n > maxVersion || !ref.Valid() {
		return p.fail("\"template ID VERSION\": an id of [a-z][a-z0-9-]*, at most %d bytes, and a version of 1 to %d", maxID, maxVersion)
	}
	p.t.ref = ref
	return nil
}

func (p *parser) label(s string) error {
	name, value, _ := strings.Cut(s, " ")
	switch {
	case !validName(name, '-', maxName) || value == "" || strings.TrimSpace(value) != value:
		return p.fail("\"label NAME VALUE\": a name of [a-z][a-z0-9-]*, at most %d bytes, and a text", maxName)
	case p.t.labels[name] != "":
		return p.fail("label %s a second time", name)
	case len(p.t.labels) == maxLabels:
		return p.fail("at most %d labels", maxLabels)
	}
	p.t.labels[name] = value
	return nil
}

func (p *parser) placeholder(s string) error {
	words := strings.Split(s, " ")
	if len(words) < 2 || len(words) > 3 || !validName(words[0], '_', maxName) {
		return p.fail("\"placeholder NAME TYPE MIN..MAX\": a name of [a-z][a-z0-9_]*, at most %d bytes", maxName)
	}
	of := Placeholder{Name: words[0], Type: Type(words[1])}
	b, ok := bounds[of.Type]
	if !ok {
		return p.fail("placeholder %s: a type of text, integer, euro, date, datetime, url, email or notice", of.Name)
	}
	if p.find(of.Name) >= 0 {
		return p.fail("placeholder %s a second time", of.Name)
	}
	if len(p.t.placeholders) == maxPlaceholders {
		return p.fail("at most %d placeholders", maxPlaceholders)
	}
	of.Min, of.Max = b.min, b.max
	if len(words) == 3 {
		least, most, _ := strings.Cut(words[2], "..")
		if b.read == nil {
			return p.fail("placeholder %s: a notice has no bounds", of.Name)
		}
		var minOK, maxOK bool
		of.Min, minOK = b.read(least)
		of.Max, maxOK = b.read(most)
		if !minOK || !maxOK || of.Min < b.least || of.Max > b.most || of.Min > of.Max {
			return p.fail("placeholder %s: bounds MIN..MAX of %s", of.Name, b.rule)
		}
	} else if b.read != nil && b.min == 0 && b.max == 0 {
		return p.fail("placeholder %s: %s needs bounds MIN..MAX of %s", of.Name, of.Type, b.rule)
	}
	p.t.placeholders = append(p.t.placeholders, of)
	return nil
}

func (p *parser) find(name string) int {
	for i := range p.t.placeholders {
		if p.t.placeholders[i].Name == name {
			return i
		}
	}
	return -1
}

// language reads the text of one, whose mark is the line that is read.
func (p *parser) language() error {
	start := p.at
	l := language{tag: strings.TrimPrefix(p.lines[p.at], languageMark)}
	switch {
	case !text.ValidTag(l.tag):
		return p.fail("\"== TAG\": %s", text.TagRule)
	case len(p.t.languages) == maxLanguages:
		return p.fail("at most %d languages", maxLanguages)
	}
	for i := range p.t.languages {
		if strings.EqualFold(p.t.languages[i].tag, l.tag) {
			return p.fail("language %s a second time", l.tag)
		}
	}
	form := text.FormOf(l.tag)
	for _, of := range p.t.placeholders {
		if form == nil && of.Type.needsForm() {
			return p.fail("placeholder %s: how this language writes it is not known; it, en, de, fr and sl are", of.Name)
		}
	}
	end := start + 1
	for end < len(p.lines) && !strings.HasPrefix(p.lines[end], languageMark) {
		end++
	}
	p.at = end
	last := end
	for last > start+1 && p.lines[last-1] == "" {
		last--
	}
	if last < start+4 || p.lines[start+1] == "" || p.lines[start+2] != "" || p.lines[start+3] == "" {
		return p.failAt(start, "a language is a line of subject, an empty line, and Markdown")
	}
	used := make([]bool, len(p.t.placeholders))
	var err error
	if l.subject, err = p.subject(start+1, used); err != nil {
		return err
	}
	if l.markdown, err = p.markdown(start+3, last, used); err != nil {
		return err
	}
	for i, of := range p.t.placeholders {
		if !used[i] {
			return p.failAt(start, "placeholder %s is not in language %s", of.Name, l.tag)
		}
	}
	for _, c := range []struct {
		what        string
		line        int
		pieces      []piece
		least, most int
	}{
		{"the subject", start + 1, l.subject, text.MinSubject, text.MaxSubject},
		{"the Markdown", start + 3, l.markdown, text.MinMarkdown, text.MaxMarkdown},
	} {
		if least, most := p.t.lengths(c.pieces, form); least < c.least || most > c.most {
			return p.failAt(c.line, "%s takes %d to %d UTF-16 units with the values that its bounds allow; it may have %d to %d",
				c.what, least, most, c.least, c.most)
		}
	}
	p.t.languages = append(p.t.languages, l)
	return nil
}

// placeholderRune stands for the first placeholder while a line is checked, and those after it for the others: characters that no
// file may have.
const placeholderRune = '\ue000'

func isPlaceholder(r rune) bool { return r >= placeholderRune && r < placeholderRune+maxPlaceholders }

// expand is a line with a rune for each placeholder, and braces for double ones.
func (p *parser) expand(line int, used []bool) (string, error) {
	var b strings.Builder
	for s := p.lines[line]; s != ""; {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		s = s[i:]
		if strings.HasPrefix(s, "{{") || strings.HasPrefix(s, "}}") {
			b.WriteByte(s[0])
			s = s[2:]
			continue
		}
		name, rest, ok := strings.Cut(s[1:], "}")
		if s[0] == '}' || !ok || !validName(name, '_', maxName) {
			return "", p.failAt(line, "braces are of a placeholder, {name}; {{ and }} are braces")
		}
		at := p.find(name)
		if at < 0 {
			return "", p.failAt(line, "placeholder %s is not in the head", name)
		}
		used[at] = true
		b.WriteRune(placeholderRune + rune(at))
		s = rest
	}
	return b.String(), nil
}

func (p *parser) subject(line int, used []bool) ([]piece, error) {
	s, err := p.expand(line, used)
	if err != nil {
		return nil, err
	}
	for _, r := range s {
		if isPlaceholder(r) {
			if of := p.t.placeholders[r-placeholderRune]; of.Type == TypeURL || of.Type == TypeEmail {
				return nil, p.failAt(line, "placeholder %s: an address is not for a subject", of.Name)
			}
		}
	}
	if strings.TrimSpace(s) != s {
		return nil, p.failAt(line, "blanks before the subject")
	}
	return pieces(s, func(int) context { return plain }), nil
}

// pieces cuts a text at its placeholders.
func pieces(s string, at func(offset int) context) (all []piece) {
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			all = append(all, piece{literal: literal.String(), placeholder: -1})
			literal.Reset()
		}
	}
	before := rune(0)
	for i, r := range s {
		if !isPlaceholder(r) {
			literal.WriteRune(r)
		} else {
			flush()
			after, size := utf8.DecodeRuneInString(s[i+utf8.RuneLen(r):])
			if size == 0 {
				after = 0
			}
			all = append(all, piece{placeholder: int(r - placeholderRune), context: at(i), before: neighbour(before), after: neighbour(after)})
		}
		before = r
	}
	flush()
	return all
}

// neighbour is a character beside a placeholder; the end of a line is none.
func neighbour(r rune) rune {
	switch {
	case r == '\n':
		return 0
	case isPlaceholder(r):
		return placeholderRune
	}
	return r
}
