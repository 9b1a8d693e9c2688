// Package notices makes up payment notices for tests.
package notices

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

// A Notice is made up, and so is everybody in it.
type Notice struct {
	Code    pagopa.Code // with a debtor as somebody would write them
	Account string      // of the creditor, for the Data Matrix
	Read    pagopa.Code // what is read from its Data Matrix
}

// words as they are written, and as a Data Matrix has them.
var words = [][2]string{
	{"Rossi", "Rossi"}, {"Niccolò", "Niccolo"}, {"D’Alò", "D'Alo"}, {"D'Amico", "D'Amico"}, {"De Santis", "De Santis"}, {"Müller-Groß", "Muller-Gross"},
	{"Čuk", "Cuk"}, {"Đorđević", "Dordevic"}, {"Șerban", "Serban"}, {"Łukasz", "Lukasz"}, {"Citta\u0300", "Citta"}, {"È", "E"}, {"n° 3", "n. 3"},
	{"A", "A"}, {"2026/2027", "2026/2027"}, {"10 €", "10 EUR"}, {"codfase=NBPA;", "codfase=NBPA;"}, {"PAGOPA|002|", "PAGOPA|002|"}, {"\"~<&%", "\"~<&%"},
	{"– “prima”", "- \"prima\""}, {"0", "0"}, {"TARI", "TARI"}, {"\u00a0\t", ""}, {"…", "..."}, {"Ægir", "AEgir"},
}

// text is made of words, for as long as most has room.
func text(r *rand.Rand, most int) (written, plain string) {
	if r.IntN(10) == 0 {
		return "", ""
	}
	for range r.IntN(30) {
		w := words[r.IntN(len(words))]
		if next := strings.TrimSpace(plain + " " + w[1]); len(next) <= most {
			written, plain = written+" "+w[0], next
		}
	}
	if n := most - len(plain) - 1; n > 0 && r.IntN(4) == 0 { // no place is left
		written, plain = written+" "+strings.Repeat("x", n), strings.TrimSpace(plain+" "+strings.Repeat("x", n))
	}
	return written, plain
}

// digits are n of them.
func digits(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + r.IntN(10))
	}
	return string(b)
}

func person(r *rand.Rand) fiscalcode.Person {
	const letters, months = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABCDEHLMPRST"
	var b strings.Builder
	for _, kind := range "llllll00m00l000l" {
		switch kind {
		case 'l':
			b.WriteByte(letters[r.IntN(len(letters))])
		case 'm':
			b.WriteByte(months[r.IntN(len(months))])
		default:
			b.WriteString(digits(r, 1))
		}
	}
	return fiscalcode.Person(b.String())
}

// Random is a notice of any aux digit, of which some have what is at the edge: all zeros, all nines, full fields, empty ones.
func Random(r *rand.Rand) Notice {
	var n Notice
	aux := r.IntN(4)
	codes, bases := [4]int{2, 0, 0, 2}, [4]int{13, 17, 15, 13}
	base := digits(r, bases[aux])
	switch r.IntN(20) {
	case 0:
		base = strings.Repeat("0", len(base))
	case 1:
		base = strings.Repeat("9", len(base))
	}
	var err error
	if n.Code.Notice, err = pagopa.NewNoticeNumber(aux, digits(r, codes[aux]), base); err != nil {
		panic(fmt.Sprintf("notices: %v", err))
	}
	n.Code.Creditor = fiscalcode.Organization(digits(r, 11))
	most := int64(1)
	for range r.IntN(11) {
		most *= 10
	}
	n.Code.Amount = min(pagopa.MaxAmount, 1+pagopa.Amount(r.Int64N(most)))
	switch r.IntN(4) {
	case 0:
	case 1:
		n.Code.Debtor = fiscalcode.Person(digits(r, 11))
	default:
		n.Code.Debtor = person(r)
	}
	n.Account = digits(r, 1+r.IntN(12))
	n.Read = n.Code
	n.Code.Name, n.Read.Name = text(r, 40)
	n.Read.Name = strings.ToUpper(n.Read.Name)
	n.Code.Reason, n.Read.Reason = text(r, 110)
	return n
}
