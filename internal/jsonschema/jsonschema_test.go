package jsonschema

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const things = `{"type": "object", "required": ["kind"], "properties": {"kind": {"enum": ["a", "b"]}, "at": {"$ref": "#/$defs/time"},
	"list": {"type": "array", "items": {"$ref": "#/$defs/one"}}, "any": {"type": "object", "additionalProperties": {"type": "boolean"}}},
	"additionalProperties": false,
	"$defs": {"time": {"type": "string", "format": "date-time"}, "one": {"oneOf": [{"type": "integer"}, {"type": "string", "pattern": "^x"}]}}}`

func TestValidate(t *testing.T) {
	t.Parallel()
	s, err := Parse(things)
	require.NoError(t, err)
	for _, text := range []string{`{"kind": "a"}`, `{"kind": "b", "at": "2026-03-02T08:00:00.5Z", "list": [1, "xy"], "any": {"p": true}}`} {
		require.NoError(t, s.Validate([]byte(text)), text)
	}
	for text, why := range map[string]string{
		`{}`: "kind is missing", `{"kind": "c"}`: ".kind: it is none of", `[]`: "it is no object", `{"kind": "a", "more": 1}`: `"more" is not in`,
		`{"kind": "a", "at": "2026-03-02"}`: ".at: it is no date-time", `{"kind": "a", "list": [1, 2.5]}`: ".list[1]: it is 0 of",
		`{"kind": "a", "list": ["y"]}`: ".list[0]: it is 0 of", `{"kind": "a", "any": {"p": 1}}`: ".any.p: it is no boolean",
		`{"kind": null}`: "it is none of", `{"kind": "a"} {}`: "more than one", `{"kind": "a"`: "EOF",
	} {
		require.ErrorContains(t, s.Validate([]byte(text)), why, text)
	}
	require.NoError(t, s.Def("one").Validate([]byte(`7`)))
	require.NoError(t, s.Def("one").Validate([]byte(`7.0`)))
	require.Error(t, s.Def("two").Validate([]byte(`7`)))

	s, err = Parse(`{"components": {"schemas": {"a/b": {"type": "object", "properties": {"text": {"minLength": 2, "maxLength": 3},
		"number": {"minimum": -1, "maximum": 1.5}, "list": {"minItems": 1, "maxItems": 2}, "day": {"format": "date"}}}}}}`)
	require.NoError(t, err)
	for text, why := range map[string]string{
		`{"text": "\u00e8\u00e8"}`: "", `{"text": "abc"}`: "", `{"text": "\u00e8"}`: "minLength", `{"text": "abcd"}`: "maxLength", `{"text": 1}`: "",
		`{"number": -1}`: "", `{"number": 1.5}`: "", `{"number": -2}`: "minimum", `{"number": 2}`: "maximum",
		`{"list": [1]}`: "", `{"list": [1, 2]}`: "", `{"list": []}`: "minItems", `{"list": [1, 2, 3]}`: "maxItems",
		`{"day": "2026-03-02"}`: "", `{"day": "2026-02-30"}`: "it is no date",
	} {
		err := s.Ref("#/components/schemas/a~1b").Validate([]byte(text))
		if why == "" {
			require.NoError(t, err, text)
		} else {
			require.ErrorContains(t, err, why, text)
		}
	}
	require.Error(t, s.Ref("#/components/schemas/b").Validate([]byte(`{}`)))
	require.Error(t, s.Ref("components").Validate([]byte(`{}`)))

	for _, text := range []string{`{"multipleOf": 3}`, `{"type": "object", "patternProperties": {}}`, `{"format": "uuid"}`} {
		s, err := Parse(text)
		require.NoError(t, err)
		require.Error(t, s.Validate([]byte(`{}`)), text)
	}
	for _, text := range []string{`[]`, `{`} {
		_, err := Parse(text)
		require.Error(t, err)
	}
}
