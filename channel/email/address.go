package email

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// An address is where one e-mail goes.
type address struct {
	local, domain string // the domain in ASCII
	ascii         bool   // the local part is, too; else the server must know SMTPUTF8
}

func (a address) String() string { return a.local + "@" + a.domain }

// errAddress says nothing of the address.
var errAddress = errors.New("email: the address is not one that mail can be sent to")

// parseAddress reads an address as people write it: a local part of atoms with dots, an "@", the name of a domain. Quoted local parts,
// comments, routes and addresses of machines, which the grammar of mail has too, are none: nobody's mailbox is called so, and in
// them hides what the server would take for a parameter of its command (GHSA-wpwj-69cm-q9c5).
func parseAddress(s string) (address, error) {
	local, name, ok := strings.Cut(s, "@")
	if !ok || len(s) > 254 || len(local) < 1 || len(local) > 64 || !utf8.ValidString(s) {
		return address{}, errAddress
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !isAtom(r) }) {
			return address{}, errAddress
		}
	}
	d, err := domain(name)
	if err != nil || !strings.Contains(d, ".") && d != "localhost" {
		return address{}, errAddress
	}
	return address{local, d, isASCII(local)}, nil
}

// isAtom reports whether a character may stand in an atom (RFC 5322, 3.2.3; RFC 6531, 3.3).
func isAtom(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return true
	case r < utf8.RuneSelf:
		return strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)
}

// domain is the name of a domain in ASCII and lower case.
func domain(s string) (string, error) {
	d, err := idna.Lookup.ToASCII(s)
	if err != nil || d == "" || len(d) > 253 {
		return "", errAddress
	}
	for label := range strings.SplitSeq(d, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
		}) {
			return "", errAddress
		}
	}
	return d, nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}
