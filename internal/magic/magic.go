// Package magic knows the kinds of documents that citizens are given by their first bytes, so that nothing is passed on as what it is not.
package magic

import "strings"

// Head is how many bytes are looked at.
const Head = 8

// heads are how the documents of each kind begin: ISO 32000-2, 7.5.2; PNG, 5.2; JPEG File Interchange Format, 5.
var heads = map[string]string{"application/pdf": "%PDF-", "image/png": "\x89PNG\r\n\x1a\n", "image/jpeg": "\xff\xd8\xff"}

// PDF is the kind that IO's API has attachments of.
const PDF = "application/pdf"

// Kinds says which there are, for people.
const Kinds = "application/pdf, image/png or image/jpeg"

// Known reports whether a content type, in small letters and without parameters, is one of the kinds.
func Known(kind string) bool { return heads[kind] != "" }

// Is reports whether a document of which these are the first bytes, [Head] of them or all, can be of a kind.
func Is(kind string, head []byte) bool {
	h := heads[kind]
	return h != "" && strings.HasPrefix(string(head), h)
}
