package email_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/appio-go/appio"
)

func parseHTML(t testing.TB, s string) *html.Node {
	t.Helper()
	n, err := html.Parse(strings.NewReader(s))
	require.NoError(t, err)
	return n
}

// find are the elements with a name.
func find(n *html.Node, name string) (found []*html.Node) {
	for c := range n.Descendants() {
		if c.Type == html.ElementNode && c.Data == name {
			found = append(found, c)
		}
	}
	return found
}

func byClass(n *html.Node, class string) (found []*html.Node) {
	for c := range n.Descendants() {
		if c.Type == html.ElementNode && attr(c, "class") == class {
			found = append(found, c)
		}
	}
	return found
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// textOf is what an element says, on one line.
func textOf(t testing.TB, n *html.Node) string {
	t.Helper()
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// allowed are the elements of a mail, and their attributes. It is the test's own list, not that of the code.
var allowed = map[string][]string{
	"html": {"lang", "dir"}, "head": nil, "meta": {"charset", "name", "content"}, "title": nil, "style": nil, "body": nil,
	"div": {"class", "role", "aria-roledescription", "aria-label", "lang", "dir"}, "img": {"class", "src", "alt"}, "bdi": nil,
	"p": {"class"}, "br": nil, "hr": nil, "h1": {"lang"}, "h2": nil, "h3": nil, "h4": nil, "h5": nil, "h6": nil, "ul": nil, "ol": {"start"}, "li": nil, "strong": nil, "em": nil, "del": nil,
	"blockquote": nil, "code": nil, "pre": nil, "table": {"class", "role"}, "thead": nil, "tbody": {"role"}, "tr": {"role"}, "th": {"scope", "role"}, "td": {"role"}, "a": {"href", "rel"},
}

// harm is what a mail has that it must not: elements, attributes or addresses that are not on the list; a style that is not style, or more of
// the elements that only the template has.
func harm(t testing.TB, page, style string) (all []string) {
	t.Helper()
	doc := parseHTML(t, page)
	for n := range doc.Descendants() {
		switch n.Type {
		case html.CommentNode:
			all = append(all, "a comment")
		case html.TextNode:
			if n.Parent.Data == "style" && (style != "" && n.Data != style || strings.Contains(n.Data, "url(") || strings.Contains(n.Data, "@import")) {
				all = append(all, "a style")
			}
		case html.ElementNode:
			names, ok := allowed[n.Data]
			if !ok {
				all = append(all, "<"+n.Data+">")
			}
			for _, a := range n.Attr {
				if !slices.Contains(names, a.Key) || n.Namespace != "" {
					all = append(all, n.Data+" "+a.Key)
				}
				if a.Key == "href" {
					if u, err := url.Parse(a.Val); err != nil || !slices.Contains([]string{"https", "http", "mailto", "tel"}, u.Scheme) {
						all = append(all, "a link to "+a.Val)
					}
				}
				if a.Key == "src" && !strings.HasPrefix(a.Val, "cid:") {
					all = append(all, "a picture from "+a.Val)
				}
			}
		}
	}
	for _, name := range []string{"html", "head", "title", "style", "body", "h1"} {
		if n := len(find(doc, name)); n != 1 {
			all = append(all, fmt.Sprintf("%d <%s>", n, name))
		}
	}
	for n := range doc.Descendants() { // classes are the template's: they can lay a text out as what it is not
		if n.Type == html.ElementNode && n.Parent != nil {
			for p := n.Parent; p != nil; p = p.Parent {
				if p.Type == html.ElementNode && attr(p, "class") == "text" && attr(n, "class") != "" {
					all = append(all, "a class in the text")
				}
			}
		}
	}
	return all
}

// corpus is what has run scripts, or loaded something, in what shows Markdown or mail.
var corpus = []string{
	`<script>alert(1)</script>`, `<ScRiPt src=//x.example></sCrIpT>`, `<img src=x onerror=alert(1)>`, `![x](https://track.example/x.png)`, `![x](data:image/svg+xml;base64,PHN2Zz4=)`,
	`[x](javascript:alert(1))`, `[x](JaVaScRiPt:alert(1))`, `[x](java&#x09;script:alert(1))`, "[x](java\nscript:alert(1))", `[x](&#106;avascript:alert(1))`, `[x](vbscript:msgbox(1))`,
	`[x](data:text/html;base64,PHNjcmlwdD4=)`, `[x](file:///etc/passwd)`, `[x](//evil.example)`, `[x](\\evil.example\x)`, `<javascript:alert(1)>`, `<a href="javascript:alert(1)">x</a>`,
	`[x]: javascript:alert(1)` + "\n\n[x]", `[x](https://example.org "onmouseover=alert(1)")`, `[x](https://example.org "\"onmouseover=\"alert(1)")`, `[x](<https://example.org" onclick="alert(1)>)`,
	`<svg onload=alert(1)>`, `<svg><style>*{x:url(https://x.example)}</style></svg>`, `<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>`, `<iframe src=https://x.example>`,
	`<object data=x>`, `<embed src=x>`, `<form action=https://x.example><input name=password>`, `<meta http-equiv=refresh content=0>`, `<base href=https://x.example>`, `<link rel=stylesheet href=https://x.example>`,
	`<style>@import url(https://x.example)</style>`, `<div style="background:url(https://x.example)">x</div>`, `<p class="action">x</p>`, `<video poster=https://x.example>`, `<audio src=x>`, `<input type=image src=x>`,
	`<!--[if mso]><script>1</script><![endif]-->`, `<![CDATA[<script>1</script>]]>`, `<?xml-stylesheet href="x"?>`, `</div></div></body><script>1</script>`, `</title><script>1</script>`, "```html\n<script>1</script>\n```",
	"`<script>`", `<xss id=x tabindex=1 onfocus=alert(1)>`, `<a name=body>`, `{{.}}{{template "x"}}`, `&lt;script&gt;alert(1)&lt;/script&gt;`, "| a | <img src=x> |\n|---|---|\n| [x](javascript:1) | ![y](http://t.example/) |",
	`www.example.org/"onclick=alert(1)`, `https://example.org/<script>`, `mailto:x@example.org?subject=<script>`, `[x](mailto:a@example.org?bcc=b@example.org)`, `[![y](https://t.example/1.gif)](https://example.org)`,
	`![![y](https://t.example/1.gif)](https://t.example/2.gif)`, "<https://example.org/\"><img src=x>", `# <img src=x>`, "- <script>1\n- </script>", "> <style>*{}</style>", `~~<b onclick=1>~~`, "\x00<scr\x00ipt>", `<a href=" &#14; javascript:1">x</a>`,
	`[a](tel:+39061234)`, `[a](https://user:pass@example.org)`, `[a](HTTPS://EXAMPLE.ORG)`, `[a](ftp://example.org)`, `[a](?t=1)`, `[a](#x)`, `<noscript><p title="</noscript><img src=x onerror=1>">`, `<textarea><img src=x></textarea>`, `<plaintext>`,
}

// The output is parsed again and judged by a list of what may be there.
func TestTextsAreHarmless(t *testing.T) {
	t.Parallel()
	letters := newLetters(t)
	style := find(parseHTML(t, letters.write(t, delivery()).html), "style")[0].FirstChild.Data
	active := 0
	check := func(d appio.Delivery, what string) {
		l := letters.write(t, d)
		if bad := harm(t, l.html, style); len(bad) > 0 {
			active++
			t.Errorf("%q: %v", what, bad)
		}
		require.Empty(t, find(parseHTML(t, l.html), "img"), what)
	}
	for _, s := range corpus {
		check(delivery(func(d *appio.Delivery) { d.Markdown = s }), s)
		check(delivery(func(d *appio.Delivery) { d.Subject, d.OrganizationName, d.ServiceName = s, s, s }), s)
	}
	r := rand.New(rand.NewPCG(3, 4))
	n := count(t, 500)
	for range n {
		var b strings.Builder
		for range 1 + r.IntN(5) {
			s := corpus[r.IntN(len(corpus))]
			if r.IntN(3) == 0 {
				at := r.IntN(len(s))
				s = s[at:] + s[:at]
			}
			b.WriteString(s)
			b.WriteString([]string{"", " ", "\n", "\n\n", "\n    ", "\n> ", "`", "<", "\"", "](", ")"}[r.IntN(11)])
		}
		check(delivery(func(d *appio.Delivery) { d.Markdown = b.String() }), b.String())
	}
	require.Zero(t, active)
	t.Logf("%d texts and %d made of them, %d with active content", len(corpus), n, active)

	bad := strings.Replace(letters.write(t, delivery()).html, `<div class="text" dir="auto">`, `<div class="text" dir="auto"><img src="https://t.example/x.png" onerror="1"><p class="action">x</p>`, 1)
	require.Equal(t, []string{"a picture from https://t.example/x.png", "img onerror", "a class in the text"}, harm(t, bad, style), "the judge sees what is there")
}
