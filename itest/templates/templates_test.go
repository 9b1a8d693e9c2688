// Package templates renders templates with hostile values by a Markdown parser that others wrote, and looks at the pages that come of it.
package templates

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	rawhtml "github.com/yuin/goldmark/renderer/html"
	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/internal/mutate"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/template"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// programs are how Markdown is read: by CommonMark alone, and with what others add. Raw HTML is left in, to be seen.
var programs = []goldmark.Markdown{
	goldmark.New(goldmark.WithRendererOptions(rawhtml.WithUnsafe())),
	goldmark.New(goldmark.WithRendererOptions(rawhtml.WithUnsafe()), goldmark.WithParserOptions(parser.WithAttribute()),
		goldmark.WithExtensions(extension.GFM, extension.Footnote, extension.DefinitionList)),
}

const joiner = "\u2060"

// A page is what comes of a Markdown text: its elements and their attributes, and the text in between.
type page struct {
	elements string
	whole    string // with the text
	links    int    // that programs would make of the text when the Markdown is read
}

// afterwards is what mdast-util-gfm-autolink-literal makes links of, and cmark-gfm of mail addresses: in the text, when nobody can tell
// any more what was escaped.
var afterwards = regexp.MustCompile(`(?i)(?:https?://|www\.)[-.\w]+|[-.\w+]+@[-\w]+(?:\.[-\w]+)+`)

func read(program goldmark.Markdown, markdown string) (page, error) {
	var out bytes.Buffer
	if err := program.Convert([]byte(markdown), &out); err != nil {
		return page{}, err
	}
	root, err := html.Parse(&out)
	if err != nil {
		return page{}, err
	}
	var elements, whole, outside strings.Builder
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		switch n.Type {
		case html.TextNode:
			whole.WriteString(strings.ReplaceAll(n.Data, joiner, ""))
			if n.Parent.Data != "a" {
				outside.WriteString(n.Data)
			}
		case html.ElementNode:
			fmt.Fprintf(&whole, "<%s %q>", n.Data, n.Attr)
			fmt.Fprintf(&elements, "<%s", n.Data)
			for _, a := range n.Attr {
				fmt.Fprintf(&elements, " %s", a.Key)
			}
			elements.WriteString(">")
		default:
			fmt.Fprintf(&elements, "%d %q", n.Type, n.Data)
		}
		for c := range n.ChildNodes() {
			walk(c)
		}
		elements.WriteString(";")
		whole.WriteString(";")
	}
	walk(root)
	return page{elements.String(), whole.String(), len(afterwards.FindAllString(outside.String(), -1))}, nil
}

const head = `template prova 1
placeholder a text 1..60
placeholder b text 1..60
placeholder n integer -99999..99999
placeholder d date
placeholder m euro 0.00..99999.99
placeholder e email
placeholder u url

== %s
Un oggetto qualsiasi

%s

{a} {b} {n} {d} {m} <{e}> <{u}> e un testo che è lungo abbastanza per ogni prova che si fa qui
`

// words that stand for a and b while the page is made that hostile values are compared with.
const wordA, wordB = "zqva", "zqvb"

func values(a, b string) template.Values {
	return template.Values{"a": a, "b": b, "n": 7, "d": time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC), "m": pagopa.Amount(5_00),
		"e": "a@b.example", "u": "https://b.example/"}
}

// judge says what values do to a template that they should not.
func judge(t *template.Template, render func(template.Values) (string, error), v template.Values) error {
	words := template.Values{}
	for name, value := range v {
		words[name] = value
	}
	words["a"], words["b"] = wordA, wordB
	var texts [3]string
	for i, v := range []template.Values{v, words, values(wordA, wordB)} {
		var err error
		if texts[i], err = render(v); err != nil {
			return err
		}
	}
	for i, program := range programs {
		var pages [3]page
		for j, text := range texts {
			var err error
			if pages[j], err = read(program, text); err != nil {
				return err
			}
		}
		// As the page has them: attributes quoted by %q, which only links' targets and their like are.
		want := strings.NewReplacer(wordA, v["a"].(string), wordB, v["b"].(string)).Replace(pages[1].whole)
		switch {
		case pages[0].elements != pages[2].elements:
			return fmt.Errorf("program %d: %q has other elements than\n%q:\n%s\n%s", i, texts[0], texts[2], pages[0].elements, pages[2].elements)
		case pages[0].links != pages[2].links:
			return fmt.Errorf("program %d: %q has %d more addresses than\n%q", i, texts[0], pages[0].links-pages[2].links, texts[2])
		case pages[0].whole != want:
			return fmt.Errorf("program %d: %q says\n%q, not\n%q", i, texts[0], pages[0].whole, want)
		}
	}
	return nil
}

