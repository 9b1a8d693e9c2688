package appio

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"
)

func TestRecordsAreWrittenAsTheirTagsSay(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		for _, v := range []any{
			&messageRecord{}, &noticeRecord{}, &decisionRecord{}, &channelRuleEntry{}, &factsRecord{}, &channelFactsRec{}, &workRecord{},
			&leaseRecord{}, &workEntry{}, &outcomeItem{}, &outcomeRecord{}, &withdrawal{},
		} {
			fill(random, reflect.ValueOf(v).Elem())
			ours, err := encode(v)
			require.NoError(t, err)
			theirs, err := encode(byTags(reflect.ValueOf(v).Elem()).Interface())
			require.NoError(t, err)
			require.Equal(t, theirs.buf.Bytes(), ours.buf.Bytes(), "%T %+v", v, v)
			ours.release()
			theirs.release()
		}
		for _, v := range []any{&dataKeyRecord{}, &addressRecord{}, &profileRecord{}} {
			fill(random, reflect.ValueOf(v).Elem())
			e, err := encode(v)
			require.NoError(t, err)
			got := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			require.NoError(t, decode(e.buf.Bytes(), got))
			want := reflect.New(byTags(reflect.ValueOf(v).Elem()).Type())
			require.NoError(t, decode(e.buf.Bytes(), want.Interface()))
			require.Equal(t, want.Elem().Interface(), byTags(reflect.ValueOf(got).Elem()).Interface())
			e.release()
		}
	}
	// Every type with methods of its own is among these.
	require.Implements(t, (*msgpack.CustomDecoder)(nil), &profileRecord{})
	require.Implements(t, (*msgpack.CustomEncoder)(nil), &workRecord{})
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
