// Package jsonschema judges JSON by a JSON Schema (draft 2020-12), for tests. It knows the keywords that this module's schemas use; a
// schema with another one is an error, so that nothing passes because it was not looked at.
package jsonschema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
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
func (s *Schema) Def(name string) *Schema {
	return &Schema{s.root, map[string]any{"$ref": "#/$defs/" + name}}
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
	case "$schema", "$defs", "title", "description":
	case "$ref":
		name, ok := strings.CutPrefix(arg.(string), "#/$defs/")
		def, found := s.root["$defs"].(map[string]any)[name].(map[string]any)
		if !ok || !found {
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
	case "format":
		if _, err := time.Parse(time.RFC3339, text); arg != "date-time" || isText && err != nil {
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
		_, err := v.Int64()
		return name == "number" || name == "integer" && err == nil
	}
	return false
}
