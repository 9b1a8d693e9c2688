package template

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/appio-go/appio/internal/text"
)

// A piece of a text is literal, or a placeholder in its context.
type piece struct {
	literal     string
	placeholder int // of the template; -1: none
	context     context
	before      rune // that stands directly before it on its line: 0 none, placeholderRune another placeholder
	after       rune
}

// A context is what a value is written into.
type context uint8

const (
	plain       context = iota // a subject: as it is
	markdown                   // running text
	destination                // of a link: (...)
	autolink                   // <...>
)

// joiner is nothing that is seen, and for Markdown like a letter: neither a blank nor punctuation.
const joiner = '\u2060'

// append writes a value into the text. Where anything can be in it, as in a text, it is escaped; amounts, days and notice numbers are
// of letters, digits and marks that mean nothing in Markdown.
func (p *piece) append(b *strings.Builder, value string, anything bool) {
	switch {
	case p.context == markdown && anything:
		p.escape(b, value)
	case p.context == destination:
		for i := range len(value) {
			if c := value[i]; c == '(' || c == ')' || c == '&' {
				b.WriteByte('\\')
			}
			b.WriteByte(value[i])
		}
	default:
		b.WriteString(value)
	}
}

// escape writes a value as Markdown that says it and nothing more, whatever stands around it:
//
//   - what has a meaning anywhere is escaped, and so are a first character, which could have one at the start of a line, and the dot
//     that makes a list of a number;
//   - beside a delimiter of emphasis, whose meaning depends on its neighbours, stands a letter, or a joiner as one;
//   - what begins like an address for programs that look for them in the text, when escapes are gone, is broken by a joiner.
func (p *piece) escape(b *strings.Builder, value string) {
	tightBefore, tightAfter := tight(p.before), tight(p.after)
	first, _ := utf8.DecodeRuneInString(value)
	last, _ := utf8.DecodeLastRuneInString(value)
	if delimits(p.before) && !letter(first) || tightBefore && strings.ContainsRune("./:@", first) {
		b.WriteRune(joiner)
	}
	var prev rune
	digits := true // all before are
	rest := value
	for rest != "" {
		r, size := utf8.DecodeRuneInString(rest)
		rest = rest[size:]
		next, _ := utf8.DecodeRuneInString(rest) // utf8.RuneError after the last
		followed := rest != "" && !unicode.IsSpace(next) || rest == "" && tightAfter
		switch {
		case r == '@' && prev != 0 && tight(prev):
			b.WriteRune(joiner)
		case r == '.' && (prev == 'w' || prev == 'W') && followed:
			b.WriteRune(joiner)
		}
		if strings.ContainsRune(special, r) || prev == 0 && asciiPunctuation(r) || digits && r == '.' && !(followed && rest != "") {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
		if r == ':' && (next == '/' && rest != "" || rest == "" && p.after == '/') {
			b.WriteRune(joiner)
		}
		digits = digits && r >= '0' && r <= '9'
		prev = r
	}
	switch {
	case delimits(p.after) && !letter(last),
		p.before == '[' && p.after == ']' && strings.EqualFold(value, "x"), // [x] is a box that is ticked
		last == '|' && p.after == 0,                                        // goldmark takes it for the end of a table's row, escaped or not
		(last == 'w' || last == 'W') && (p.after == '.' || p.after == 'w' || p.after == 'W'):
		b.WriteRune(joiner)
	}
}

// special are the characters that Markdown, or a common extension, reads anywhere in a line.
const special = "\\`*_~[]()<>&#!|{}^$=+:"

func asciiPunctuation(r rune) bool {
	return r > ' ' && r < 0x7f && !(r >= '0' && r <= '9') && !(r >= 'a' && r <= 'z') && !(r >= 'A' && r <= 'Z')
}

// delimits reports whether a character of the template begins or ends emphasis.
func delimits(r rune) bool { return r == '*' || r == '_' }

// letter reports whether a character is neither a blank nor punctuation for Markdown.
func letter(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) }

// tight reports whether something stands there that is not a blank.
func tight(r rune) bool { return r != 0 && !unicode.IsSpace(r) }

// most is how many UTF-16 units a value of n takes at the most, once it is escaped.
func (p *piece) most(n int, anything bool) int {
	switch {
	case p.context == markdown && anything:
		return 2*n + 3
	case p.context == destination:
		return 2 * n
	}
	return n
}

// lengths are the fewest and the most UTF-16 units that a text takes, whatever its values are.
func (t *Template) lengths(pieces []piece, form *text.Form) (least, most int) {
	for i := range pieces {
		p := &pieces[i]
		if p.placeholder < 0 {
			n := text.Units(p.literal)
			least, most = least+n, most+n
			continue
		}
		of := &t.placeholders[p.placeholder]
		a, z := of.lengths(form)
		least, most = least+a, most+p.most(z, of.Type.anything())
	}
	return least, most
}

// anything reports whether the values of a type can hold what Markdown reads, and are not all alike at their ends.
func (t Type) anything() bool {
	return t == TypeText || t == TypeInteger || t == TypeURL || t == TypeEmail
}
