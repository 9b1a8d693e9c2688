package appio

import (
	"bytes"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/appio-go/appio/store"
)

func TestGoldenRecords(t *testing.T) {
	c := goldenCodec(t)
	if *goldenUpdate {
		for _, g := range goldenCases(t, c) {
			writeGolden(t, "records/"+g.Kind+".json", func() any { return g })
		}
	}
	files, err := filepath.Glob(filepath.Join(goldenDir, "records", "*.json"))
	require.NoError(t, err)
	set := map[string]map[string]bool{} // kind -> fields that some file sets
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		t.Run(name, func(t *testing.T) {
			var g goldenRecord
			readGolden(t, "records/"+name+".json", &g)
			kind, _, _ := strings.Cut(g.Kind, ".")
			require.Contains(t, recordKinds, kind)
			r := g.Stored.record(t)
			oc := goldenOwner(t, c, r.Owner)
			v := recordKinds[kind]()
			require.NoError(t, oc.open(&r, v))
			requireSays(t, g.Says, v)
			if set[kind] == nil {
				set[kind] = map[string]bool{}
			}
			markSet(set[kind], "", reflect.ValueOf(v))

			t.Run("with fields of a later version", func(t *testing.T) {
				payload, err := oc.payload(&r)
				require.NoError(t, err)
				later := withMoreFields(t, payload, reflect.TypeOf(v))
				w := recordKinds[kind]()
				require.NoError(t, decode(later, w))
				require.Equal(t, v, w)
			})
			t.Run("with another value", func(t *testing.T) { // the comparison can fail
				require.NotEmpty(t, differs(changedJSON(g.Says), asJSON(v)))
			})
			t.Run("in another place", func(t *testing.T) {
				for _, moved := range []store.Record{
					{Key: r.Key + "x", Lane: r.Lane, Due: r.Due}, {Key: r.Key, Lane: r.Lane ^ 1, Due: r.Due},
					{Key: r.Key, Lane: r.Lane, Due: r.Due.Add(time.Microsecond)},
				} {
					moved.Value = r.Value
					require.ErrorIs(t, oc.open(&moved, recordKinds[kind]()), store.ErrCorrupt)
				}
			})
		})
	}
	for kind, make := range recordKinds {
		if kind == "withdrawal" || kind == "upload" {
			continue
		}
		require.Contains(t, set, kind, "no golden file")
		for _, f := range fieldsOf("", reflect.TypeOf(make())) {
			require.True(t, set[kind][f], "no golden file of a %s sets %s", kind, f)
		}
	}
}

// What -update would write is read as what it says.
func TestGoldenCases(t *testing.T) {
	c := goldenCodec(t)
	for _, g := range goldenCases(t, c) {
		t.Run(g.Kind, func(t *testing.T) {
			kind, _, _ := strings.Cut(g.Kind, ".")
			r := g.Stored.record(t)
			v := recordKinds[kind]()
			require.NoError(t, goldenOwner(t, c, r.Owner).open(&r, v))
			requireSays(t, asJSON(g.Says), v)
		})
	}
}

// goldenOwner opens the records of one owner; a person's data key is the one in its golden file.
func goldenOwner(t *testing.T, c *codec, owner store.Owner) *ownerCodec {
	t.Helper()
	oc := c.of(owner)
	if strings.HasPrefix(string(owner), citizenOwner) {
		var g goldenRecord
		readGolden(t, "records/data-key.json", &g)
		r := g.Stored.record(t)
		var k dataKeyRecord
		require.NoError(t, c.of(owner).open(&r, &k))
		oc.useDataKey(k)
	}
	return oc
}

// changedJSON is v with something in it changed.
func changedJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		changed := false
		for k, e := range v {
			out[k] = e
			if !changed {
				out[k], changed = changedJSON(e), true
			}
		}
		if !changed {
			out["none"] = "before"
		}
		return out
	case []any:
		return append(slices.Clone(v), "more")
	}
	return []any{v}
}

// fieldsOf are the fields of a record, and of what is in it.
func fieldsOf(at string, typ reflect.Type) (names []string) {
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice:
		return fieldsOf(at, typ.Elem())
	case reflect.Struct:
		for i := range typ.NumField() {
			f := typ.Field(i)
			names = append(names, at+"."+f.Name)
			names = append(names, fieldsOf(at+"."+f.Name, f.Type)...)
		}
	}
	return names
}

// markSet notes the fields of v that are not zero.
func markSet(set map[string]bool, at string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			markSet(set, at, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			markSet(set, at, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name := at + "." + v.Type().Field(i).Name
			if !v.Field(i).IsZero() {
				set[name] = true
			}
			markSet(set, name, v.Field(i))
		}
	}
}

// withMoreFields is a record's payload with unknown fields, before and after the others, in it and in all that is in it.
func withMoreFields(t *testing.T, payload []byte, typ reflect.Type) []byte {
	t.Helper()
	d := msgpack.NewDecoder(bytes.NewReader(payload))
	d.UseLooseInterfaceDecoding(false)
	v, err := d.DecodeInterface()
	require.NoError(t, err)
	added := 0
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	e.UseCompactInts(true)
	e.SetSortMapKeys(true)
	require.NoError(t, e.Encode(moreFields(v, typ, &added)))
	require.Positive(t, added)
	return buf.Bytes()
}

func moreFields(v any, typ reflect.Type, added *int) any {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch v := v.(type) {
	case map[string]any:
		if typ.Kind() != reflect.Struct {
			return v
		}
		out := map[string]any{
			"\x00first": []any{nil, true, -1, 1.5, "x", []byte{0xc1}, map[string]any{"f": 1}},
			"zz":        map[string]any{"i": "x", "k": []any{[]any{[]any{}}}},
			"zz later":  strings.Repeat("long ", 100),
		}
		*added++
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("msgpack"), ",")
			if e, ok := v[name]; ok {
				out[name] = moreFields(e, f.Type, added)
			}
		}
		return out
	case []any:
		if typ.Kind() != reflect.Slice {
			return v
		}
		out := make([]any, len(v))
		for i := range v {
			out[i] = moreFields(v[i], typ.Elem(), added)
		}
		return out
	}
	return v
}
