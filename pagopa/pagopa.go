// Package pagopa knows payment notices of pagoPA: notice numbers and IUVs, RPT ids, the texts in the QR code and the Data Matrix
// of a paper notice, amounts, and why a notice cannot be paid.
//
// It is useful without the engine. Nothing in it does I/O: whether a debt exists, and what is to be paid today, only the
// creditor can tell. Package picture, a module of its own, draws the codes.
//
// As in package fiscalcode, parsing checks the pattern, and check digits are a separate question: [NoticeNumber.Check],
// [RPTID.Check]. Neither pagoPA nor IO refuses a number for its check digits, and numbers that fail are in use. What is read
// leniently is written strictly: [Code.QR] and [Code.DataMatrix] make no text that a reader would have to forgive.
package pagopa

import "errors"

// ErrInvalid is returned when text is not what the function parses, or a value cannot be written. No error of this package
// quotes the text or the value.
var ErrInvalid = errors.New("pagopa: invalid")

// digits reports whether s is all digits.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
