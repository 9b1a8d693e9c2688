// Package pagopa knows what identifies a payment notice and what it costs: notice numbers, IUVs, RPT ids, amounts.
//
// It is useful without the engine. Nothing in it does I/O: whether a debt exists, and what is to be paid today, only the
// creditor can tell.
//
// As in package fiscalcode, parsing checks the pattern, and check digits are a separate question: [NoticeNumber.Check].
// Neither pagoPA nor IO refuses a number for its check digits, and numbers that fail are in use.
package pagopa

import "errors"

// ErrInvalid is returned when text is not what the function parses. No error of this package quotes the text.
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