func markdownOf(t *template.Template) func(template.Values) (string, error) {
	return func(v template.Values) (string, error) {
		r, err := t.Render(v)
		if err != nil {
			return "", err
		}
		return r.Texts[0].Markdown, nil
	}
}

// hostile are texts that try to be more than a text. None has what is refused.
var hostile = strings.Split(`[paga qui](https://evil.example)
![x](https://evil.example/x.png)
# Titolo
***grassetto*** __e__ _corsivo_
<script>alert(1)</script>
<b onclick=x>
<https://evil.example>
https://evil.example/?a=b&c=d#e
HTTP://WWW.EVIL.EXAMPLE
www.evil.example
a@evil.example
mailto:a@evil.example
ftp://evil.example
`+"`codice` ```"+`
~~~
~~via~~
- voce
+ voce
* voce
1. voce
12345) voce
12.
-
---
===
***
> citazione
| a | b |
|---|---|
:--
[x]
x
[^1]
[^1]: nota
[a]: https://evil.example
: definizione
&lt;b&gt; &amp; &#60; &copy
\
\\
a\
\*
!
](https://evil.example)
[
]
(https://evil.example)
://evil.example
//evil.example
@evil.example
.evil.example
www
https:
mario
"virgolette" 'e' altre
{#id .classe}
:smile:
$x$ ==y== ++z++ ^w^
città, perché, €, 🗑, 日本, 👩‍💻, é
）＊＿＜ｂ＞［x］（y）
“”«»—…
1
a
_
__a__
a*b
*a
a*
_a_b
<!-- -->
<?x ?>
<![CDATA[x]]>
</p>`, "\n")

var dangerous = strings.Split("\\`*_~[]()<>&#!|{}^$=+:-.,;?'\"/%@ 019axwW\u00a0\u2003é*_[]", "")

func value(random *rand.Rand) string {
	for {
		var s string
		switch random.IntN(3) {
		case 0:
			s = hostile[random.IntN(len(hostile))]
		case 1:
			seeds := make([][]byte, len(hostile))
			for i, h := range hostile {
				seeds[i] = []byte(h)
			}
			s = string(mutate.Bytes(random, seeds))
		default:
			for range 1 + random.IntN(8) {
				s += dangerous[random.IntN(len(dangerous))]
			}
		}
		s = strings.TrimSpace(strings.ToValidUTF8(s, ""))
		s = s[:min(len(s), 60)]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
		// What a text may not hold is refused by Render: see the tests of package template.
		if s = strings.TrimSpace(s); s != "" && !strings.Contains(s, "zqv") {
			return s
		}
	}
}

// parts are what random templates are made of.
var parts = strings.Split(`{a} {b} {a} {b} {a} {b} {n} {d} {m} [{a}](https://c.example/) [vedi]({u}) [tu](mailto:{e}) <{u}> <{e}> [{a} {b}]({u}) `+
	`** * _ __ # ## > - + 1. 12) 1 . ) ( ] [ : | \* \[ \] "{a}" ' / www https : parola x, é € & = == --- *** @`, " ")

