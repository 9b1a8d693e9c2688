package pagopa

import (
	"strings"
	"sync"
	"unicode"
)

// plain is s in printable ASCII, with single blanks between its words. It is false if a character of s has no plain form.
func plain(s string) (string, bool) {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case unicode.Is(unicode.Mn, r): // the accent of the letter before, written apart
		default:
			p, ok := plainForms()[r]
			if !ok {
				return "", false
			}
			b.WriteString(p)
		}
	}
	return strings.Join(strings.Fields(b.String()), " "), true
}

// plainForms has the letters with accents of the alphabets that Latin names in Italy are written in, and the typographer's marks.
// In each word what stands before the colon is the plain form of each character behind it; lower case follows upper case.
var plainForms = sync.OnceValue(func() map[rune]string {
	forms := map[rune]string{}
	for word := range strings.FieldsSeq(`
		A:ÀÁÂÃÄÅĀĂĄǍ  AE:ÆǼ  C:ÇĆĈĊČ  D:ĎĐÐ  E:ÈÉÊËĒĔĖĘĚẼ  G:ĜĞĠĢǦ  H:ĤĦ  I:ÌÍÎÏĨĪĬĮİǏ  IJ:Ĳ  J:Ĵ  K:ĶǨ
		L:ĹĻĽĿŁ  N:ÑŃŅŇŊ  O:ÒÓÔÕÖØŌŎŐǑƠ  OE:Œ  R:ŔŖŘ  S:ŚŜŞŠȘ  SS:ẞ  T:ŢŤŦȚ  TH:Þ  U:ÙÚÛÜŨŪŬŮŰŲǓƯ  W:ŴẀẂẄ
		Y:ÝŶŸỲỸ  Z:ŹŻŽ  ':’‘ʼ‚´  ":“”„«»  -:–—‐‑−  ...:…  .:°·  o:º  a:ª  EUR:€`) {
		to, from, _ := strings.Cut(word, ":")
		for _, r := range from {
			forms[r] = to
			if lower := unicode.ToLower(r); lower != r {
				forms[lower] = strings.ToLower(to)
			}
		}
	}
	forms['ı'] = "i"
	return forms
})
