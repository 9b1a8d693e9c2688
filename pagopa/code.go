package pagopa

import (
	"fmt"
	"strings"

	"github.com/appio-go/appio/fiscalcode"
)

// A Code is what the codes on a paper notice say. It prints as its RPT id, without the debtor; Valid and Check are those of the
// RPT id too.
type Code struct {
	RPTID
	Amount Amount // 0: not known, as when the number was typed

	// Only a Data Matrix has these. Of one that was read they are text from outside, of any characters: nobody has checked them.
	Debtor fiscalcode.Person // or the 11 digits of a debtor that is an organization; "": not known
	Name   string            // of the debtor
	Reason string            // what the payment is for (causale)
}

// maxCode is how long a text can be, in bytes, that is looked at: no code of a notice comes near it.
const maxCode = 1024

var errCode = fmt.Errorf("%w: neither the text of a notice's QR code, nor of its Data Matrix, "+
	"nor the 11 digits of the creditor, a blank, and a notice number", ErrInvalid)

// ParseCode reads the text of a notice's QR code or of its Data Matrix, or what a person types from the paper: the creditor's
// code, a blank, and the notice number, which may have blanks of its own. White space around it does not matter, and no check
// digit is checked; see [RPTID.Check]. A text of more than 1,024 bytes is [ErrInvalid].
//
// A QR code's amount may have 1 to 10 digits. Of a Data Matrix all that is needed is that the notice number, the amount and the
// creditor stand in their places: what else is there may be cut off or badly padded. One that is not UTF-8 is read as ISO
// 8859-1.
func ParseCode(s string) (Code, error) {
	if len(s) > maxCode {
		return Code{}, errCode
	}
	s = strings.TrimSpace(s)
	switch {
	case strings.HasPrefix(s, qrPrefix):
		return parseQR(s)
	case strings.HasPrefix(s, matrixPrefix):
		return parseMatrix(s)
	}
	return parseTyped(s)
}

// parseTyped wants a blank after the creditor: in 29 digits without one it could not be told whether the notice number came first.
func parseTyped(s string) (Code, error) {
	words := strings.Fields(s)
	if len(words) < 2 {
		return Code{}, errCode
	}
	c := Code{RPTID: RPTID{fiscalcode.Organization(words[0]), NoticeNumber(strings.Join(words[1:], ""))}}
	if !c.Valid() {
		return Code{}, errCode
	}
	return c, nil
}

// cents is the amount of 1 to 10 digits, with zeros in front or without.
func cents(s string) (Amount, bool) {
	if len(s) < 1 || len(s) > 10 || !digits(s) {
		return 0, false
	}
	var a Amount
	for i := range len(s) {
		a = a*10 + Amount(s[i]-'0')
	}
	return a, true
}

var errPrinted = fmt.Errorf("%w: a notice that is printed has a creditor, a number, and an amount of 0.01 to 99999999.99", ErrInvalid)

// printable is nil if c has what both codes hold.
func (c Code) printable() error {
	if !c.Valid() || c.Amount < 1 || c.Amount > MaxAmount {
		return errPrinted
	}
	return nil
}
