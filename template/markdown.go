package template

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// What stands in a line of Markdown, with a rune for each placeholder.
var (
	// A link's destination, or an autolink.
	target = regexp.MustCompile(`\]\(([^()\s]*)\)|<([^<>\s]*)>`)

	// What a value could make a list of, at the start of a line.
	countable = regexp.MustCompile(`^(?:[ >*+:-]|[0-9]+[.)] )*[0-9P]*P[0-9P]*[.)]`)

	refused = []struct {
		what *regexp.Regexp
		rule string
	}{
		{regexp.MustCompile(`\]\(`), "a link leads to an https address, to a url in braces, or to mailto: and an email in braces, without a title"},
		{regexp.MustCompile("[`~]"), "code and strikethrough are not for messages: ` and ~"},
		{regexp.MustCompile(`    `), "four blanks make code"},
		{regexp.MustCompile(`!\[`), "images are not for messages: !"},
		{regexp.MustCompile(`\]:|\]\[|\[\^`), "reference links and footnotes are not for messages: ]: or ][ or [^"},
		{regexp.MustCompile(`\\P`), "a backslash before a placeholder"},
		{regexp.MustCompile(`\\(?:[A-Za-z0-9 ]|[^\x00-\x7f])`), "a backslash before what it does not escape"},
		{regexp.MustCompile(`&[^ ]`), "entities are not for messages: & before another character than a blank"},
		{regexp.MustCompile(`\[P\]`), "a value alone in brackets could be a box to tick"},
		{regexp.MustCompile(`(?i:://|www\.|@)\S*P|P\S*(?i:://|www\.|@)|P//`), "a value beside an address could become part of it"},
		{regexp.MustCompile(`<`), "HTML is not for messages: < stands before {name} of a url or an email, or https://, and then >"},
	}
)

// markdown reads lines from first to before end.
func (p *parser) markdown(first, end int, used []bool) ([]piece, error) {
	var all strings.Builder
	contexts := map[int]context{}
	for line := first; line < end; line++ {
		s, err := p.expand(line, used)
		if err != nil {
			return nil, err
		}
		start := all.Len()
		bare, err := p.targets(line, s, func(offset int, c context) { contexts[start+offset] = c })
		if err != nil {
			return nil, err
		}
		if rule := structure(bare); rule != "" {
			return nil, p.failAt(line, "%s", rule)
		}
		all.WriteString(s)
		if line < end-1 {
			all.WriteByte('\n')
		}
	}
	return pieces(all.String(), func(offset int) context {
		if c, ok := contexts[offset]; ok {
			return c
		}
		return markdown
	}), nil
}

// targets finds where the line's links lead, and returns the line without.
func (p *parser) targets(line int, s string, found func(offset int, c context)) (bare string, err error) {
	if !pairs(s) {
		return "", p.failAt(line, "brackets are in pairs on their line, one pair not in another, and have no <> inside: [ and ], or \\[ and \\]")
	}
	last := 0
	var b strings.Builder
	for _, m := range target.FindAllStringSubmatchIndex(s, -1) {
		if m[0] > 0 && s[m[0]-1] == '\\' {
			continue // no link, which the rules below refuse
		}
		c, from, to := destination, m[2], m[3]
		if from < 0 {
			c, from, to = autolink, m[4], m[5]
		}
		inside := s[from:to]
		address := strings.TrimPrefix(inside, "mailto:")
		r, size := utf8.DecodeRuneInString(address)
		switch {
		case isPlaceholder(r) && size == len(address):
			of := p.t.placeholders[r-placeholderRune]
			mail := of.Type == TypeEmail && (address != inside) == (c == destination)
			if !mail && (of.Type != TypeURL || address != inside) {
				return "", p.failAt(line, "placeholder %s: a link needs a url, or an email after mailto:; <> needs a url or an email", of.Name)
			}
			found(to-size, c)
		case validURL(inside):
		default:
			continue // which the rules below refuse
		}
		b.WriteString(s[last:m[0]])
		if c == destination {
			b.WriteString("}") // the text's end, which is not that of a box to tick
		} else {
			b.WriteString(",")
		}
		last = m[1]
	}
	b.WriteString(s[last:])
	bare = b.String()
	for _, r := range bare {
		if isPlaceholder(r) {
			if of := p.t.placeholders[r-placeholderRune]; of.Type == TypeURL || of.Type == TypeEmail {
				return "", p.failAt(line, "placeholder %s: a url stands in [text]({%s}) or <{%s}>, an email in <{%s}>", of.Name, of.Name, of.Name, of.Name)
			}
		}
	}
	return bare, nil
}

// pairs reports whether the brackets that are not escaped are in pairs, which only then make links.
func pairs(s string) bool {
	open := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '[', ']':
			if open == (s[i] == '[') {
				return false
			}
			open = !open
		case '<':
			if open {
				return false
			}
		}
	}
	return !open
}

// structure reports what is refused in a line without the targets of its links. "": nothing.
func structure(s string) string {
	s = strings.Map(func(r rune) rune {
		if isPlaceholder(r) {
			return 'P'
		}
		if r == 'P' { // which stands for placeholders
			return 'Q'
		}
		return r
	}, s)
	if countable.MatchString(s) {
		return "a value at the start of a line, with . or ) behind it, could make a list"
	}
	for _, r := range refused {
		if r.what.MatchString(s) {
			return r.rule
		}
	}
	return ""
}
