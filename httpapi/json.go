package httpapi

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// Bodies are read by this decoder and not by encoding/json, which takes "FISCAL_CODE" for fiscal_code, the last of two members of one name,
// null for a zero value, and replaces what is not UTF-8: two readers of one body could then disagree on whom a message is for.

// maxDepth is how deep values may be nested.
const maxDepth = 32

// decode reads JSON into v, a pointer to a struct whose fields have json tags: strings, booleans, integers, numbers (json.Number), structs,
// slices of these, maps from strings to these, pointers to these, and what reads itself from a string (encoding.TextUnmarshaler). A field
// that is no pointer and has no omitempty or omitzero must be there. Errors are Problems that name the member, as "content.subject", and
// quote nothing.
func decode(b []byte, v any) error {
	if !utf8.Valid(b) {
		return badParameters("The body is not UTF-8.")
	}
	d := &decoder{b: b}
	d.blanks()
	if err := d.value(reflect.ValueOf(v).Elem(), 1); err != nil {
		return err
	}
	if d.blanks(); d.at != len(b) {
		return d.malformed()
	}
	return nil
}

type decoder struct {
	b    []byte
	at   int
	path []string // of the value that is read
}

func (d *decoder) malformed() error {
	return badParameters(fmt.Sprintf("The body is not JSON, from byte %d on.", d.at))
}

// wrong is a value that is JSON and not what its member takes.
func (d *decoder) wrong(rule string) error {
	if len(d.path) == 0 {
		return badParameters("The body must be " + rule + ".")
	}
	return badParameters(strings.Join(d.path, ".") + ": must be " + rule)
}

// peek is the next byte, or 0 at the end, which is none of JSON's.
func (d *decoder) peek() byte {
	if d.at < len(d.b) {
		return d.b[d.at]
	}
	return 0
}

