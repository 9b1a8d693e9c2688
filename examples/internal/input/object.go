// Package input reads what the examples are given: services and citizens as JSON, and brings citizens into an engine. Members have the
// names of IO's API; unknown ones are ignored, and null is as good as absent. An error says where and what, and repeats nothing that was
// read: it might be somebody's fiscal code.
package input

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

// An Object is a JSON object. Its methods take members by their exact names; where one is not what it should be they say so
// Err, which all objects of an entry have in common and which keeps the first such word.
type Object struct {
	members map[string]json.RawMessage
	path    string // "content.payment_data."
	err     *error
}

// ParseObject reads one; a text that is none shows in Err.
func ParseObject(raw []byte) Object {
	o := Object{err: new(error)}
	if err := json.Unmarshal(raw, &o.members); err != nil || o.members == nil {
		*o.err = errors.New("must be a JSON object")
	}
	return o
}

// Err is the first thing that is wrong in the entry; nil: nothing yet.
func (o Object) Err() error { return *o.err }

// Fail says in Err that a member breaks a rule, unless something is wrong already.
func (o Object) Fail(name, rule string) {
	if *o.err == nil {
		*o.err = errors.New(o.path + name + " " + rule)
	}
}

// Refuse says in Err what is wrong with the object as a whole, unless something is already; nil is nothing.
func (o Object) Refuse(err error) {
	if *o.err == nil && err != nil {
		*o.err = errors.New(o.path + err.Error())
	}
}

// Has reports whether a member is there, and not null.
func (o Object) Has(name string) bool {
	raw, ok := o.members[name]
	return ok && string(raw) != "null"
}

// A Presence says whether a member must be there.
type Presence bool

const (
	Required Presence = true
	Optional Presence = false
)

// take reads a member, if it is there, into a variable of the right type.
func (o Object) take(name string, p Presence, into any, rule string) bool {
	if !o.Has(name) {
		if p == Required {
			o.Fail(name, "is missing")
		}
		return false
	}
	if json.Unmarshal(o.members[name], into) != nil {
		o.Fail(name, rule)
		return false
	}
	return true
}

// Text is a string; empty where it is not there.
func (o Object) Text(name string, p Presence) (s string) {
	o.take(name, p, &s, "must be a string")
	return s
}

// Texts is an array of strings.
func (o Object) Texts(name string) (all []string) {
	o.take(name, Optional, &all, "must be an array of strings")
	return all
}

// Boolean is absent where it is not there.
func (o Object) Boolean(name string, absent bool) bool {
	b := absent
	o.take(name, Optional, &b, "must be true or false")
	return b
}

// Integer takes 3600.0 too, which is what some programs write for 3600.
func (o Object) Integer(name string, p Presence) int64 {
	var f float64
	const rule = "must be an integer"
	if o.take(name, p, &f, rule) && (f != math.Trunc(f) || math.Abs(f) > 1<<53) {
		o.Fail(name, rule)
	}
	return int64(f)
}

// Person is the fiscal code of a person, which must be there.
func (o Object) Person(name string) fiscalcode.Person {
	p := fiscalcode.Person(o.Text(name, Required))
	if !p.Valid() {
		o.Fail(name, "must be a person's fiscal code: 16 characters in a fixed pattern, letters in upper case")
	}
	return p
}

var instantPattern = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$`)

// Instant reads a date and time; one without a zone is in UTC.
func (o Object) Instant(name string) (t time.Time) {
	s := o.Text(name, Optional)
	if !o.Has(name) {
		return t
	}
	zone := instantPattern.FindStringSubmatch(s)
	if zone != nil && zone[2] == "" {
		s += "Z"
	}
	if zone == nil || t.UnmarshalText([]byte(s)) != nil {
		o.Fail(name, "must be a date and time with seconds, such as 2026-06-30T23:59:59+02:00")
	}
	return t.UTC()
}

// Object is an object in this one, and whether it is there. One that is not has no members.
func (o Object) Object(name string) (Object, bool) {
	sub := Object{path: o.path + name + ".", err: o.err}
	return sub, o.take(name, Optional, &sub.members, "must be an object")
}

// Objects are the members of a member, all of them objects. Their names are identifiers, so that errors leave them out.
func (o Object) Objects(name string) iter.Seq2[string, Object] {
	return func(yield func(string, Object) bool) {
		all, _ := o.Object(name)
		for _, id := range slices.Sorted(maps.Keys(all.members)) {
			one := Object{path: all.path + "*.", err: o.err}
			if json.Unmarshal(all.members[id], &one.members) != nil {
				all.Fail("*", "must be an object")
			}
			if all.Has(id) && !yield(id, one) {
				return
			}
		}
	}
}

// List are the elements of a member, all of them objects.
func (o Object) List(name string) iter.Seq2[int, Object] {
	return func(yield func(int, Object) bool) {
		var all []json.RawMessage
		o.take(name, Optional, &all, "must be an array")
		for i, raw := range all {
			one := Object{path: fmt.Sprintf("%s%s[%d].", o.path, name, i), err: o.err}
			if json.Unmarshal(raw, &one.members) != nil || one.members == nil {
				o.Fail(fmt.Sprintf("%s[%d]", name, i), "must be an object")
			}
			if !yield(i, one) {
				return
			}
		}
	}
}

// Choice reads a member that is one of a few words.
func Choice[T any](o Object, name string, p Presence, words map[string]T) T {
	s := o.Text(name, p)
	v, ok := words[s]
	if !ok && o.Has(name) {
		o.Fail(name, "must be one of "+strings.Join(slices.Sorted(maps.Keys(words)), ", "))
	}
	return v
}

// InWords says in the names of members what the engine says in Go's.
func InWords(err error, names map[string]string) error {
	field := (*appio.FieldError)(nil)
	if !errors.As(err, &field) {
		return err
	}
	name, _, _ := strings.Cut(field.Field, "[")
	return fmt.Errorf("%s must be %s", cmp.Or(names[name], name), field.Rule)
}
