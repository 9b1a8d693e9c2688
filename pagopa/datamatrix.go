package pagopa

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/appio-go/appio/fiscalcode"
)

const matrixPrefix = "codfase=NBPA;"

// Where the fields of a Data Matrix begin, in characters. Each of the first three has its length, in two digits, in front of it.
const (
	matrixNotice   = 15
	matrixAccount  = 35
	matrixAmount   = 49
	matrixCreditor = 66
	matrixDebtor   = 77
	matrixName     = 93
	matrixReason   = 133
	matrixFiller   = 243
	matrixLen      = 256

	matrixEnd = "            A" // from matrixFiller on
)

var (
	errMatrix = fmt.Errorf("%w: the text of a notice's Data Matrix begins with codfase=NBPA; and has the notice number, the cents "+
		"and the creditor from its 16th, 50th and 67th character on", ErrInvalid)
	errAccount = fmt.Errorf("%w: a postal account is 1 to 12 digits", ErrInvalid)
	errDebtor  = fmt.Errorf("%w: a debtor is the fiscal code of a person, or 11 digits, or nothing", ErrInvalid)
	errName    = fmt.Errorf("%w: a Data Matrix holds 40 plain characters of the debtor's name", ErrInvalid)
	errReason  = fmt.Errorf("%w: a Data Matrix holds 110 plain characters of the reason", ErrInvalid)
)

// DataMatrix is the text of the Data Matrix on the notice's postal form: 256 ASCII characters, of which each field has its places.
// postalAccount is the account that is paid into, 1 to 12 digits.
//
// The name is written in upper case. Accents, typographic quotation marks and dashes are written plainly in it and in the reason, as
// [ParseCode] will read them, and white space of any kind as single blanks. What then has more than 40 or 110 characters, or
// characters that are not ASCII, is [ErrInvalid]: how to shorten a name, or to spell one of another alphabet, is the creditor's
// choice. So is what [Code.QR] refuses, and a debtor that is no code.
func (c Code) DataMatrix(postalAccount string) (string, error) {
	if err := c.printable(); err != nil {
		return "", err
	}
	if len(postalAccount) < 1 || len(postalAccount) > 12 || !digits(postalAccount) {
		return "", errAccount
	}
	if c.Debtor != "" && !isDebtor(c.Debtor) {
		return "", errDebtor
	}
	name, ok := plain(c.Name)
	if !ok || len(name) > matrixReason-matrixName {
		return "", errName
	}
	reason, ok := plain(c.Reason)
	if !ok || len(reason) > matrixFiller-matrixReason {
		return "", errReason
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s18%s12%s10%010d3896", matrixPrefix, string(c.Notice), strings.Repeat("0", 12-len(postalAccount))+postalAccount, int64(c.Amount))
	fmt.Fprintf(&b, "1P1%s%-16s%-40s%-110s%s", string(c.Creditor), string(c.Debtor), strings.ToUpper(name), reason, matrixEnd)
	return b.String(), nil
}

func isDebtor(p fiscalcode.Person) bool { return p.Valid() || fiscalcode.Organization(p).Valid() }

func parseMatrix(s string) (Code, error) {
	text := characters(s)
	if len(text) < matrixDebtor {
		return Code{}, errMatrix
	}
	c := Code{RPTID: RPTID{
		Creditor: fiscalcode.Organization(text[matrixCreditor:matrixDebtor]),
		Notice:   NoticeNumber(text[matrixNotice : matrixAccount-2]),
	}}
	var ok bool
	if c.Amount, ok = cents(string(text[matrixAmount : matrixAmount+10])); !ok || !c.Valid() {
		return Code{}, errMatrix
	}
	if debtor := fiscalcode.Person(field(text, matrixDebtor, matrixName)); isDebtor(debtor) {
		c.Debtor = debtor
	}
	// Names are padded wrongly by some who print, in IO's own sample too. So if the end is as it should be, places are counted
	// from there.
	reason := matrixReason
	if n := len(text) - len(matrixEnd); string(text[n:]) == matrixEnd {
		text = text[:n]
		if from := n - (matrixFiller - matrixReason); from >= matrixName {
			reason = from
		}
	}
	c.Name = field(text, matrixName, reason)
	c.Reason = field(text, reason, reason+matrixFiller-matrixReason)
	return c, nil
}

// characters are those of s. A Data Matrix is ISO 8859-1 unless it says otherwise, and not every reader converts it.
func characters(s string) []rune {
	if utf8.ValidString(s) {
		return []rune(s)
	}
	text := make([]rune, len(s))
	for i := range len(s) {
		text[i] = rune(s[i])
	}
	return text
}

// field is what stands from one place to another, as far as there is text, without the blanks behind it.
func field(text []rune, from, to int) string {
	from, to = min(from, len(text)), min(to, len(text))
	return strings.TrimRight(string(text[from:to]), " ")
}
