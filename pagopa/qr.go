package pagopa

import (
	"fmt"
	"strings"

	"github.com/appio-go/appio/fiscalcode"
)

const (
	qrPrefix  = "PAGOPA|"
	qrVersion = "002"
)

var errQR = fmt.Errorf("%w: the text of a QR code is PAGOPA|002|notice number|creditor|cents", ErrInvalid)

// QR is the text of the notice's QR code, 44 to 52 characters. It is [ErrInvalid] if the RPT id is not valid, or the amount is not
// 0.01 to [MaxAmount]: who does not know the amount must not print 0. What only a Data Matrix has is not looked at.
func (c Code) QR() (string, error) {
	if err := c.printable(); err != nil {
		return "", err
	}
	// At least two digits: not all readers take one.
	return fmt.Sprintf("%s%s|%s|%s|%02d", qrPrefix, qrVersion, string(c.Notice), string(c.Creditor), int64(c.Amount)), nil
}

func parseQR(s string) (Code, error) {
	parts := strings.SplitN(s, "|", 6)
	if len(parts) != 5 || parts[1] != qrVersion {
		return Code{}, errQR
	}
	c := Code{RPTID: RPTID{fiscalcode.Organization(parts[3]), NoticeNumber(parts[2])}}
	var ok bool
	if c.Amount, ok = cents(parts[4]); !ok || !c.Valid() {
		return Code{}, errQR
	}
	return c, nil
}
