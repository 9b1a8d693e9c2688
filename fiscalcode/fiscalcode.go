// Package fiscalcode knows Italian fiscal codes: of persons (16 characters) and of organizations (11 digits).
//
// Parsing checks the pattern and nothing else. The check character is a separate question, asked with [Person.Check] and
// [Organization.Check], because real systems do not require it: codes that fail it are in use, among them [Sandbox] and
// many in published examples. Nothing is corrected either: who reads codes from a form trims them and makes them upper
// case first. A person's code also holds a date and a place of birth; they are not looked at, since neither the one nor
// the other tells whether a code was issued.
//
// # Printing
//
// A [Person] prints masked, whatever the verb of fmt, and so it does in the text and JSON handlers of log/slog:
// "RSSM********501U". What does not match the pattern prints as sixteen stars. The masked form is for telling the lines
// of a log apart. It still says something about the person, so a log that holds it is not anonymous.
//
// The code is whole where somebody asks for it or where no method can be called:
//
//   - string(p), and what is built of it; encoding/json and the other encodings; database/sql
//   - a struct or a slice logged by slog's JSON handler, which encodes it as JSON: log the person itself
//   - an unexported field of a struct that is printed
//   - the verbs %w and %p, which are not for strings (go vet finds both); panic(p); print and println
//
// html/template and text/template print with fmt, therefore masked: give them string(p).
//
// An [Organization] prints whole: the code of a public body is published in registers and on every payment notice.
package fiscalcode

import "errors"

// ErrInvalid is returned when text does not match the pattern of a code. No error of this package quotes the text.
var ErrInvalid = errors.New("fiscalcode: invalid")

// within reports whether every byte of s is one that its position allows. Both have the same length.
func within(s string, positions []*alphabet) bool {
	for i, allowed := range positions {
		if !allowed[s[i]] {
			return false
		}
	}
	return true
}

// An alphabet has true at the bytes that belong to it.
type alphabet [256]bool

func newAlphabet(s string) *alphabet {
	var a alphabet
	for i := range len(s) {
		a[s[i]] = true
	}
	return &a
}
