package pagopa

import (
	"fmt"

	"github.com/appio-go/appio/fiscalcode"
)

// A NoticeNumber is the 18 digits that the creditor gave to a notice (numero avviso, NAV). The first one, the aux digit,
// says how the others are to be read:
//
//	0  application code (2), base (13), check digits (2)
//	1  17 digits of the creditor's choice
//	2  base (15), check digits (2)
//	3  segregation code (2), base (13), check digits (2)
//
// New notices have a 3. A literal or a conversion can hold anything: [NoticeNumber.Valid] tells.
type NoticeNumber string

var errNotice = fmt.Errorf("%w: a notice number is 18 digits, the first of them 0 to 3", ErrInvalid)

// ParseNoticeNumber checks the pattern and nothing else; see [NoticeNumber.Check].
func ParseNoticeNumber(s string) (NoticeNumber, error) {
	if n := NoticeNumber(s); n.Valid() {
		return n, nil
	}
	return "", errNotice
}

const (
	noticeLen   = 18
	creditorLen = 11
)

// Valid reports whether n is 18 digits, the first of them 0 to 3.
func (n NoticeNumber) Valid() bool {
	return len(n) == noticeLen && n[0] <= '3' && digits(string(n))
}

// Check reports whether n is valid and its check digits are right: the 16 digits before them modulo 93. A number with
// the aux digit 1 has none, so every valid one passes.
func (n NoticeNumber) Check() bool {
	if !n.Valid() || n[0] == '1' {
		return n.Valid()
	}
	rest := 0
	for i := range noticeLen - 2 {
		rest = (rest*10 + int(n[i]-'0')) % 93
	}
	return rest == int(n[noticeLen-2]-'0')*10+int(n[noticeLen-1]-'0')
}

// AuxDigit is 0 to 3, and -1 if n is not valid.
func (n NoticeNumber) AuxDigit() int {
	if !n.Valid() {
		return -1
	}
	return int(n[0] - '0')
}

// IUV is the creditor's own identifier of the payment (identificativo univoco di versamento): the number without its aux
// digit, and without the application code that follows a 0. It is "" if n is not valid.
func (n NoticeNumber) IUV() string {
	switch n.AuxDigit() {
	case -1:
		return ""
	case 0:
		return string(n[3:])
	}
	return string(n[1:])
}

// An RPTID names one debt: whose, and which. It is comparable.
type RPTID struct {
	Creditor fiscalcode.Organization
	Notice   NoticeNumber
}

var errRPTID = fmt.Errorf("%w: an RPT id is the 11 digits of the creditor and a notice number", ErrInvalid)

// ParseRPTID reads the 29 digits of an RPT id, and checks no check digit.
func ParseRPTID(s string) (RPTID, error) {
	if len(s) != creditorLen+noticeLen {
		return RPTID{}, errRPTID
	}
	r := RPTID{Creditor: fiscalcode.Organization(s[:creditorLen]), Notice: NoticeNumber(s[creditorLen:])}
	if !r.Valid() {
		return RPTID{}, errRPTID
	}
	return r, nil
}

// Valid reports whether both parts are valid.
func (r RPTID) Valid() bool { return r.Creditor.Valid() && r.Notice.Valid() }

// String is the 29 digits that [ParseRPTID] reads.
func (r RPTID) String() string { return string(r.Creditor) + string(r.Notice) }
