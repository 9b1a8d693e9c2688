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