func markdown(random *rand.Rand) string {
	var b strings.Builder
	for range 2 + random.IntN(12) {
		b.WriteString(parts[random.IntN(len(parts))])
		switch random.IntN(6) {
		case 0, 1:
			b.WriteString(" ")
		case 2:
			b.WriteString("\n")
		case 3:
			b.WriteString("\n\n")
		}
	}
	lines := strings.Split(strings.Trim(b.String(), " \n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// shapes are what templates are made of, each with values where they are allowed.
var shapes = []string{
	"{a}", "# {a}", "## {a} e {b} ##", "- {a}\n- {b}\n  - {a}", "1. {a}\n2. {b}", "> {a}\n> {b}", "**{a}** _{b}_ *{a}* __{b}__ ***{a}***",
	"di**{a}**in _{a}_{b} **{a}{b}**", "**{a}**, *{b}*.", "[{a}]({u})", "[{a} {b}](https://c.example/x_y_z) <{u}>", "- [{a}]({u})",
	"| a | b |\n|---|---|\n| {a} | {b} |", "a | b\n--|--\n{a} | {b}", "{a}\n:-\n{b}", "{a}{b}\n{b}{a}", "{a}\n===\n{b}\n---", "{a}\n{b}\n{n}\n{d}", "Uno\n{a}\nDue\n{b}", "{n} {d} {m}", "\\*{a}\\*",
	"{d}\n{a}", "({a}) \"{b}\" '{a}': {b}; {a}/{b}", "Termine\n\n{a}: {b}", "[{a}] {b}", "{{{a}}} {b}", "{b}, {a}, **{n}** _{d}_ **{m}**",
}

func TestValuesStayText(t *testing.T) {
	const inRound = 3_000
	seed, pages, refused, values := form.Seed(t), 0, 0, 0
	for more := form.Rounds(t, 0, 2, 1); more(); {
		for range inRound {
			random := rand.New(rand.NewPCG(seed, uint64(pages+refused)))
			source := ""
			if n := pages + refused; n < 3*len(shapes) {
				source = shapes[n%len(shapes)]
				if strings.Contains(source, "[{a}] ") {
					source = "[{a} {b}] {b}" // alone in brackets it is refused
				}
			} else {
				source = markdown(random)
			}
			language := []string{"it", "en", "de", "fr", "sl"}[random.IntN(5)]
			tpl, err := template.Parse("prova", fmt.Sprintf(head, language, source))
			if err != nil {
				if pages+refused < 3*len(shapes) {
					t.Fatalf("%q: %v", source, err)
				}
				refused++
				continue
			}
			pages++
			for range 5 {
				v := template.Values{
					"a": value(random), "b": value(random), "n": random.IntN(200_000) - 99_999, "m": pagopa.Amount(random.IntN(99_999_99)),
					"d": time.Date(2000, 1, 1+random.IntN(30_000), 12, 0, 0, 0, time.UTC),
					"e": []string{"a@b.example", "a_b+c.d-e@x-y.example", "A9@b.c.example"}[random.IntN(3)],
					"u": "https://c.example/" + []string{"", "a_b*c(d)&amp;e", "?x=1&copy=2#!~'", "a),b", "**", "_a_", "%5B;,", "www.x.example/@y"}[random.IntN(8)],
				}
				err := judge(tpl, markdownOf(tpl), v)
				if errors.Is(err, template.ErrInvalid) { // a value that is refused, as what has control characters
					continue
				}
				if err != nil {
					t.Fatalf("template %q with %q and %q: %v", source, v["a"], v["b"], err)
				}
				values++
			}
		}
	}
	require.Greater(t, values, pages, "most values are texts")
	require.Greater(t, pages, refused/20, "random templates that are taken")
	form.Figures(t, map[string]float64{"templates": float64(pages), "values": float64(values), "violations": 0})
}

// TestPlantedBugs: what comes of values that are written as they are, or escaped by less.
func TestPlantedBugs(t *testing.T) {
	t.Parallel()
	for name, bug := range map[string]func(string) string{
		"as it is":                              func(s string) string { return s },
		"without joiners":                       func(s string) string { return strings.ReplaceAll(s, joiner, "") },
		"without those that Markdown needs not": func(s string) string { return strings.ReplaceAll(s, `\:`+joiner, `\:`) },
		"without brackets":                      func(s string) string { return strings.NewReplacer(`\[`, "[", `\]`, "]").Replace(s) },
		"without the first":                     func(s string) string { return strings.ReplaceAll(s, `\-`, "-") },
		"without the dot":                       func(s string) string { return strings.ReplaceAll(s, `\.`, ".") },
		"without entities":                      func(s string) string { return strings.ReplaceAll(s, `\&`, "&") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, source := range shapes {
				tpl, err := template.Parse("prova", fmt.Sprintf(head, "it", source))
				if err != nil {
					continue
				}
				right := markdownOf(tpl)
				wrong := func(v template.Values) (string, error) {
					if name != "as it is" {
						s, err := right(v)
						return bug(s), err
					}
					s, err := right(values(wordA, wordB))
					return strings.NewReplacer(wordA, v["a"].(string), wordB, v["b"].(string)).Replace(s), err
				}
				for _, h := range hostile {
					if judge(tpl, wrong, values(h, "b")) != nil {
						return
					}
				}
			}
			t.Fatal("nobody saw it")
		})
	}
}
