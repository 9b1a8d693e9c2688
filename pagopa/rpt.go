package pagopa

import (
	"fmt"

	"github.com/appio-go/appio/fiscalcode"
)

// An RPTID names one debt: whose, and which. It is comparable.
type RPTID struct {
	Creditor fiscalcode.Organization
	Notice   NoticeNumber
}

const creditorLen = 11

var errRPTID = fmt.Errorf("%w: an RPT id is the 11 digits of the creditor and a notice number", ErrInvalid)

// ParseRPTID reads the 29 digits of an RPT id, and checks no check digit; see [RPTID.Check].
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

// Check reports whether both parts are valid and their check digits are right.
func (r RPTID) Check() bool { return r.Creditor.Check() && r.Notice.Check() }

// String is the 29 digits that [ParseRPTID] reads.
func (r RPTID) String() string { return string(r.Creditor) + string(r.Notice) }
