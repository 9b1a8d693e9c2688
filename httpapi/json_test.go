package httpapi

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// every has a field of each kind that is read.
type every struct {
	Text   string      `json:"text"`
	Number int         `json:"number,omitempty"`
	Long   *int64      `json:"long,omitempty"`
	Flag   *bool       `json:"flag,omitempty"`
	At     *Timestamp  `json:"at,omitempty"`
	Items  []everyItem `json:"items,omitempty"`
	Texts  []string    `json:"texts,omitempty"`
	Inner  *everyItem  `json:"inner,omitempty"`
	Hidden string      `json:"-"`
}

type everyItem struct {
	A string    `json:"a"`
	B *struct{} `json:"b,omitempty"`
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"text":""}`: `{"text":""}`,
		" {\t\"text\"\r\n: \"x\" , \"number\":\n7 } ":                                          `{"text":"x","number":7}`,
		`{"te\u0078t":"\u00e8\uD83D\uDDD1\"\\\/\b\f\n\r\tè🗑"}`:                                 `{"text":"è🗑\"\\/\b\f\n\r\tè🗑"}`,
		`{"text":"","long":-9223372036854775808}`:                                              `{"text":"","long":-9223372036854775808}`,
		`{"text":"","long":150.0}`:                                                             `{"text":"","long":150}`,
		`{"text":"","long":-0}`:                                                                `{"text":"","long":0}`,
		`{"text":"","number":1.5e1,"flag":true}`:                                               `{"text":"","number":15,"flag":true}`,
		`{"text":"","items":[{"a":"1","b":{}},{"a":"2"}],"texts":[],"inner":{"a":"3"}}`:        `{"text":"","items":[{"a":"1","b":{}},{"a":"2"}],"inner":{"a":"3"}}`,
		`{"text":"","x":{"text":[null,true,false,-1.5E+3,"\u0000",{}]},"Text":1,"-":2,"x":3}`:  `{"text":""}`,
		`{"text":"","at":"2026-01-01T00:00:00+01:00"}`:                                         `{"text":"","at":"2025-12-31T23:00:00.000Z"}`,
		`{"x":` + strings.Repeat(`[`, 31) + strings.Repeat(`]`, 31) + `,"text":"in depth 32"}`: `{"text":"in depth 32"}`,
	} {
		var v every
		require.NoError(t, decode([]byte(body), &v), body)
		got, err := json.Marshal(v)
		require.NoError(t, err)
		require.JSONEq(t, want, string(got), body)
	}
	for body, says := range map[string]string{
		``: "byte 0", ` `: "byte 1", `{`: "byte 1", `{"text":"x"`: "byte 11", `{"text":"x"}x`: "byte 12", `{"text":"x"}{}`: "byte 12", `{"text":"x",}`: "byte 12",
		`{text:"x"}`: "byte 1", `{"text" "x"}`: "byte 8", `{"text":'x'}`: "byte 8", "{\"text\":\"\n\"}": "byte 9", `{"text":"\x"}`: "byte 10",
		`{"text":"\u12"}`: "not JSON", `{"text":"\ud83d"}`: "not JSON", `{"text":"\ud83dx"}`: "not JSON", `{"text":"\ud83dude00"}`: "not JSON", `{"text":"\udc00\ud800"}`: "not JSON", `{"text":"\u+123"}`: "not JSON",
		`{"x":01,"text":""}`: "not JSON", `{"x":.1}`: "not JSON", `{"x":1.}`: "not JSON", `{"x":1e}`: "not JSON", `{"x":-}`: "not JSON", `{"x":+1}`: "not JSON",
		`{"x":NaN}`: "not JSON", `{"x":tru}`: "not JSON", `{"x":truely}`: "not JSON", `{"x":[1,]}`: "not JSON", `{"x":[1 2]}`: "not JSON", `{"x":{"a"}}`: "not JSON",
		"{\"text\":\"\xff\"}": "UTF-8", "{\"text\":\"\xed\xa0\x80\"}": "UTF-8", "\ufeff{}": "byte 0",
		`[]`: "an object", `null`: "an object", `"x"`: "an object", `7`: "an object",
		`{}`: "text: must be there", `{"TEXT":"x"}`: "text: must be there", `{"text":null}`: "text: must be a string", `{"text":7}`: "text: must be a string",
		`{"text":"","text":""}`: "text: must be there once", `{"text":"","te\u0078t":""}`: "text: must be there once",
		`{"text":"","number":"7"}`: "number: must be an integer", `{"text":"","number":7.5}`: "number: must be an integer", `{"text":"","number":1e300}`: "number: must be an integer",
		`{"text":"","number":9223372036854775808}`: "number: must be an integer", `{"text":"","long":null}`: "long: must be an integer",
		`{"text":"","flag":1}`: "flag: must be true or false", `{"text":"","flag":null}`: "flag: must be true or false",
		`{"text":"","at":"2026-01-01"}`: "at: must be a date and time", `{"text":"","at":7}`: "at: must be a string",
		`{"text":"","items":{}}`: "items: must be a list", `{"text":"","items":[{"a":"1"},{}]}`: "items.1.a: must be there", `{"text":"","items":[7]}`: "items.0: must be an object",
		`{"text":"","texts":["",7]}`: "texts.1: must be a string", `{"text":"","inner":{"b":7,"a":""}}`: "inner.b: must be an object",
		`{"x":` + strings.Repeat(`[`, 32) + strings.Repeat(`]`, 32) + `,"text":"in depth 33"}`: "deeper",
		strings.Repeat(`[`, 100_000): "deeper", strings.Repeat(`{"text":`, 100_000): "deeper",
	} {
		var p *Problem
		require.ErrorAs(t, decode([]byte(body), &every{}), &p, body)
		require.Equal(t, 400, p.Status)
		require.Contains(t, p.Detail, says, body)
		require.Less(t, len(p.Detail), 100)
	}
}

// What is read is JSON by encoding/json's word, and means the same to both, but for what is refused here.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"text":"x","items":[{"a":"\u00e8"}],"number":1e1}`, `{"text":"\ud83d\uddd1","x":[[],{}],"at":"2026-01-01T00:00:00Z"}`, `{"text":null}`, "\xff", `[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var v every
		err := decode(body, &v)
		var p *Problem
		if err != nil {
			if !errors.As(err, &p) || p.Status != 400 || !utf8.ValidString(p.Detail) || len(p.Detail) > 300 {
				t.Fatalf("refused by %v", err)
			}
			return
		}
		if !json.Valid(body) || !utf8.Valid(body) {
			t.Fatal("what is no JSON was read")
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(body, &members); err != nil {
			t.Fatal(err)
		}
		var text string
		if json.Unmarshal(members["text"], &text); text != v.Text {
			t.Fatalf("read %q as %q", text, v.Text)
		}
		var n float64
		if raw, there := members["number"]; there {
			if err := json.Unmarshal(raw, &n); err != nil || math.Abs(n-float64(v.Number)) > math.Abs(n)/1e15 {
				t.Fatalf("read %s as %d", raw, v.Number)
			}
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var w every
		if err := decode(again, &w); err != nil {
			t.Fatalf("what was written is not read again: %v", err)
		}
		if b, err := json.Marshal(w); err != nil || string(b) != string(again) {
			t.Fatalf("%s became %s", again, b)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	body, err := json.Marshal(NewMessage{Content: MessageContent{
		Subject: "Iscrizione alla mensa", Markdown: strings.Repeat("Le iscrizioni aprono il 1\u00b0 settembre.\n", 25), Payment: &PaymentData{Amount: 100, NoticeNumber: "302032002700000251"}}})
	require.NoError(b, err)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var n NewMessage
		if err := decode(body, &n); err != nil {
			b.Fatal(err)
		}
	}
}
