// Package jsonschema judges JSON by a JSON Schema (draft 2020-12), for tests. It knows the keywords that this module's schemas use; a
// schema with another one is an error, so that nothing passes because it was not looked at.
package jsonschema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A Schema is one that was read by [Parse].
type Schema struct{ root, at map[string]any }

// Parse reads a schema.
func Parse(text string) (*Schema, error) {
	v, err := decode([]byte(text))
	if err != nil {
		return nil, err
	}
	root, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("a schema is an object")
	}
	return &Schema{root, root}, nil
}

// Def is one of the schema's $defs.
func (s *Schema) Def(name string) *Schema { return s.Ref("#/$defs/" + name) }

// Ref is a schema anywhere in the document, by a JSON Pointer as "#/components/schemas/Message".
func (s *Schema) Ref(pointer string) *Schema {
	return &Schema{s.root, map[string]any{"$ref": pointer}}
}

// resolve finds what a pointer points to; nil: there is no such schema.
func (s *Schema) resolve(pointer string) map[string]any {
	path, ok := strings.CutPrefix(pointer, "#/")
	at := s.root
	for name := range strings.SplitSeq(path, "/") {
		at, _ = at[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)].(map[string]any)
	}
	if !ok {
		return nil
	}
	return at
}

// Validate says where a text first differs from the schema.
func (s *Schema) Validate(text []byte) error {
	v, err := decode(text)
	if err != nil {
		return err
	}
	return s.valid("", s.at, v)
}

func decode(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errors.New("more than one value")
	}
	return v, nil
}

func (s *Schema) valid(at string, schema map[string]any, v any) error {
	for _, keyword := range slices.Sorted(maps.Keys(schema)) {
		if err := s.keyword(at, keyword, schema, v); err != nil {
			return err
		}
	}
	return nil
}

func (s *Schema) keyword(at, keyword string, schema map[string]any, v any) error {
	wrong := func(format string, args ...any) error { return fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)) }
	object, _ := v.(map[string]any)
	text, isText := v.(string)
	switch arg := schema[keyword]; keyword {
	case "$schema", "$defs", "title", "description", "default":
	case "$ref":
		def := s.resolve(arg.(string))
		if def == nil {
			return wrong("the schema has no %v", arg)
		}
		return s.valid(at, def, v)
	case "type":
		if !isType(arg.(string), v) {
			return wrong("it is no %v", arg)
		}
	case "const":
		if !reflect.DeepEqual(arg, v) {
			return wrong("it is not %v", arg)
		}
	case "enum":
		if !slices.ContainsFunc(arg.([]any), func(x any) bool { return reflect.DeepEqual(x, v) }) {
			return wrong("it is none of %v", arg)
		}
	case "pattern":
		if isText && !regexp.MustCompile(arg.(string)).MatchString(text) {
			return wrong("it is not as %v", arg)
		}
	case "minLength", "maxLength": // in characters
		if n := float64(utf8.RuneCountInString(text)); isText && (keyword == "minLength") == (n < number(arg)) && n != number(arg) {
			return wrong("it is of %v characters, for a %s of %v", n, keyword, arg)
		}
	case "minimum", "maximum":
		if n, is := v.(json.Number); is && (keyword == "minimum") == (number(n) < number(arg)) && number(n) != number(arg) {
			return wrong("it is %v, for a %s of %v", n, keyword, arg)
		}
	case "minItems", "maxItems":
		if list, is := v.([]any); is && (keyword == "minItems") == (float64(len(list)) < number(arg)) && float64(len(list)) != number(arg) {
			return wrong("it has %d items, for %s of %v", len(list), keyword, arg)
		}
	case "format":
		layout, known := map[any]string{"date-time": time.RFC3339, "date": time.DateOnly}[arg]
		if _, err := time.Parse(layout, text); !known || isText && err != nil {
			return wrong("it is no %v", arg)
		}
	case "items":
		list, _ := v.([]any)
		for i := range list {
			if err := s.valid(fmt.Sprintf("%s[%d]", at, i), arg.(map[string]any), list[i]); err != nil {
				return err
			}
		}
	case "required":
		for _, name := range arg.([]any) {
			if _, ok := object[name.(string)]; object != nil && !ok {
				return wrong("%v is missing", name)
			}
		}
	case "properties":
		for name, of := range arg.(map[string]any) {
			if x, ok := object[name]; ok {
				if err := s.valid(at+"."+name, of.(map[string]any), x); err != nil {
					return err
				}
			}
		}
	case "additionalProperties":
		known, _ := schema["properties"].(map[string]any)
		for name, x := range object {
			of, isSchema := arg.(map[string]any)
			if _, ok := known[name]; ok {
				continue
			}
			if !isSchema {
				if arg == false {
					return wrong("%q is not in the schema", name)
				}
				continue
			}
			if err := s.valid(at+"."+name, of, x); err != nil {
				return err
			}
		}
	case "oneOf":
		var errs []error
		for _, of := range arg.([]any) {
			if err := s.valid(at, of.(map[string]any), v); err != nil {
				errs = append(errs, err)
			}
		}
		if n := len(arg.([]any)) - len(errs); n != 1 {
			return fmt.Errorf("%s: it is %d of those that it may be: %w", at, n, errors.Join(errs...))
		}
	default:
		return wrong("the schema has a keyword %q", keyword)
	}
	return nil
}

// number is that of a keyword or a value.
func number(v any) float64 {
	f, _ := v.(json.Number).Float64()
	return f
}

func isType(name string, v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return name == "object"
	case []any:
		return name == "array"
	case string:
		return name == "string"
	case bool:
		return name == "boolean"
	case json.Number:
		return name == "number" || name == "integer" && number(v) == math.Trunc(number(v)) // 1.0 is one, too
	}
	return false
}
