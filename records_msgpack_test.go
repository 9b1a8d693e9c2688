package appio

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/appio-go/appio/store"
)

func TestRecordsAreWrittenAsTheirTagsSay(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		for _, v := range []any{
			&messageRecord{}, &translationRecord{}, &noticeRecord{}, &prescriptionRecord{}, &attachedRecord{}, &remoteRecord{}, &documentRecord{}, &decisionRecord{}, &channelRuleEntry{}, &factsRecord{}, &channelFactsRec{}, &workRecord{},
			&gathered{}, &leaseRecord{}, &workEntry{}, &outcomeItem{}, &outcomeRecord{}, &withdrawal{},
		} {
			require.Implements(t, (*packer)(nil), v)
			fill(random, reflect.ValueOf(v).Elem())
			ours, err := encode(v)
			require.NoError(t, err)
			theirs, err := encode(byTags(reflect.ValueOf(v).Elem()).Interface())
			require.NoError(t, err)
			require.Equal(t, theirs.b, ours.b, "%T %+v", v, v)
			ours.release()
			theirs.release()
		}
		for _, v := range []any{&dataKeyRecord{}, &addressRecord{}, &profileRecord{}, &quietRecord{}, &appRecord{}} {
			require.Implements(t, (*unpacker)(nil), v)
			fill(random, reflect.ValueOf(v).Elem())
			e, err := encode(v)
			require.NoError(t, err)
			got := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			require.NoError(t, decode(e.b, got))
			want := reflect.New(byTags(reflect.ValueOf(v).Elem()).Type())
			require.NoError(t, decode(e.b, want.Interface()))
			require.Equal(t, want.Elem().Interface(), byTags(reflect.ValueOf(got).Elem()).Interface())
			e.release()
		}
	}
}

// What a later version adds to a record is left out, whatever it is; a field of another type is damage.
func TestRecordsAreReadWithMoreFields(t *testing.T) {
	t.Parallel()
	more := map[string]any{"n": nil, "b": true, "i": int64(-5), "u": uint64(1 << 63), "f": 1.5, "t": strings.Repeat("t", 300), "y": make([]byte, 70000),
		"l": []any{1, "x", map[string]any{"a": []any{nil, float32(2), -70000}}}, "m": map[string]any{}, "e": make([]any, 20)}
	record := map[string]any{"i": "id", "c": "push", "v": "somebody", "t": int64(1 << 40), "s": -1}
	for name, v := range more {
		record["x"+name] = v
	}
	b, err := msgpack.Marshal(record)
	require.NoError(t, err)
	var got addressRecord
	require.NoError(t, decode(b, &got))
	require.Equal(t, addressRecord{ID: "id", Channel: "push", Value: "somebody", ValidatedAt: 1 << 40, SetAt: -1}, got)

	delete(more, "f") // which is no number, and to the library is
	delete(more, "u") // likewise
	for name, v := range more {
		for _, field := range []string{"f", "s", "i", "c", "a", "l"} {
			b, err := msgpack.Marshal(map[string]any{field: v})
			require.NoError(t, err)
			ours := decode(b, &profileRecord{})
			if ours != nil {
				require.ErrorIs(t, ours, store.ErrCorrupt)
			}
			if theirs := decode(b, reflect.New(byTags(reflect.ValueOf(profileRecord{})).Type()).Interface()); theirs == nil {
				require.NoError(t, ours, "%s is %s", field, name)
			}
		}
	}
	require.ErrorIs(t, decode([]byte{0x81, 0xa1, 'i', 0xa1, 'x'}, &dataKeyRecord{}), store.ErrCorrupt)
	require.ErrorIs(t, decode([]byte{0x81, 0xa1, 'i', 0xff}, &dataKeyRecord{}), store.ErrCorrupt)
	require.ErrorIs(t, decode([]byte{0x05}, &dataKeyRecord{}), store.ErrCorrupt)
}

// byTags is a value with the same fields and tags, and no methods, at any depth.
func byTags(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Struct:
		fs := make([]reflect.StructField, v.NumField())
		vs := make([]reflect.Value, v.NumField())
		for i := range fs {
			vs[i] = byTags(v.Field(i))
			fs[i] = reflect.StructField{Name: v.Type().Field(i).Name, Type: vs[i].Type(), Tag: v.Type().Field(i).Tag}
		}
		out := reflect.New(reflect.StructOf(fs)).Elem()
		for i := range vs {
			out.Field(i).Set(vs[i])
		}
		return out
	case reflect.Pointer:
		elem := byTags(reflect.New(v.Type().Elem()).Elem())
		if v.IsNil() {
			return reflect.Zero(reflect.PointerTo(elem.Type()))
		}
		out := reflect.New(elem.Type())
		out.Elem().Set(byTags(v.Elem()))
		return out
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Struct {
			return v
		}
		t := reflect.SliceOf(byTags(reflect.New(v.Type().Elem()).Elem()).Type())
		if v.IsNil() {
			return reflect.Zero(t)
		}
		out := reflect.MakeSlice(t, v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(byTags(v.Index(i)))
		}
		return out
	}
	return v
}

// fill sets a value at random; half of what may be empty is.
func fill(random *rand.Rand, v reflect.Value) {
	if v.Kind() != reflect.Struct && random.IntN(2) == 0 {
		v.SetZero()
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(random, v.Field(i))
		}
	case reflect.String:
		b := make([]byte, random.IntN(1<<random.IntN(18)))
		for i := range b {
			b[i] = 'a' + byte(i%26)
		}
		v.SetString(string(b))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(random.Uint64() >> random.IntN(64) & (1<<v.Type().Bits() - 1))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(random.Uint64()) >> random.IntN(64))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(random, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), random.IntN(4), 4))
		for i := range v.Len() {
			fill(random, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range random.IntN(4) {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(random, k)
			fill(random, e)
			v.SetMapIndex(k, e)
		}
	default:
		panic(v.Kind().String())
	}
}
