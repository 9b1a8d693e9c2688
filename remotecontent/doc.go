// Package remotecontent fetches what messages have in their senders' own systems, each time that a citizen opens one: a text, documents, and
// the precondition that is shown before (see [appio.RemoteContent]). Nothing that is fetched is stored. The protocol is the one that IO
// speaks with such systems, so that one made for IO works without a change:
//
//	GET {URL}/messages/{id}/precondition   {"title", "markdown"}
//	GET {URL}/messages/{id}                {"attachments": [{"id", "url", "content_type", "name"}], "details": {"subject", "markdown", ...}}
//	GET {URL}/messages/{id}/{url}          a PDF file
//
// each with the citizen's code in the header fiscal_code, and the configuration's key in the header that it names.
//
// What a system answers is not trusted, and neither is where its URL leads: addresses that are not public are refused when they are dialled,
// redirects are not followed, sizes and times are bounded, JSON is looked through, and a document that does not begin as a PDF file is refused
// before a byte of it is given out. A system that is slow holds up nobody but its own readers, of whom there are some at a time.
//
// Documents that a message carries itself ([appio.Document]) are given out by the same calls, beside those of the system.
package remotecontent
