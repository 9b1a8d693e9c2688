package pagopa

import (
	"fmt"
	"strconv"
)

// An Amount is in euro cents. %d prints the cents, %v and %s the euros; encoding/json writes the cents, as IO does.
type Amount int64

// MaxAmount is the largest amount that a payment notice can have: 99999999.99.
const MaxAmount Amount = 99_999_999_99

var errAmount = fmt.Errorf("%w: an amount is 0 to 99999999.99, with two decimals or none", ErrInvalid)

// ParseAmount reads "150.00", "150,00" or "150", exactly: two decimals or none, no sign, no blank, no currency, no mark of
// thousands, no zero in front of other digits. So "1.500", which may be meant as 1500 or as 1.50, is [ErrInvalid], and so
// is what exceeds [MaxAmount]. Zero is an amount.
func ParseAmount(s string) (Amount, error) {
	euros, cents := s, "00"
	if n := len(s) - 3; n >= 0 && (s[n] == '.' || s[n] == ',') {
		euros, cents = s[:n], s[n+1:]
	}
	if len(euros) < 1 || len(euros) > 8 || len(euros) > 1 && euros[0] == '0' || !digits(euros) || !digits(cents) {
		return 0, errAmount
	}
	n, err := strconv.ParseInt(euros+cents, 10, 64)
	if err != nil {
		return 0, errAmount
	}
	return Amount(n), nil
}

// String is "150.00": what [ParseAmount] reads, if the amount is not negative and not above [MaxAmount].
func (a Amount) String() string {
	sign, n := "", uint64(a)
	if a < 0 {
		sign, n = "-", -n
	}
	return fmt.Sprintf("%s%d.%02d", sign, n/100, n%100)
}