func (d *decoder) blanks() {
	for d.at < len(d.b) {
		switch d.b[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// value reads the value at hand into v.
func (d *decoder) value(v reflect.Value, depth int) error {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	if t, is := v.Addr().Interface().(encoding.TextUnmarshaler); is {
		s, err := d.text("a string")
		if err != nil {
			return err
		}
		if err := t.UnmarshalText([]byte(s)); err != nil {
			return d.wrong(err.Error())
		}
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		if v.Type() == numberType {
			return d.decimal(v)
		}
		s, err := d.text("a string")
		v.SetString(s)
		return err
	case reflect.Bool:
		return d.boolean(v)
	case reflect.Int, reflect.Int64:
		return d.integer(v)
	case reflect.Slice:
		return d.list(v, depth)
	case reflect.Map:
		return d.dictionary(v, depth)
	case reflect.Struct:
		return d.object(v, depth)
	}
	panic("httpapi: no JSON is read into " + v.Type().String())
}

func (d *decoder) text(rule string) (string, error) {
	if d.peek() != '"' {
		return "", d.other(rule)
	}
	return d.string()
}

// other is a value of another type than rule says; or none.
func (d *decoder) other(rule string) error {
	if err := d.skip(1); err != nil {
		return err
	}
	return d.wrong(rule)
}

func (d *decoder) boolean(v reflect.Value) error {
	switch d.peek() {
	case 't', 'f':
		v.SetBool(d.peek() == 't')
		return d.skip(1)
	}
	return d.other("true or false")
}

// integer takes 150.0 and 15e1 for 150, as JavaScript does.
func (d *decoder) integer(v reflect.Value) error {
	if c := d.peek(); c != '-' && (c < '0' || c > '9') {
		return d.other("an integer")
	}
	from := d.at
	if err := d.number(); err != nil {
		return err
	}
	s := string(d.b[from:d.at])
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return d.wrong("an integer")
		}
		n = int64(f)
	}
	v.SetInt(n)
	return nil
}

var numberType = reflect.TypeFor[json.Number]()

// decimal keeps a number as it is written.
func (d *decoder) decimal(v reflect.Value) error {
	if c := d.peek(); c != '-' && (c < '0' || c > '9') {
		return d.other("a number")
	}
	from := d.at
	if err := d.number(); err != nil {
		return err
	}
	v.SetString(string(d.b[from:d.at]))
	return nil
}

func (d *decoder) dictionary(v reflect.Value, depth int) error {
	if d.peek() != '{' {
		return d.other("an object")
	}
	v.Set(reflect.MakeMap(v.Type()))
	return d.items('}', depth, func() error {
		name, err := d.name()
		if err != nil {
			return err
		}
		key := reflect.ValueOf(name)
		if v.MapIndex(key).IsValid() {
			return d.wrong("an object whose members are there once")
		}
		item := reflect.New(v.Type().Elem()).Elem()
		d.path = append(d.path, "*") // the name is the client's, and quoted nowhere
		err = d.value(item, depth+1)
		d.path = d.path[:len(d.path)-1]
		v.SetMapIndex(key, item)
		return err
	})
}

func (d *decoder) list(v reflect.Value, depth int) error {
	if d.peek() != '[' {
		return d.other("a list")
	}
	v.SetZero()
	return d.items(']', depth, func() error {
		d.path = append(d.path, strconv.Itoa(v.Len()))
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		err := d.value(v.Index(v.Len()-1), depth+1)
		d.path = d.path[:len(d.path)-1]
		return err
	})
}

func (d *decoder) object(v reflect.Value, depth int) error {
	if d.peek() != '{' {
		return d.other("an object")
	}
	p := planOf(v.Type())
	var seen uint64
	err := d.items('}', depth, func() error {
		name, err := d.name()
		if err != nil {
			return err
		}
		i, known := p.byName[name]
		if !known {
			return d.skip(depth + 1)
		}
		d.path = append(d.path, name)
		defer func() { d.path = d.path[:len(d.path)-1] }()
		if seen&(1<<i) != 0 {
			return d.wrong("there once")
		}
		seen |= 1 << i
		return d.value(v.Field(p.fields[i].index), depth+1)
	})
	if err != nil {
		return err
	}
	for i, f := range p.fields {
		if f.required && seen&(1<<i) == 0 {
			d.path = append(d.path, f.name)
			return d.wrong("there")
		}
	}
	return nil
}

// name reads a member's name and the colon behind it.
func (d *decoder) name() (string, error) {
	if d.peek() != '"' {
		return "", d.malformed()
	}
	s, err := d.string()
	if err != nil {
		return "", err
	}
	if d.blanks(); d.peek() != ':' {
		return "", d.malformed()
	}
	d.at++
	d.blanks()
	return s, nil
}

// items reads what is between brackets, of which the first is at hand, item by item.
func (d *decoder) items(end byte, depth int, item func() error) error {
	if depth > maxDepth {
		return badParameters(fmt.Sprintf("The body is nested deeper than %d.", maxDepth))
	}
	d.at++
	if d.blanks(); d.peek() == end {
		d.at++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		d.blanks()
		switch d.peek() {
		case ',':
			d.at++
			d.blanks()
		case end:
			d.at++
			return nil
		default:
			return d.malformed()
		}
	}
}

// skip passes over a value, whatever it is.
func (d *decoder) skip(depth int) error {
	switch c := d.peek(); {
	case c == '"':
		_, err := d.string()
		return err
	case c == '{':
		return d.items('}', depth, func() error {
			if _, err := d.name(); err != nil {
				return err
			}
			return d.skip(depth + 1)
		})
	case c == '[':
		return d.items(']', depth, func() error { return d.skip(depth + 1) })
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(d.b[d.at:], []byte(word)) {
			d.at += len(word)
			return nil
		}
	}
	return d.malformed()
}

// number passes over a number.
func (d *decoder) number() error {
	if d.peek() == '-' {
		d.at++
	}
	if d.peek() == '0' {
		d.at++
	} else if !d.digits() {
		return d.malformed()
	}
	if d.peek() == '.' {
		if d.at++; !d.digits() {
			return d.malformed()
		}
	}
	if c := d.peek(); c == 'e' || c == 'E' {
		d.at++
		if c := d.peek(); c == '+' || c == '-' {
			d.at++
		}
		if !d.digits() {
			return d.malformed()
		}
	}
	return nil
}

func (d *decoder) digits() bool {
	from := d.at
	for c := d.peek(); c >= '0' && c <= '9'; c = d.peek() {
		d.at++
	}
	return d.at > from
}

// string reads a string, of which the first quotation mark is at hand.
func (d *decoder) string() (string, error) {
	d.at++
	from := d.at
	for d.at < len(d.b) {
		switch c := d.b[d.at]; {
		case c == '"':
			s := string(d.b[from:d.at])
			d.at++
			return s, nil
		case c == '\\':
			return d.escaped(from)
		case c < ' ':
			return "", d.malformed()
		}
		d.at++
	}
	return "", d.malformed()
}

// escaped goes on with a string at its first escape.
func (d *decoder) escaped(from int) (string, error) {
	s := append(make([]byte, 0, 2*(d.at-from)+64), d.b[from:d.at]...)
	for d.at < len(d.b) {
		from := d.at
		for d.at < len(d.b) && d.b[d.at] != '"' && d.b[d.at] != '\\' && d.b[d.at] >= ' ' {
			d.at++
		}
		s = append(s, d.b[from:d.at]...)
		switch d.peek() {
		case '"':
			d.at++
			return string(s), nil
		case '\\':
			d.at++
		default:
			return "", d.malformed()
		}
		if i := strings.IndexByte(`"\/bfnrt`, d.peek()); i >= 0 && d.peek() != 0 {
			s = append(s, "\"\\/\b\f\n\r\t"[i])
			d.at++
			continue
		}
		if d.peek() != 'u' {
			return "", d.malformed()
		}
		r, ok := d.unit()
		if ok && utf16.IsSurrogate(r) {
			var low rune
			if ok = d.peek() == '\\'; ok {
				d.at++
				low, ok = d.unit()
			}
			if ok {
				r = utf16.DecodeRune(r, low)
				ok = r != utf8.RuneError
			}
		}
		if !ok {
			return "", d.malformed()
		}
		s = utf8.AppendRune(s, r)
	}
	return "", d.malformed()
}

// unit reads what is behind a backslash: u and four digits.
func (d *decoder) unit() (rune, bool) {
	if d.peek() != 'u' || d.at+5 > len(d.b) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(d.b[d.at+1:d.at+5]), 16, 16)
	d.at += 5
	return rune(n), err == nil
}

// A plan is how an object is read into a type of struct.
type plan struct {
	fields []planField
	byName map[string]int
}

type planField struct {
	index    int
	name     string
	required bool
}

var plans sync.Map // of reflect.Type: *plan

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := &plan{byName: map[string]int{}}
	for i := range t.NumField() {
		f := t.Field(i)
		name, more, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		p.byName[name] = len(p.fields)
		p.fields = append(p.fields, planField{i, name, more == "" && f.Type.Kind() != reflect.Pointer})
	}
	if len(p.fields) > 64 {
		panic("httpapi: more members than are told apart: " + t.String())
	}
	plans.Store(t, p)
	return p
}
