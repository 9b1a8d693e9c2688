package pagopa

import "fmt"

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

const noticeLen = 18

// layouts are, by aux digit, how many digits after it are a code, and how many at the end are check digits.
var layouts = [4]struct{ code, check int }{{2, 2}, {0, 0}, {0, 2}, {2, 2}}

// Valid reports whether n is 18 digits, the first of them 0 to 3.
func (n NoticeNumber) Valid() bool {
	return len(n) == noticeLen && n[0] <= '3' && digits(string(n))
}

// Check reports whether n is valid and its check digits are right: the 16 digits before them modulo 93. A number with
// the aux digit 1 has none, so every valid one passes.
func (n NoticeNumber) Check() bool {
	if !n.Valid() || layouts[n[0]-'0'].check == 0 {
		return n.Valid()
	}
	return checkDigits(string(n[:noticeLen-2])) == int(n[noticeLen-2]-'0')*10+int(n[noticeLen-1]-'0')
}

// checkDigits is the number s, which is all digits, modulo 93.
func checkDigits(s string) int {
	rest := 0
	for i := range len(s) {
		rest = (rest*10 + int(s[i]-'0')) % 93
	}
	return rest
}

// AuxDigit is 0 to 3, and -1 if n is not valid.
func (n NoticeNumber) AuxDigit() int {
	if !n.Valid() {
		return -1
	}
	return int(n[0] - '0')
}
