package picture_test

import (
	"bytes"
	"fmt"
	"image/png"

	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/pagopa/picture"
)

// An SVG can be put into a page as it is.
func ExampleQR() {
	p, err := picture.QR(pagopa.Code{
		RPTID:  pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"},
		Amount: 150_00,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	svg, err := p.SVG()
	if err != nil {
		fmt.Println(err)
		return
	}
	begin, _, _ := bytes.Cut(svg, []byte("<path"))
	fmt.Printf("%s\n", begin)
	// Output:
	// <svg xmlns="http://www.w3.org/2000/svg" width="31.061mm" height="31.061mm" viewBox="0 0 41 41" role="img" shape-rendering="crispEdges"><title>Codice QR dell&#39;avviso di pagamento 3020 3200 2700 0002 51</title>
}

func ExampleDataMatrix() {
	p, err := picture.DataMatrix(pagopa.Code{
		RPTID:  pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"},
		Amount: 150_00,
		Debtor: "RSSMRA85M10H501S",
		Name:   "Mario Rossi",
		Reason: "TARI 2026, prima rata",
	}, "16302093")
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := p.PNG(6)
	if err != nil {
		fmt.Println(err)
		return
	}
	config, err := png.DecodeConfig(bytes.NewReader(b))
	fmt.Println(config.Width, "x", config.Height, "pixels", err)
	// Output: 408 x 408 pixels <nil>
}
