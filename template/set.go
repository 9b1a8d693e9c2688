package template

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
)

// A Set is templates in all their versions. It never changes.
type Set struct{ all []*Template }

// ParseFS reads all files that a pattern of patterns matches: see [fs.Glob]. A pattern that matches none is an error, and so is a
// version of a template that two files have.
func ParseFS(fsys fs.FS, patterns ...string) (*Set, error) {
	s := &Set{}
	from := map[Ref]string{}
	var read []string
	for _, pattern := range patterns {
		names, err := fs.Glob(fsys, pattern)
		if err != nil {
			return nil, fmt.Errorf("template: %w", err)
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("template: no file matches %q", pattern)
		}
		for _, name := range names {
			if slices.Contains(read, name) { // by another pattern
				continue
			}
			read = append(read, name)
			source, err := fs.ReadFile(fsys, name)
			if err != nil {
				return nil, fmt.Errorf("template: %w", err)
			}
			t, err := Parse(name, string(source))
			if err != nil {
				return nil, err
			}
			if other, ok := from[t.ref]; ok {
				return nil, &ParseError{name, 1, fmt.Sprintf("%s is in %s too", t.ref, other)}
			}
			from[t.ref] = name
			s.all = append(s.all, t)
		}
	}
	slices.SortFunc(s.all, func(a, b *Template) int {
		return cmp.Or(cmp.Compare(a.ref.ID, b.ref.ID), cmp.Compare(a.ref.Version, b.ref.Version))
	})
	return s, nil
}

// Templates are all, by id and version.
func (s *Set) Templates() []*Template { return slices.Clone(s.all) }

// Latest is the latest version of a template; nil: there is none.
func (s *Set) Latest(id string) *Template {
	for _, t := range slices.Backward(s.all) {
		if t.ref.ID == id {
			return t
		}
	}
	return nil
}

// Version is one version of a template; nil: there is none.
func (s *Set) Version(r Ref) *Template {
	for _, t := range s.all {
		if t.ref == r {
			return t
		}
	}
	return nil
}
