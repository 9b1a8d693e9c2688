// Package receipt lets a parser that others wrote, by the rules that browsers follow, read the pages of receipts with hostile texts.
package receipt

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/internal/mutate"
	"github.com/appio-go/appio/pagopa"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seeds are texts that try to be more than a text.
var seeds = [][]byte{
	[]byte(`</bdi></td></tr></table><script>alert(1)</script>`),
	[]byte(`<img src=x onerror=alert(1)><svg/onload=alert(1)><a href="javascript:alert(1)">paga qui</a>`),
	[]byte(`--></style><style>@import "https://evil.example";</style><!--<![CDATA[`),
	[]byte("{{.Note}} \"'`=&lt;script&gt;&#60;b&#62;&NotEqualTilde;&amp \x00\x1b[31m\u202eparole\u2066\u2028\r\nBEGIN\rEND\xff\xc0\xaf"),
	[]byte(`+ADw-script+AD4-alert(1)+ADw-/script+AD4-<meta http-equiv=refresh content="0;url=https://evil.example"><base href=//evil.example>`),
}

var (
	breaks   = regexp.MustCompile(`\r\n?`)
	controls = regexp.MustCompile(`[\x00-\x08\x0B-\x1F\x7F-\x{9F}]`)
)

// normal is a text as a page can hold it.
func normal(s string) string {
	return controls.ReplaceAllString(breaks.ReplaceAllString(strings.ToValidUTF8(s, "\uFFFD"), "\n"), "\uFFFD")
}

func write(payee, description, lang string) (string, error) {
	r := appio.Receipt{
		RPTID: pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"}, Amount: 150_00, Payee: payee, Description: description,
		PaidAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
	var b strings.Builder
	err := r.WriteHTML(&b, lang)
	return b.String(), err
}

// parse is the shape of a page, its elements with their attributes and all text that is not a receipt's, and the receipt's texts.
func parse(page string) (shape string, texts []string, err error) {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return "", nil, err
	}
	var b strings.Builder
	var walk func(n *html.Node, in bool)
	walk = func(n *html.Node, in bool) {
		switch n.Type {
		case html.TextNode:
			if in {
				texts = append(texts, n.Data)
			} else {
				fmt.Fprintf(&b, "%q ", n.Data)
			}
		case html.ElementNode:
			fmt.Fprintf(&b, "<%s %q> ", n.Data, n.Attr)
		default:
			fmt.Fprintf(&b, "%d %q ", n.Type, n.Data)
		}
		for c := range n.ChildNodes() {
			walk(c, in || n.Data == "bdi")
		}
		b.WriteString("; ")
	}
	walk(root, false)
	return b.String(), texts, nil
}

// read says how a page differs from one that has harmless texts.
func read(page, harmless string, payee, description string) error {
	want, _, err := parse(harmless)
	if err != nil {
		return err
	}
	shape, texts, err := parse(page)
	switch {
	case err != nil:
		return err
	case shape != want:
		return errors.New("the page has another shape: " + shape)
	case len(texts) < 3 || texts[0] != normal(payee) || texts[2] != normal(description):
		return fmt.Errorf("the texts are %q, not %q and %q", texts, normal(payee), normal(description))
	}
	return nil
}

func TestTextsStayTexts(t *testing.T) {
	const inRound = 200
	harmless := map[string]string{}
	for _, lang := range []string{"it", "en"} {
		var err error
		harmless[lang], err = write("Comune", "Tassa", lang)
		require.NoError(t, err)
	}
	seed, texts := form.Seed(t), 0
	for more := form.Rounds(t, 0, 2, 1); more(); {
		for range inRound {
			random := rand.New(rand.NewPCG(seed, uint64(texts)))
			payee, description := "."+string(mutate.Bytes(random, seeds)), "."+string(mutate.Bytes(random, seeds)) // never empty
			lang := []string{"it", "en"}[texts%2]
			page, err := write(payee, description, lang)
			if err == nil {
				err = read(page, harmless[lang], payee, description)
			}
			if err != nil {
				t.Fatalf("texts %d, %q and %q: %v", texts, payee, description, err)
			}
			texts++
		}
	}
	form.Figures(t, map[string]float64{"texts": float64(texts)})
}

// TestPlantedBugs: what a page would be if a text got through.
func TestPlantedBugs(t *testing.T) {
	t.Parallel()
	const mark = "MARK"
	right, err := write(mark, mark, "it")
	require.NoError(t, err)
	for i, seed := range seeds {
		wrong := strings.ReplaceAll(right, mark, string(seed))
		err := read(wrong, right, string(seed), string(seed))
		require.Error(t, err, "seed %d", i)
	}
	entity := strings.ReplaceAll(right, mark, "&lt;b>")
	require.Error(t, read(entity, right, "&lt;b>", "&lt;b>"), "an entity is not a text")
}

// TestPage: what a page is made of, whatever its texts.
func TestPage(t *testing.T) {
	t.Parallel()
	for lang, title := range map[string]string{"it": "Ricevuta di pagamento", "en": "Payment receipt"} {
		page, err := write("Comune", "Tassa", lang)
		require.NoError(t, err)
		root, err := html.Parse(strings.NewReader(page))
		require.NoError(t, err)
		count := map[string]int{}
		allowed := strings.Fields("html head meta title style body main h1 table caption tbody tr th td bdi time p")
		for n := range root.Descendants() {
			if n.Type == html.DoctypeNode {
				require.Equal(t, "html", n.Data, "no quirks")
			}
			if n.Type != html.ElementNode {
				continue
			}
			count[n.Data]++
			require.Contains(t, allowed, n.Data)
			for _, a := range n.Attr {
				require.Contains(t, strings.Fields("lang charset http-equiv content name scope datetime"), a.Key)
			}
			text := ""
			if n.FirstChild != nil {
				text = n.FirstChild.Data
			}
			switch n.Data {
			case "html":
				require.Equal(t, lang, attribute(n, "lang"))
			case "title", "h1":
				require.Equal(t, title, text)
			case "th":
				require.Equal(t, "row", attribute(n, "scope"))
				require.NotEmpty(t, text)
			case "time":
				require.Equal(t, "2026-03-01T13:00:00+01:00", attribute(n, "datetime"))
			case "style":
				sum := sha256.Sum256([]byte(text))
				require.Contains(t, policy(root), "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'", "it permits this style")
				require.NotRegexp(t, `@import|url\(`, text)
			}
		}
		require.Contains(t, policy(root), "default-src 'none'")
		require.NotRegexp(t, `unsafe|\*|https?:`, policy(root))
		require.Equal(t, count["tr"], count["th"], "each row has a header")
		require.Equal(t, count["tr"], count["td"])
		for _, once := range []string{"title", "main", "h1", "table", "caption", "time"} {
			require.Equal(t, 1, count[once], once)
		}
	}
}

func policy(root *html.Node) string {
	for n := range root.Descendants() {
		if n.Data == "meta" && attribute(n, "http-equiv") == "Content-Security-Policy" {
			return attribute(n, "content")
		}
	}
	return ""
}

func attribute(n *html.Node, key string) string {
	i := slices.IndexFunc(n.Attr, func(a html.Attribute) bool { return a.Key == key })
	if i < 0 {
		return ""
	}
	return n.Attr[i].Val
}
