package templates

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/catalogue"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/template"
)

// Every message of the catalogue is a page of paragraphs, lists, bold text and links; links lead where the authority said; hostile values
// change none of it.
func TestCatalogue(t *testing.T) {
	random := rand.New(rand.NewPCG(form.Seed(t), 1))
	const target = "https://ente.example/a_(b)*c*?d&e"
	fill := func(m catalogue.Message, text func(longest int64) string) template.Values {
		v := template.Values{}
		for _, p := range m.Placeholders() {
			switch p.Type {
			case template.TypeText:
				v[p.Name] = text(p.Max)
			case template.TypeInteger:
				v[p.Name] = p.Min
			case template.TypeEuro:
				v[p.Name] = pagopa.Amount(p.Max)
			case template.TypeURL:
				v[p.Name] = target
			case template.TypeNotice:
				v[p.Name] = pagopa.NoticeNumber("302032002700000251")
			default:
				v[p.Name] = time.Date(2026, 3, 9, 9, 30, 0, 0, time.UTC)
			}
		}
		return v
	}
	allowed := strings.Fields("html head body p strong a ul li")
	for _, s := range catalogue.Services() {
		for _, m := range s.Messages {
			harmless, err := m.Render(fill(m, func(int64) string { return "abcde" }))
			require.NoError(t, err)
			for range 20 {
				hostile, err := m.Render(fill(m, func(longest int64) string {
					for {
						if s := value(random); len(s) <= int(longest) && utf8.RuneCountInString(s) >= 5 && valid(s) {
							return s
						}
					}
				}))
				require.NoError(t, err, m.Ref())
				for i := range harmless.Texts {
					for _, program := range programs {
						want, err := read(program, harmless.Texts[i].Markdown)
						require.NoError(t, err)
						got, err := read(program, hostile.Texts[i].Markdown)
						require.NoError(t, err)
						require.Equal(t, want.elements, got.elements, "%s: %q", m.Ref(), hostile.Texts[i].Markdown)
					}
				}
			}
			for _, w := range harmless.Texts {
				var page strings.Builder
				require.NoError(t, programs[1].Convert([]byte(w.Markdown), &page))
				root, err := html.Parse(strings.NewReader(page.String()))
				require.NoError(t, err)
				text := ""
				for n := range root.Descendants() {
					switch n.Type {
					case html.ElementNode:
						require.Contains(t, allowed, n.Data, m.Ref())
						for _, a := range n.Attr {
							require.Equal(t, "href="+target, a.Key+"="+strings.ReplaceAll(a.Val, "&amp;", "&"), m.Ref())
						}
						if n.Data == "a" {
							require.NotEmpty(t, n.FirstChild.Data, "a link says where it leads")
						}
					case html.TextNode:
						text += n.Data
					}
				}
				require.NotRegexp(t, `[*{}\[\]\\_#]`, text, "%s: what is left of Markdown is seen", m.Ref())
			}
		}
	}
}

// one is a template of a text.
var one = sync.OnceValues(func() (*template.Template, error) {
	return template.Parse("prova", "template prova 1\nplaceholder a text 1..200\n\n== it\nUn oggetto\n\n"+strings.Repeat("parole ", 12)+"{a}")
})

// valid reports whether a text is one that templates take.
func valid(s string) bool {
	t, err := one()
	if err != nil {
		panic(err)
	}
	_, err = t.Render(template.Values{"a": s})
	return err == nil
}

// A message's texts are taken by the engine as they are.
func TestCatalogueIsAccepted(t *testing.T) {
	kit := appiotest.New(t, nil)
	kit.Person(appiotest.Anna, "AUTO")
	sent := 0
	for _, s := range catalogue.Services() {
		sender := kit.Service("catalogo")
		for _, m := range s.Messages {
			v := template.Values{}
			for _, p := range m.Placeholders() {
				switch p.Type {
				case template.TypeText:
					v[p.Name] = strings.Repeat("*", int(p.Max))
				case template.TypeInteger:
					v[p.Name] = p.Max
				case template.TypeEuro:
					v[p.Name] = pagopa.Amount(p.Max)
				case template.TypeURL:
					v[p.Name] = "https://ente.example/" + strings.Repeat("(", int(p.Max)-21)
				case template.TypeNotice:
					v[p.Name] = pagopa.NoticeNumber("302032002700000251")
				default:
					v[p.Name] = time.Date(2026, 9, 30, 9, 30, 0, 0, time.UTC)
				}
			}
			r, err := m.Render(v)
			require.NoError(t, err)
			message := appiotest.Message(appiotest.Anna)
			message.Use(r)
			_, err = sender.Send(t.Context(), message)
			require.NoError(t, err, m.Ref())
			sent++
		}
	}
	form.Figures(t, map[string]float64{"messages": float64(sent)})
}
