package template

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/text"
	"github.com/appio-go/appio/pagopa"
)

// body is long enough for a Markdown text.
const body = "Questo è un testo che è lungo abbastanza per essere un messaggio, anche senza che vi stia un valore."

// file is a template of these lines of head, subject and Markdown, in one language.
func file(head, subject, markdown string) string {
	return "template prova 1\n" + head + "\n\n== it\n" + subject + "\n\n" + markdown + "\n"
}

func TestParse(t *testing.T) {
	t.Parallel()
	tpl, err := Parse("rata.txt", strings.ReplaceAll(`# Un commento.
template tari-rata 12

label kind payment
label about La rata della TARI
placeholder anno integer 2020..2099
placeholder importo euro 1.00..5000.00
placeholder dal date
placeholder al datetime 2026-01-01..2026-12-31
placeholder chi text 1..40
placeholder vai url
placeholder scrivi email 6..80
placeholder avviso notice

== it
TARI {anno} per {chi}

{importo} dal {dal} al {al}, avviso {avviso}, come scrivere: <{scrivi}>.
{{Così}} è [scritto]({vai}).

== de-AT
TARI {anno} für {chi}

{importo} {dal} {al} {avviso} <{scrivi}> [hier]({vai}): das ist alles, was zu sagen ist.


`, "\n", "\r\n"))
	require.NoError(t, err)
	require.Equal(t, Ref{"tari-rata", 12}, tpl.Ref())
	require.Equal(t, "tari-rata@12", tpl.Ref().String())
	require.Equal(t, "La rata della TARI", tpl.Label("about"))
	require.Empty(t, tpl.Label("altro"))
	require.Equal(t, []string{"it", "de-AT"}, tpl.Languages())
	require.Equal(t, []Placeholder{
		{"anno", TypeInteger, 2020, 2099}, {"importo", TypeEuro, 1_00, 5000_00}, {"dal", TypeDate, 10957, 47481}, {"al", TypeDatetime, 20454, 20818},
		{"chi", TypeText, 1, 40}, {"vai", TypeURL, 10, 500}, {"scrivi", TypeEmail, 6, 80}, {"avviso", TypeNotice, 0, 0},
	}, tpl.Placeholders())
	r, err := tpl.Render(Values{
		"anno": int64(2026), "importo": pagopa.Amount(1234_50), "dal": time.Date(2026, 2, 28, 23, 30, 0, 0, time.UTC),
		"al": time.Date(2026, 3, 9, 8, 5, 0, 0, time.UTC), "chi": "A & B", "vai": "https://c.example/a_(b)?c&d", "scrivi": "a_b@c.example",
		"avviso": pagopa.NoticeNumber("302032002700000251"),
	})
	require.NoError(t, err)
	require.Equal(t, Rendering{Ref{"tari-rata", 12}, []Text{
		{"it", "TARI 2026 per A & B", "1.234,50\u00a0€ dal domenica 1 marzo 2026 al lunedì 9 marzo 2026, ore 09:05, avviso 3020 3200 2700 0002 51, come scrivere: " +
			"<a_b@c.example>.\n{Così} è [scritto](https://c.example/a_\\(b\\)?c\\&d)."},
		{"de-AT", "TARI 2026 für A & B", "1.234,50\u00a0€ Sonntag, 1. März 2026 Montag, 9. März 2026, 09:05 3020 3200 2700 0002 51 <a_b@c.example> " +
			"[hier](https://c.example/a_\\(b\\)?c\\&d): das ist alles, was zu sagen ist."},
	}}, r)
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	with := func(markdown string) string {
		return file("placeholder a text 1..20\nplaceholder n integer 1..99\nplaceholder e email\nplaceholder u url", "Un avviso per {a}", body+" {a} {n} <{u}> <{e}>\n\n"+markdown)
	}
	const at = 12 // the line of markdown
	_, err := Parse("f", with("Va bene."))
	require.NoError(t, err)
	for name, c := range map[string]struct {
		source string
		line   int
		rule   string
	}{
		"nothing":                  {"", 1, "comes first"},
		"no name":                  {"== it\nUn oggetto\n\n" + body, 1, "comes first"},
		"a name":                   {"template Prova 1", 1, "an id of"},
		"a version":                {"template prova 0", 1, "a version of"},
		"a version, written so":    {"template prova 01", 1, "a version of"},
		"a great version":          {"template prova 4294967297", 1, "a version of"},
		"two names":                {"template prova 1\ntemplate prova 2", 2, "neither a label"},
		"no language":              {"template prova 1\n# fine\n", 2, "no language"},
		"a word":                   {"template prova 1\nlabels a b", 2, "neither a label"},
		"a label":                  {"template prova 1\nlabel A b", 2, "label NAME VALUE"},
		"a label of nothing":       {"template prova 1\nlabel a", 2, "label NAME VALUE"},
		"a label twice":            {"template prova 1\nlabel a b\nlabel a b", 3, "label a a second time"},
		"a blank":                  {"template prova 1 \n", 1, "blanks at the end"},
		"a tab":                    {"template prova 1\n\tlabel a b", 2, "a tab"},
		"a mark at the start":      {"\ufefftemplate prova 1", 1, "formatting"},
		"bytes":                    {"template prova 1\nlabel a \xff", 2, "not UTF-8"},
		"a direction":              {with("\u202egratis"), at, "formatting"},
		"size":                     {strings.Repeat("#\n", maxFile), 1, "at most"},
		"a placeholder's name":     {file("placeholder A text 1..2", "Un oggetto", body), 2, "placeholder NAME TYPE"},
		"a type":                   {file("placeholder a string 1..2", "Un oggetto", body), 2, "placeholder a: a type of"},
		"twice":                    {file("placeholder a text 1..2\nplaceholder a date", "Un oggetto", body), 3, "placeholder a a second time"},
		"no bounds":                {file("placeholder a text", "Un oggetto", body), 2, "placeholder a: text needs bounds"},
		"bounds of a notice":       {file("placeholder a notice 1..2", "Un oggetto", body), 2, "no bounds"},
		"bounds, turned":           {file("placeholder a text 3..2", "Un oggetto", body), 2, "bounds MIN..MAX of"},
		"an empty text":            {file("placeholder a text 0..2", "Un oggetto", body), 2, "bounds MIN..MAX of"},
		"a long text":              {file("placeholder a text 1..2001", "Un oggetto", body), 2, "bounds MIN..MAX of"},
		"bounds of days":           {file("placeholder a date 2026-02-29..2026-03-01", "Un oggetto", body), 2, "bounds MIN..MAX of"},
		"euros":                    {file("placeholder a euro 1..2", "Un oggetto", body), 2, "bounds MIN..MAX of"},
		"one bound":                {file("placeholder a integer 1..", "Un oggetto", body), 2, "bounds MIN..MAX of"},
		"blanks between":           {file("placeholder  a date", "Un oggetto", body), 2, "placeholder NAME TYPE"},
		"a tag":                    {"template prova 1\n== i\n", 2, "a language tag"},
		"a language twice":         {file("", "Un oggetto", body) + "\n== IT\nUn oggetto\n\n" + body, 9, "language IT a second time"},
		"a language's forms":       {"template prova 1\nplaceholder a date\n== pt\n", 3, "placeholder a: how this language"},
		"no text":                  {"template prova 1\n== it\nUn oggetto\n\n", 2, "a line of subject, an empty line"},
		"no empty line":            {"template prova 1\n== it\nUn oggetto\n" + body + "\n" + body, 2, "a line of subject, an empty line"},
		"not declared":             {with("{b}"), at, "placeholder b is not in the head"},
		"not used":                 {file("placeholder a date", "Un oggetto", body), 4, "placeholder a is not in language it"},
		"not used in another":      {file("placeholder a date", "Un oggetto", body+" {a}") + "== en\nA subject for you\n\n" + body, 8, "placeholder a is not in language en"},
		"a brace":                  {with("{a"), at, "braces are of a placeholder"},
		"a brace that ends":        {with("a}"), at, "braces are of a placeholder"},
		"a blank in braces":        {with("{ a }"), at, "braces are of a placeholder"},
		"a url in a subject":       {file("placeholder u url", "Vai su {u}", body), 5, "placeholder u: an address is not for a subject"},
		"blanks before a subject":  {file("", " Un oggetto", body), 5, "blanks before"},
		"a short subject":          {file("", "Oggetto.", body), 5, "the subject takes 8 to 8"},
		"a subject too long":       {file("placeholder a text 1..120", "{a}, un oggetto", body+"{a}"), 5, "the subject takes 13 to 132"},
		"a short text":             {file("placeholder a text 1..20", "Un oggetto: {a}", "Poco"), 7, "the Markdown takes 4 to 4"},
		"a short text with values": {file("placeholder a text 1..200", "Un oggetto", "Poco testo per {a}"), 7, "takes 16 to 418"},
		"a long text with values":  {file("placeholder a text 1..2000", "Un oggetto", body+"{a}\n{a}\n{a}"), 7, "the Markdown takes 105 to 12"},
		"code":                     {with("`{a}`"), at, "code"},
		"a fence":                  {with("~~~"), at, "code"},
		"code by blanks":           {with("    {a}"), at, "code"},
		"code in a list":           {with("-     {a}"), at, "code"},
		"an image":                 {with("![a](https://a.example)"), at, "images"},
		"HTML":                     {with("<b>{a}</b>"), at, "HTML"},
		"a tag of a value":         {with("<{a}>"), at, "placeholder a: a link needs"},
		"a value as target":        {with("[vai]({a})"), at, "placeholder a: a link needs"},
		"an email as target":       {with("[vai]({e})"), at, "placeholder e: a link needs"},
		"a url as mail":            {with("[vai](mailto:{u})"), at, "placeholder u: a link needs"},
		"mailto in <>":             {with("<mailto:{e}>"), at, "placeholder e: a link needs"},
		"a value in a target":      {with("[vai](https://a.example/{a})"), at, "a link leads to"},
		"a url in a target":        {with("[vai]({u}/x)"), at, "a url stands in"},
		"http":                     {with("[vai](http://a.example)"), at, "a link leads to"},
		"a script":                 {with("[vai](javascript:alert)"), at, "a link leads to"},
		"a title":                  {with(`[vai](https://a.example "titolo")`), at, "a link leads to"},
		"a url as text":            {with("vai su {u}"), at, "a url stands in"},
		"an email as text":         {with("scrivi a {e}"), at, "an email in <{e}>"},
		"a reference":              {with("[a]: https://a.example"), at, "reference"},
		"a use of one":             {with("[a][b]"), at, "reference"},
		"a footnote":               {with("a[^b]"), at, "footnotes"},
		"brackets":                 {with("a] ({u})"), at, "brackets"},
		"no begin of a link":       {with("a]({u})"), at, "brackets"},
		"no link":                  {with(`[a\]({u})`), at, "brackets"},
		"a link in a link":         {with("[a [b]({u})]({u})"), at, "brackets"},
		"an address in a link":     {with("[a <{u}>]({u})"), at, "brackets"},
		"an entity":                {with("&nbsp;"), at, "entities"},
		"a value's entity":         {with("&{a};"), at, "entities"},
		"a backslash":              {with(`\{a}`), at, "a backslash before a placeholder"},
		"another backslash":        {with(`a\b`), at, "a backslash before what"},
		"a list of a number":       {with("{n}. voce"), at, "could make a list"},
		"a list of a text":         {with("- 1{a}) voce"), at, "could make a list"},
		"a list in a definition":   {with(": {n}. voce"), at, "could make a list"},
		"a box":                    {with("- [{a}] voce"), at, "a box to tick"},
		"beside an address":        {with("https://a.example/{a}"), at, "beside an address"},
		"before an address":        {with("{a}@a.example"), at, "beside an address"},
		"before slashes":           {with("{a}//a.example"), at, "beside an address"},
	} {
		_, err := Parse("prova.txt", c.source)
		require.ErrorIs(t, err, ErrInvalid, name)
		var at *ParseError
		require.ErrorAs(t, err, &at, name)
		require.Equal(t, c.line, at.Line, "%s: %v", name, err)
		require.Contains(t, at.Rule, c.rule, name)
		require.Equal(t, "template: prova.txt:"+fmt.Sprint(at.Line)+": "+at.Rule, err.Error())
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	tpl, err := Parse("f", file("placeholder t text 2..5\nplaceholder n integer -5..5\nplaceholder m euro 1.00..2.00\nplaceholder d date 2026-03-01..2026-03-31\n"+
		"placeholder w datetime 2026-03-01..2026-03-31\nplaceholder u url 10..30\nplaceholder e email 6..12\nplaceholder a notice",
		"Un avviso di prova", body+" {t} {n} {m} {d} {w} <{u}> <{e}> {a}"))
	require.NoError(t, err)
	good := func() Values {
		day := time.Date(2026, 3, 31, 21, 59, 0, 0, time.UTC) // 23:59 in Italy
		return Values{"t": "12345", "n": -5, "m": pagopa.Amount(200), "d": day, "w": day, "u": "https://a.example:443/é"[:22], "e": "a@b.it", "a": pagopa.NoticeNumber("302032002700000251")}
	}
	_, err = tpl.Render(good())
	require.NoError(t, err)
	day := good()["d"].(time.Time)
	for name, bad := range map[string][]any{
		"t": {nil, 12, []byte("abc"), "", "1", "123456", "🗑🗑🗑", "a\nb", "a\tb", " ab", "ab ", "ab\u00a0", "a\xffb", "a\u202eb", "a\u2028b", "a\u200bb", "a\ufeffb", "a\ue000b", "a\uffffb", "a\U000e0041", "a\x00b"},
		"n": {nil, "1", 1.0, int32(1), 6, -6, int64(math.MinInt64), int64(math.MaxInt64), pagopa.Amount(1)},
		"m": {nil, 150, int64(150), "1.50", pagopa.Amount(99), pagopa.Amount(201), pagopa.Amount(-1)},
		"d": {nil, "2026-03-05", day.Add(time.Minute), time.Date(2026, 2, 28, 22, 59, 59, 0, time.UTC), time.Time{}},
		"w": {nil, day.Unix(), day.Add(time.Minute), time.Date(2026, 2, 28, 22, 59, 59, 0, time.UTC), time.Time{}},
		"u": {nil, &url.URL{}, "", "http://a.example", "https://", "https:///a", "https://:443/", "https://a@b.example", "https://a.example/ b", "https://a.example/<", "https://a.example/\n",
			"https://a.example/" + strings.Repeat("x", 20), "https://[::1]/abc", "https://caffè.example", "javascript:alert(1)", "HTTPS://a.example", "https://a.example/\\", "https://a.example/%zz"},
		"e": {nil, "a@b", "a.example", "a b@c.it", "à@b.it", "a@b.it\n", "<a@b.it>", "a@@b.it", "aaaaaa@b.example", "-a@b.it", "a@-b.it"},
		"a": {nil, "302032002700000251", pagopa.NoticeNumber("402032002700000251"), pagopa.NoticeNumber("30203200270000025"), pagopa.NoticeNumber("")},
	} {
		for _, v := range bad {
			values := good()
			values[name] = v
			requireRefused(t, tpl, values, name, v)
		}
		values := good()
		delete(values, name)
		requireRefused(t, tpl, values, name, nil)
	}
	for _, extra := range []string{"zz", "aaa"} {
		values := good()
		values[extra] = "x"
		requireRefused(t, tpl, values, extra, nil)
	}
	values := good()
	values["RSSMRA85M10H501S"] = "x"
	requireRefused(t, tpl, values, "", "RSSMRA85M10H501S")
	requireRefused(t, tpl, nil, "t", nil)
}

// requireRefused requires an error that names the placeholder and not the value.
func requireRefused(t *testing.T, tpl *Template, values Values, name string, v any) {
	t.Helper()
	r, err := tpl.Render(values)
	require.ErrorIs(t, err, ErrInvalid, "%s = %#v", name, v)
	var at *ValueError
	require.ErrorAs(t, err, &at)
	require.Equal(t, name, at.Placeholder, "%#v", v)
	require.Equal(t, tpl.Ref(), at.Template)
	require.NotEmpty(t, at.Rule)
	require.Zero(t, r)
	if s, ok := v.(string); ok && len(s) > 3 {
		require.NotContains(t, err.Error(), s)
	}
}

// TestLengths: no rendering is longer or shorter than the loader said, and the longest text comes near to it.
func TestLengths(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	hostile := []rune(`@@:://..//wwww..[]()_**!!123. azé🗑‍` + "\u00a0")
	for _, around := range []string{"{t}", "**{t}**", "a{t}b", "/{t}/", "{t}{t}", "[{t}](https://a.example)", "1{t}", "{n}{t}{n}", "*{t}/"} {
		for _, tag := range []string{"it", "en", "de", "fr", "sl"} {
			const head = "placeholder t text 1..12\nplaceholder n integer -20..3\nplaceholder d date\nplaceholder w datetime\nplaceholder m euro 0.00..9999.99\nplaceholder u url 12..40\nplaceholder e email\nplaceholder a notice"
			tpl, err := Parse("f", strings.Replace(file(head, "Un oggetto: {t}{n}{d}{m}{a}", body+"\n"+around+"\n{t} {n} {d} {w} {m} [x]({u}) <{u}> <{e}> {a}\n{d}"), "== it", "== "+tag, 1))
			require.NoError(t, err)
			l := tpl.languages[0]
			form := text.FormOf(tag)
			least, most := tpl.lengths(l.markdown, form)
			leastSubject, mostSubject := tpl.lengths(l.subject, form)
			longest := 0
			for range 300 {
				var s string
				for range 1 + random.IntN(12) {
					s += string(hostile[random.IntN(len(hostile))])
				}
				day := time.Date(2000, 1, 1+random.IntN(36_000), 12, 0, 0, 0, time.UTC)
				r, err := tpl.Render(Values{
					"t": s, "n": random.IntN(24) - 20, "d": day, "w": day, "m": pagopa.Amount(random.IntN(1_000_000)), "e": "a@b.example",
					"u": "https://a.example/" + strings.Repeat(string("()&_x"[random.IntN(5)]), random.IntN(23)), "a": pagopa.NoticeNumber("302032002700000251"),
				})
				if errors.Is(err, ErrInvalid) {
					continue
				}
				require.NoError(t, err)
				n := text.Units(r.Texts[0].Markdown)
				require.True(t, n >= least && n <= most, "%q: %d, not %d to %d", s, n, least, most)
				longest = max(longest, n)
				n = text.Units(r.Texts[0].Subject)
				require.True(t, n >= leastSubject && n <= mostSubject, "%q: %d, not %d to %d", s, n, leastSubject, mostSubject)
			}
			require.Greater(t, longest, least+(most-least)/3, "the bounds are near")
		}
	}
}

func TestParseFS(t *testing.T) {
	t.Parallel()
	source := func(id string, version int) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(strings.Replace(file("", "Un oggetto", body), "prova 1", fmt.Sprint(id, " ", version), 1))}
	}
	files := fstest.MapFS{"a/uno.txt": source("uno", 1), "a/uno-2.txt": source("uno", 2), "a/uno-10.txt": source("uno", 10), "b/due.txt": source("due", 1)}
	s, err := ParseFS(files, "a/*.txt", "b/*.txt")
	require.NoError(t, err)
	var refs []string
	for _, tpl := range s.Templates() {
		refs = append(refs, tpl.Ref().String())
	}
	require.Equal(t, []string{"due@1", "uno@1", "uno@2", "uno@10"}, refs)
	require.Equal(t, 10, s.Latest("uno").Ref().Version)
	require.Equal(t, Ref{"uno", 2}, s.Version(Ref{"uno", 2}).Ref())
	require.Nil(t, s.Version(Ref{"uno", 3}))
	require.Nil(t, s.Latest("tre"))

	files["b/altro.txt"] = source("uno", 2)
	_, err = ParseFS(files, "*/*.txt")
	require.EqualError(t, err, "template: b/altro.txt:1: uno@2 is in a/uno-2.txt too")
	files["b/altro.txt"] = &fstest.MapFile{Data: []byte("template")}
	_, err = ParseFS(files, "*/*.txt")
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "b/altro.txt:1:")
	_, err = ParseFS(files, "[")
	require.Error(t, err)
	_, err = ParseFS(files, "a/*", "c/*")
	require.EqualError(t, err, `template: no file matches "c/*"`)
	s, err = ParseFS(files, "a/*", "a/uno.txt")
	require.NoError(t, err)
	require.Len(t, s.Templates(), 3)
}

