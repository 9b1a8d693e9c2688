package fiscalcode

import "fmt"

// An Organization is the fiscal code of an organization: eleven digits. It prints whole.
//
// A literal or a conversion can hold anything: [Organization.Valid] tells.
type Organization string

var errOrganization = fmt.Errorf("%w: an organization's code is 11 digits", ErrInvalid)

// ParseOrganization checks the pattern and nothing else; see [Organization.Check].
func ParseOrganization(s string) (Organization, error) {
	if o := Organization(s); o.Valid() {
		return o, nil
	}
	return "", errOrganization
}

const organizationLen = 11

// Valid reports whether o is eleven digits.
func (o Organization) Valid() bool {
	if len(o) != organizationLen {
		return false
	}
	for i := range organizationLen {
		if o[i] < '0' || o[i] > '9' {
			return false
		}
	}
	return true
}

// Check reports whether o is eleven digits and the last one, the check digit, is right. Eleven zeros would pass the sum
// but are nobody's code: false.
func (o Organization) Check() bool {
	if !o.Valid() || o == "00000000000" {
		return false
	}
	sum := 0
	for i := range organizationLen - 1 {
		d := int(o[i] - '0')
		if i%2 == 1 {
			d *= 2
			if d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return int(o[organizationLen-1]-'0') == (10-sum%10)%10
}
