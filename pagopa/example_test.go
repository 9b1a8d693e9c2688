package pagopa_test

import (
	"fmt"

	"github.com/appio-go/appio/pagopa"
)

func ExampleParseAmount() {
	for _, s := range []string{"150.00", "150,00", "150", "1.500"} {
		a, err := pagopa.ParseAmount(s)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("%v is %d cents\n", a, a)
	}
	// Output:
	// 150.00 is 15000 cents
	// 150.00 is 15000 cents
	// 150.00 is 15000 cents
	// pagopa: invalid: an amount is 0 to 99999999.99, with two decimals or none
}

func ExampleParseNoticeNumber() {
	n, err := pagopa.ParseNoticeNumber("302032002700000251")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("aux digit", n.AuxDigit())
	fmt.Println("IUV", n.IUV())
	// Output:
	// aux digit 3
	// IUV 02032002700000251
}

// Wrong check digits usually mean a slip of the person who typed, but not always: warn, do not refuse.
func ExampleNoticeNumber_Check() {
	for _, n := range []pagopa.NoticeNumber{"302032002700000251", "302032002700000215", "100000000000000000"} {
		fmt.Println(n, n.Check())
	}
	// Output:
	// 302032002700000251 true
	// 302032002700000215 false
	// 100000000000000000 true
}

func ExampleParseRPTID() {
	id, err := pagopa.ParseRPTID("01199250158302032002700000251")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("creditor", id.Creditor)
	fmt.Println("notice  ", id.Notice)
	fmt.Println(id)
	// Output:
	// creditor 01199250158
	// notice   302032002700000251
	// 01199250158302032002700000251
}

// A creditor numbers its notices by counting.
func ExampleNewNoticeNumber() {
	const segregation = "01" // given by pagoPA
	for count := 1; count <= 3; count++ {
		n, err := pagopa.NewNoticeNumber(3, segregation, fmt.Sprintf("2024%09d", count))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(n, "IUV", n.IUV())
	}
	// Output:
	// 301202400000000164 IUV 01202400000000164
	// 301202400000000265 IUV 01202400000000265
	// 301202400000000366 IUV 01202400000000366
}

func ExampleNoticeNumberOf() {
	n, err := pagopa.NoticeNumberOf(3, "", "02032002700000251")
	fmt.Println(n, err)
	n, err = pagopa.NoticeNumberOf(0, "02", "202400000012337")
	fmt.Println(n, err)
	// Output:
	// 302032002700000251 <nil>
	// 002202400000012337 <nil>
}

// Whatever a citizen scans or types leads to the same debt.
func ExampleParseCode() {
	for _, s := range []string{
		"PAGOPA|002|302032002700000251|01199250158|15000",
		"01199250158 3020 3200 2700 0002 51",
		"302032002700000251",
	} {
		c, err := pagopa.ParseCode(s)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(c.Creditor, c.Notice, c.Amount, c.Check())
	}
	// Output:
	// 01199250158 302032002700000251 150.00 true
	// 01199250158 302032002700000251 0.00 true
	// pagopa: invalid: neither the text of a notice's QR code, nor of its Data Matrix, nor the 11 digits of the creditor, a blank, and a notice number
}

func ExampleCode_QR() {
	c := pagopa.Code{RPTID: pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"}, Amount: 150_00}
	fmt.Println(c.QR())
	// Output: PAGOPA|002|302032002700000251|01199250158|15000 <nil>
}

func ExampleCode_DataMatrix() {
	c := pagopa.Code{
		RPTID:  pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"},
		Amount: 150_00,
		Debtor: "RSSMRA85M10H501S",
		Name:   "Niccolò D’Alò",
		Reason: "TARI 2026, prima rata",
	}
	text, err := c.DataMatrix("16302093")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(text))
	fmt.Println(text[:77])
	fmt.Printf("%q\n", text[77:133])

	read, err := pagopa.ParseCode(text)
	fmt.Println(read, read.Amount, read.Name, err)
	// Output:
	// 256
	// codfase=NBPA;183020320027000002511200001630209310000001500038961P101199250158
	// "RSSMRA85M10H501SNICCOLO D'ALO                           "
	// 01199250158302032002700000251 150.00 NICCOLO D'ALO <nil>
}

// What the creditor's system answered becomes what the citizen is told.
func ExampleNewFault() {
	for _, detail := range []string{"PAA_PAGAMENTO_DUPLICATO", "PAA_PAGAMENTO_SCADUTO", "PPT_STAZIONE_INT_PA_TIMEOUT", "anything else"} {
		f := pagopa.NewFault(detail)
		fmt.Println(f.Status(), f.Paid(), f)
	}
	// Output:
	// 409 true pagopa: PAYMENT_DUPLICATED (PAA_PAGAMENTO_DUPLICATO)
	// 409 false pagopa: PAYMENT_EXPIRED (PAA_PAGAMENTO_SCADUTO)
	// 503 false pagopa: DOMAIN_UNKNOWN (PPT_STAZIONE_INT_PA_TIMEOUT)
	// 502 false pagopa: GENERIC_ERROR
}
