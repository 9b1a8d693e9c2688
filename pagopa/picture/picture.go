// Package picture draws the codes of a payment notice, QR code and Data Matrix, as SVG for print and for web pages, and as PNG.
//
// It is a module of its own, so that only who draws requires a library for it. What the codes say is package pagopa's.
package picture

import (
	"fmt"
	"image"

	"github.com/boombuler/barcode/datamatrix"
	"github.com/boombuler/barcode/qr"

	"github.com/appio-go/appio/pagopa"
)

// A Picture is a code as black modules on white, with the quiet zone that readers need around it. The fields can be changed before it
// is written.
type Picture struct {
	// Title is what a screen reader says in place of an SVG. It is in Italian and has the notice number, which can be typed where
	// nobody can scan.
	Title string
	// Width is how wide the code is on paper, in micrometres, without its quiet zone: 1 to 1,000,000.
	Width int

	size, quiet int    // of the code and of the zone on each side, in modules
	dark        []bool // row by row
}

const (
	quietQR         = 4      // ISO/IEC 18004
	quietDataMatrix = 2      // ISO/IEC 16022 asks for 1
	widthQR         = 25_000 // pagoPA's technical specification of notices
	widthModule     = 350    // of a Data Matrix: at 300 dots an inch it has 4 dots
)

// QR is the notice's QR code in the form that pagoPA asks for: version 4 (33 x 33 modules), error correction M, 25 mm wide. It is
// [pagopa.ErrInvalid] for what [pagopa.Code.QR] refuses.
func QR(c pagopa.Code) (*Picture, error) {
	text, err := c.QR()
	if err != nil {
		return nil, err
	}
	drawn, err := qr.Encode(text, qr.M, qr.Unicode)
	if err != nil {
		return nil, errUndrawn
	}
	p := take(drawn, quietQR)
	p.Title, p.Width = "Codice QR dell'avviso di pagamento "+grouped(c.Notice), widthQR
	return p, nil
}

// DataMatrix is the Data Matrix of the notice's postal form, 48 to 64 modules wide, of 0.35 mm each. It is [pagopa.ErrInvalid] for
// what [pagopa.Code.DataMatrix] refuses.
func DataMatrix(c pagopa.Code, postalAccount string) (*Picture, error) {
	text, err := c.DataMatrix(postalAccount)
	if err != nil {
		return nil, err
	}
	drawn, err := datamatrix.Encode(text)
	if err != nil {
		return nil, errUndrawn
	}
	p := take(drawn, quietDataMatrix)
	p.Title, p.Width = "Data Matrix dell'avviso di pagamento "+grouped(c.Notice), p.size*widthModule
	return p, nil
}

// errUndrawn takes the place of an error of the library, which may quote the text.
var errUndrawn = fmt.Errorf("%w: the code cannot be drawn", pagopa.ErrInvalid)

// take copies the modules of a drawn code.
func take(drawn image.Image, quiet int) *Picture {
	b := drawn.Bounds()
	p := &Picture{size: b.Dx(), quiet: quiet, dark: make([]bool, 0, b.Dx()*b.Dy())}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			light, _, _, _ := drawn.At(x, y).RGBA()
			p.dark = append(p.dark, light == 0)
		}
	}
	return p
}

// grouped is the number as on paper: four digits, a blank, and so on.
func grouped(n pagopa.NoticeNumber) string {
	s := string(n)
	return s[:4] + " " + s[4:8] + " " + s[8:12] + " " + s[12:16] + " " + s[16:]
}

var errWidth = fmt.Errorf("%w: a code is 1 to 1,000,000 micrometres wide", pagopa.ErrInvalid)

// across is how wide the picture is with its quiet zone, in modules.
func (p *Picture) across() int { return p.size + 2*p.quiet }

func (p *Picture) checkWidth() error {
	if p.Width < 1 || p.Width > 1_000_000 {
		return errWidth
	}
	return nil
}
