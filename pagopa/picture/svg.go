package picture

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// SVG is the picture as a document of its own, or to be put into a page as it is: it has no script, no style, no id, and says its
// Title to screen readers. Its size on paper is that of the code with its quiet zone, 31.061 mm for a QR code.
func (p *Picture) SVG() ([]byte, error) {
	if err := p.checkWidth(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	n := p.across()
	micrometres := (p.Width*n + p.size/2) / p.size
	mm := fmt.Sprintf("%d.%03d", micrometres/1000, micrometres%1000)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%smm" height="%smm" viewBox="0 0 %d %d" role="img" shape-rendering="crispEdges">`, mm, mm, n, n)
	b.WriteString("<title>")
	if err := xml.EscapeText(&b, []byte(p.Title)); err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, `</title><path fill="#fff" d="M0 0h%dv%dH0z"/><path fill="#000" d="`, n, n)
	for y := range p.size {
		row := p.dark[y*p.size : (y+1)*p.size]
		for x := 0; x < p.size; x++ {
			run := 0
			for x+run < p.size && row[x+run] {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x+p.quiet, y+p.quiet, run, run)
				x += run
			}
		}
	}
	b.WriteString(`"/></svg>` + "\n")
	return b.Bytes(), nil
}
