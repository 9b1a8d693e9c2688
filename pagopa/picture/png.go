package picture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"

	"github.com/appio-go/appio/pagopa"
)

// MaxPixels is the most pixels that a module of a PNG can have on each side.
const MaxPixels = 40

var errPixels = fmt.Errorf("%w: a module has 1 to %d pixels", pagopa.ErrInvalid, MaxPixels)

// PNG is the picture with as many pixels for each side of a module: 1 to [MaxPixels]; pagoPA asks for 3 in a QR code. The file says how
// large it is to be printed.
func (p *Picture) PNG(pixels int) ([]byte, error) {
	if err := p.checkWidth(); err != nil {
		return nil, err
	}
	if pixels < 1 || pixels > MaxPixels {
		return nil, errPixels
	}
	n := p.across() * pixels
	drawn := image.NewPaletted(image.Rect(0, 0, n, n), color.Palette{color.White, color.Black})
	for y := range p.size * pixels {
		row := drawn.Pix[(y+p.quiet*pixels)*drawn.Stride+p.quiet*pixels:]
		for x := range p.size * pixels {
			if p.dark[y/pixels*p.size+x/pixels] {
				row[x] = 1
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, drawn); err != nil {
		return nil, err
	}
	return withResolution(b.Bytes(), int64(p.size*pixels)*1_000_000/int64(p.Width)), nil
}

// withResolution puts the number of pixels in a metre, a pHYs chunk, behind the first chunk, which is always there and always as long.
func withResolution(file []byte, metre int64) []byte {
	const first = 8 + 4 + 4 + 13 + 4 // signature; length, type, data and checksum of IHDR
	chunk := make([]byte, 0, 4+4+9+4)
	chunk = binary.BigEndian.AppendUint32(chunk, 9)
	chunk = append(chunk, "pHYs"...)
	chunk = binary.BigEndian.AppendUint32(chunk, uint32(metre))
	chunk = binary.BigEndian.AppendUint32(chunk, uint32(metre))
	chunk = append(chunk, 1) // per metre
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	return append(append(append(make([]byte, 0, len(file)+len(chunk)), file[:first]...), chunk...), file[first:]...)
}
