package pagopa

import "fmt"

// IUV is the creditor's own identifier of the payment (identificativo univoco di versamento): the number without its aux
// digit, and without the application code that follows a 0; so 15 digits with 0, 17 otherwise. It is "" if n is not valid.
func (n NoticeNumber) IUV() string {
	switch n.AuxDigit() {
	case -1:
		return ""
	case 0:
		return string(n[3:])
	}
	return string(n[1:])
}

// Code is the two digits of the application code (aux digit 0) or of the segregation code (3), which say which of the
// creditor's systems answers for the notice. It is "" with 1 and 2, which have none, and if n is not valid.
func (n NoticeNumber) Code() string {
	if !n.Valid() {
		return ""
	}
	return string(n[1 : 1+layouts[n[0]-'0'].code])
}

// Base is what the creditor counts by: the digits of n without aux digit, code and check digits. It is "" if n is not valid.
func (n NoticeNumber) Base() string {
	if !n.Valid() {
		return ""
	}
	l := layouts[n[0]-'0']
	return string(n[1+l.code : noticeLen-l.check])
}

var (
	errParts = fmt.Errorf("%w: the parts of a notice number are an aux digit of 0 to 3, a code of 2 digits with 0 and 3 and none "+
		"with 1 and 2, and a base of 13, 17, 15 or 13 digits", ErrInvalid)
	errIUV = fmt.Errorf("%w: an IUV is 15 digits with the aux digit 0, and its application code 2 digits; 17 digits with 1, 2 and 3, "+
		"and no application code", ErrInvalid)
)

// NewNoticeNumber is the notice number of these parts, with its check digits if it has any: the way to number a notice. code is
// the application code with the aux digit 0 and the segregation code with 3, two digits; "" with 1 and 2. base has 13 digits
// with 0 and 3, 17 with 1, 15 with 2. New notices have a 3, and the segregation code that pagoPA gave to the creditor.
func NewNoticeNumber(aux int, code, base string) (NoticeNumber, error) {
	if aux < 0 || aux >= len(layouts) {
		return "", errParts
	}
	l := layouts[aux]
	if len(code) != l.code || 1+len(code)+len(base)+l.check != noticeLen || !digits(code) || !digits(base) {
		return "", errParts
	}
	n := string(byte('0'+aux)) + code + base
	if l.check > 0 {
		n += fmt.Sprintf("%02d", checkDigits(n))
	}
	return NoticeNumber(n), nil
}

// NoticeNumberOf is the notice number whose IUV this is: the way back from [NoticeNumber.IUV]. An IUV does not hold the aux
// digit, nor the application code of a number with the aux digit 0; with the others application is "". Check digits are part of
// an IUV, and taken as they are.
func NoticeNumberOf(aux int, application, iuv string) (NoticeNumber, error) {
	codeLen := 0
	if aux == 0 {
		codeLen = layouts[0].code
	}
	if aux < 0 || aux >= len(layouts) || len(application) != codeLen {
		return "", errIUV
	}
	n := NoticeNumber(string(byte('0'+aux)) + application + iuv)
	if !n.Valid() {
		return "", errIUV
	}
	return n, nil
}
