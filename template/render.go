package template

import (
	"slices"
	"strings"

	"github.com/appio-go/appio/internal/text"
)

// Render is what the template says with these values, in all its languages. It needs one for each placeholder, and nothing else; an
// error is a [ValueError] about the first that is wrong, in the order of the file, and then of the names.
func (t *Template) Render(values Values) (Rendering, error) {
	checked, err := t.check(values)
	if err != nil {
		return Rendering{}, err
	}
	r := Rendering{t.ref, make([]Text, len(t.languages))}
	for i := range t.languages {
		l := &t.languages[i]
		r.Texts[i] = Text{l.tag, t.write(l.subject, l.tag, checked), t.write(l.markdown, l.tag, checked)}
	}
	return r, nil
}

// check is the values by placeholder.
func (t *Template) check(values Values) ([]any, error) {
	refuse := func(name, rule string) error { return &ValueError{t.ref, name, rule} }
	checked := make([]any, len(t.placeholders))
	for i := range t.placeholders {
		p := &t.placeholders[i]
		v, ok := values[p.Name]
		if !ok {
			return nil, refuse(p.Name, "missing")
		}
		var rule string
		if checked[i], rule = p.check(v); rule != "" {
			return nil, refuse(p.Name, rule)
		}
	}
	if len(values) == len(t.placeholders) {
		return checked, nil
	}
	var extra []string
	for name := range values {
		if !slices.ContainsFunc(t.placeholders, func(p Placeholder) bool { return p.Name == name }) {
			extra = append(extra, name)
		}
	}
	if name := slices.Min(extra); validName(name, '_', maxName) {
		return nil, refuse(name, "not one of the template's")
	}
	return nil, refuse("", "a value under a name that is no placeholder's")
}

func (t *Template) write(pieces []piece, tag string, checked []any) string {
	form := text.FormOf(tag)
	var b strings.Builder
	for i := range pieces {
		p := &pieces[i]
		if p.placeholder < 0 {
			b.WriteString(p.literal)
			continue
		}
		of := &t.placeholders[p.placeholder]
		p.append(&b, of.write(checked[p.placeholder], form), of.Type.anything())
	}
	return b.String()
}
