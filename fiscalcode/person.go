package fiscalcode

import (
	"fmt"
	"log/slog"
)

// A Person is the fiscal code of a natural person. It prints masked: see the package documentation.
//
// A literal or a conversion can hold anything: [Person.Valid] tells.
type Person string

// Sandbox is the fictitious citizen that every service may write to, in trial too. Its check character is
// wrong, so it is nobody's code.
const Sandbox Person = "AAAAAA00A00A000A"

var errPerson = fmt.Errorf("%w: a person's code is 16 characters in a fixed pattern, letters in upper case", ErrInvalid)

// ParsePerson checks the pattern and nothing else; see [Person.Check]. Where two persons would have the same code, one of
// them has letters in place of digits (omocodia): such codes match too.
func ParsePerson(s string) (Person, error) {
	if p := Person(s); p.Valid() {
		return p, nil
	}
	return "", errPerson
}

const personLen = 16

var (
	letter = newAlphabet("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	month  = newAlphabet("ABCDEHLMPRST")
	digit  = newAlphabet("0123456789LMNPQRSTUV") // or the letter that stands for it

	personPattern = []*alphabet{
		letter, letter, letter, letter, letter, letter, // surname, name
		digit, digit, month, digit, digit, // birth: year, month, day
		letter, digit, digit, digit, // place
		letter, // check character
	}
)

// Valid reports whether p matches the pattern of a person's code.
func (p Person) Valid() bool {
	return len(p) == personLen && within(string(p), personPattern)
}

// Check reports whether p matches the pattern and its check character is right.
func (p Person) Check() bool {
	if !p.Valid() {
		return false
	}
	sum := 0
	for i := range personLen - 1 {
		v := p[i] - 'A'
		if p[i] <= '9' {
			v = p[i] - '0'
		}
		if i%2 == 0 {
			v = oddValue[v]
		}
		sum += int(v)
	}
	return p[personLen-1] == 'A'+byte(sum%26)
}

// oddValue is what a character counts at the 1st, 3rd, 5th ... position. A digit and the letter at its place in the
// alphabet count the same there, and at the other positions too.
var oddValue = [26]byte{1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23}

// Format prints p masked, whatever the verb. Width and precision are honoured; %q and %#v add quotes.
func (p Person) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'v' && f.Flag('#'):
		fmt.Fprintf(f, "%q", p.masked())
	case verb == 'q':
		fmt.Fprintf(f, fmt.FormatString(f, 'q'), p.masked())
	default:
		fmt.Fprintf(f, fmt.FormatString(f, 's'), p.masked())
	}
}

// LogValue is p masked.
func (p Person) LogValue() slog.Value { return slog.StringValue(p.masked()) }

// masked keeps the first four and the last four characters of a code. Of what is no code nothing is kept: it may be
// anything, a code in lower case among others. The empty one stays recognisable.
func (p Person) masked() string {
	switch {
	case p == "":
		return ""
	case !p.Valid():
		return "****************"
	}
	return string(p[:4] + "********" + p[12:])
}