// FuzzParse: a file is refused with a line, or is a template whose renderings are within the limits.
func FuzzParse(f *testing.F) {
	f.Add(file("placeholder a text 1..20", "Un avviso per {a}", body+" **{a}** [{a} x](https://a.example)"), "x")
	f.Add(file("placeholder a date\nplaceholder b euro 1.00..2.00\nplaceholder c url", "Un avviso", body+" {a} {b} <{c}>\n\n- {{ }}"), "**")
	f.Add(file("placeholder a integer -1..5\nplaceholder b notice\nplaceholder c email", "Un avviso", "# "+body+"\n\n| {a} | {b} |\n|--|--|\n| [x](mailto:{c}) | y |"), "@")
	f.Fuzz(func(t *testing.T, source, value string) {
		tpl, err := Parse("f", source)
		if err != nil {
			var at *ParseError
			require.ErrorAs(t, err, &at)
			require.True(t, at.Line >= 1 && at.Line <= 1+strings.Count(source, "\n"), "%v", err)
			return
		}
		values := Values{}
		for _, p := range tpl.Placeholders() {
			values[p.Name] = largest(p, value)
		}
		r, err := tpl.Render(values)
		require.NoError(t, err)
		require.Equal(t, tpl.Languages()[0], r.Texts[0].Language)
		for _, w := range r.Texts {
			require.True(t, text.Units(w.Subject) >= text.MinSubject && text.Units(w.Subject) <= text.MaxSubject)
			require.True(t, text.Units(w.Markdown) >= text.MinMarkdown && text.Units(w.Markdown) <= text.MaxMarkdown)
		}
	})
}

// largest is a value that takes all that the bounds give: of a text, made of what is given where that can be.
func largest(p Placeholder, of string) any {
	switch p.Type {
	case TypeText:
		s := ""
		for of != "" && text.Units(s+of) <= int(p.Max) {
			s += of
		}
		if rule := p.checkString(s); rule == "" {
			return s
		}
		return strings.Repeat("[", int(p.Max))
	case TypeInteger:
		return p.Max
	case TypeEuro:
		return pagopa.Amount(p.Max)
	case TypeDate, TypeDatetime:
		return time.Unix(p.Max*secondsOfDay, 0)
	case TypeURL:
		return "https://a" + strings.Repeat("b", int(max(p.Min, 10))-9)
	case TypeEmail:
		const domain = "@b.cd"
		return strings.Repeat("a", min(max(int(p.Min)-len(domain), 1), 64)) + domain + strings.Repeat(".ef", (max(int(p.Min)-69, 0)+2)/3)
	}
	return pagopa.NoticeNumber("302032002700000251")
}
