package email

import (
	"bytes"
	"html/template"
	"strings"

	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// The Markdown of messages: CommonMark with tables, strikethrough and bare links. HTML in it is left out.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.Table, extension.Strikethrough, extension.Linkify),
	goldmark.WithParserOptions(parser.WithASTTransformers(util.Prioritized(mending{}, 100))),
)

// permitted is what a text may become. It does not trust what goldmark makes of it: whatever the sender wrote, nothing is loaded from
// anywhere, nothing runs, and nothing is laid over the rest of the mail.
var permitted = func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("p", "br", "hr", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "strong", "em", "del", "blockquote", "code", "pre",
		"table", "thead", "tbody", "tr", "th", "td")
	p.AllowAttrs("start").Matching(bluemonday.Integer).OnElements("ol")
	p.AllowAttrs("href").OnElements("a")
	p.AllowURLSchemes("https", "http", "mailto", "tel")
	p.AllowRelativeURLs(false)
	p.RequireParseableURLs(true)
	p.RequireNoReferrerOnLinks(true)
	return p
}()

// mending makes headings those below the mail's own, and of pictures the words that describe them.
type mending struct{}

func (mending) Transform(doc *ast.Document, _ text.Reader, _ parser.Context) {
	var pictures []*ast.Image
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			n.Level = min(n.Level+1, 6)
		case *ast.Image:
			pictures = append(pictures, n)
		}
		return ast.WalkContinue, nil
	})
	for _, n := range pictures {
		for n.FirstChild() != nil {
			n.Parent().InsertBefore(n.Parent(), n, n.FirstChild())
		}
		n.Parent().RemoveChild(n.Parent(), n)
	}
}

// toHTML is a message's text as HTML that can do no harm.
func toHTML(md string) template.HTML {
	var b bytes.Buffer
	if err := markdown.Convert([]byte(body(md)), &b); err != nil {
		return ""
	}
	return template.HTML(permitted.SanitizeBytes(b.Bytes())) //nolint:gosec // sanitized
}

// body is a text without what stands before it for apps alone: a block between two lines of hyphens.
func body(md string) string {
	md = lines(md)
	if rest, ok := strings.CutPrefix(md, "---\n"); ok {
		if _, after, ok := strings.Cut("\n"+rest+"\n", "\n---\n"); ok {
			return after
		}
	}
	return md
}

// previewLength is in characters.
const previewLength = 134

// preview is IO's: what comes after the last line of hyphens (the whole text, if that is nothing), as plain text, with a word in place
// of each link, cut; and no name with a dot in it can be taken for a link by a program that looks for them.
func preview(md, removed string) string {
	md = lines(md)
	if i := strings.LastIndex("\n"+md+"\n", "\n---\n"); i >= 0 && i+4 < len(md) && strings.TrimSpace(md[i+4:]) != "" {
		md = md[i+4:]
	}
	src := []byte(md)
	var b strings.Builder
	_ = ast.Walk(markdown.Parser().Parse(text.NewReader(src)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if n.Type() == ast.TypeBlock {
			b.WriteByte(' ')
		}
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link, *ast.AutoLink:
			b.WriteString(removed)
			return ast.WalkSkipChildren, nil
		case *ast.RawHTML, *ast.HTMLBlock:
			return ast.WalkSkipChildren, nil
		case *ast.Text:
			b.Write(util.UnescapePunctuations(util.ResolveEntityNames(util.ResolveNumericReferences(n.Segment.Value(src)))))
			if n.SoftLineBreak() || n.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.String:
			b.Write(n.Value)
		case *ast.CodeBlock, *ast.FencedCodeBlock:
			for i := range n.Lines().Len() {
				line := n.Lines().At(i)
				b.Write(line.Value(src))
			}
		}
		return ast.WalkContinue, nil
	})
	plain := []rune(clean(b.String()))
	more := ""
	if len(plain) > previewLength {
		plain, more = plain[:previewLength], "..."
	}
	return strings.ReplaceAll(strings.TrimSpace(string(plain)), ".", ".\u200b") + more
}
