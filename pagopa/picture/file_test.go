package picture_test

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/pagopa/picture"
)

var sample = pagopa.Code{
	RPTID:  pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"},
	Amount: 150_00,
	Debtor: "RSSMRA85M10H501S",
	Name:   "Mario Rossi",
	Reason: "TARI 2026, prima rata",
}

func drawQR(t testing.TB) *picture.Picture {
	t.Helper()
	p, err := picture.QR(sample)
	require.NoError(t, err)
	return p
}

func drawDataMatrix(t testing.TB) *picture.Picture {
	t.Helper()
	p, err := picture.DataMatrix(sample, "16302093")
	require.NoError(t, err)
	return p
}

// modules returns the picture as a reader sees it, with its quiet zone: from a PNG of one pixel for a module.
func modules(t testing.TB, p *picture.Picture) (dark func(x, y int) bool, across int) {
	t.Helper()
	b, err := p.PNG(1)
	require.NoError(t, err)
	m, err := png.Decode(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, m.Bounds().Dx(), m.Bounds().Dy())
	return func(x, y int) bool { return isDark(t, m, x, y) }, m.Bounds().Dx()
}

func isDark(t testing.TB, m image.Image, x, y int) bool {
	r, g, b, a := m.At(x, y).RGBA()
	require.Equal(t, r, g)
	require.Equal(t, r, b)
	require.EqualValues(t, 0xffff, a)
	require.Contains(t, []uint32{0, 0xffff}, r, "neither black nor white")
	return r == 0
}

func TestQRIsWhatPagoPAAsksFor(t *testing.T) {
	t.Parallel()
	for _, amount := range []pagopa.Amount{1, 11, 150_00, pagopa.MaxAmount} { // the shortest text and the longest
		c := sample
		c.Amount = amount
		p, err := picture.QR(c)
		require.NoError(t, err)
		require.Equal(t, 25_000, p.Width)
		dark, across := modules(t, p)
		require.Equal(t, 4+33+4, across, "version 4, and the quiet zone")
		for i := range across {
			for _, z := range []int{0, 1, 2, 3, across - 4, across - 3, across - 2, across - 1} {
				require.False(t, dark(i, z) || dark(z, i), "the quiet zone")
			}
		}
		require.True(t, dark(4, 4) && dark(across-5, 4) && dark(4, across-5))
		// The error correction is told by the first two modules of the ninth row: dark and light for M.
		require.True(t, dark(4, 4+8))
		require.False(t, dark(4+1, 4+8))
	}
}

func TestDataMatrixHasItsBorders(t *testing.T) {
	t.Parallel()
	p := drawDataMatrix(t)
	dark, across := modules(t, p)
	size := across - 4
	require.Equal(t, 64, size)
	require.Equal(t, 64*350, p.Width)
	for i := range size {
		require.True(t, dark(2, 2+i), "the left border is dark")
		require.True(t, dark(2+i, 2+size-1), "the lower border is dark")
		require.Equal(t, i%2 == 0, dark(2+i, 2), "the upper border alternates")
		require.Equal(t, i%2 == 1, dark(2+size-1, 2+i), "the right border alternates")
	}
	for i := range across {
		for _, z := range []int{0, 1, across - 2, across - 1} {
			require.False(t, dark(i, z) || dark(z, i), "the quiet zone")
		}
	}
}

func TestPNG(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]*picture.Picture{"QR": drawQR(t), "DataMatrix": drawDataMatrix(t)} {
		want, across := modules(t, p)
		for _, pixels := range []int{1, 3, picture.MaxPixels} {
			b, err := p.PNG(pixels)
			require.NoError(t, err, name)
			m, err := png.Decode(bytes.NewReader(b))
			require.NoError(t, err, name)
			require.Equal(t, image.Rect(0, 0, across*pixels, across*pixels), m.Bounds(), name)
			if pixels < 4 {
				for y := range across * pixels {
					for x := range across * pixels {
						require.Equal(t, want(x/pixels, y/pixels), isDark(t, m, x, y), "%s at %d, %d", name, x, y)
					}
				}
			}
			// The resolution makes the code, without its zone, as wide as it says.
			i := bytes.Index(b, []byte("pHYs"))
			require.Equal(t, 8+25+4, i, "%s: the chunk after the first", name)
			require.EqualValues(t, 9, binary.BigEndian.Uint32(b[i-4:]))
			x, y := binary.BigEndian.Uint32(b[i+4:]), binary.BigEndian.Uint32(b[i+8:])
			require.Equal(t, x, y)
			require.EqualValues(t, 1, b[i+12], "the unit is the metre")
			require.Equal(t, crc32.ChecksumIEEE(b[i:i+13]), binary.BigEndian.Uint32(b[i+13:]))
			quiet := map[string]int{"QR": 4, "DataMatrix": 2}[name]
			require.InEpsilon(t, float64(p.Width)/1e6, float64((across-2*quiet)*pixels)/float64(x), 0.001, name)
		}
		for _, pixels := range []int{0, -1, picture.MaxPixels + 1} {
			b, err := p.PNG(pixels)
			require.ErrorIs(t, err, pagopa.ErrInvalid)
			require.Nil(t, b)
		}
	}
}

// A drawing is what an SVG of this package consists of; anything else in it is an error.
type drawing struct {
	Attr  []xml.Attr `xml:",any,attr"`
	Title string     `xml:"title"`
	Paths []struct {
		Fill string     `xml:"fill,attr"`
		D    string     `xml:"d,attr"`
		Else []xml.Attr `xml:",any,attr"`
	} `xml:"path"`
	Else []struct {
		XMLName xml.Name
	} `xml:",any"`
}

func readSVG(b []byte) (drawing, error) {
	var d drawing
	dec := xml.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&d); err != nil {
		return d, err
	}
	if _, err := dec.Token(); err != nil && err != io.EOF {
		return d, err
	}
	if len(d.Else) > 0 || len(d.Paths) != 2 || len(d.Paths[0].Else)+len(d.Paths[1].Else) > 0 {
		return d, fmt.Errorf("there is more or less in it: %v", d.Else)
	}
	allowed := " xmlns width height viewBox role shape-rendering "
	for _, a := range d.Attr {
		if !strings.Contains(allowed, " "+a.Name.Local+" ") {
			return d, fmt.Errorf("attribute %s", a.Name.Local)
		}
	}
	return d, nil
}

func attribute(d drawing, name string) string {
	for _, a := range d.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func TestSVG(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		p               *picture.Picture
		width, title    string
		viewBox, ground string
	}{
		"QR": {drawQR(t), "31.061mm", "Codice QR dell'avviso di pagamento 3020 3200 2700 0002 51", "0 0 41 41", "M0 0h41v41H0z"}, // 25 mm * 41/33
		"DataMatrix": {drawDataMatrix(t), "23.800mm", "Data Matrix dell'avviso di pagamento 3020 3200 2700 0002 51", "0 0 68 68",
			"M0 0h68v68H0z"}, // 68 * 0.35 mm
	} {
		b, err := c.p.SVG()
		require.NoError(t, err, name)
		for _, private := range []string{"RSSM", "ROSSI", "Rossi", "TARI", "PAGOPA", "15000"} {
			require.NotContains(t, string(b), private, name)
		}
		d, err := readSVG(b)
		require.NoError(t, err, name)
		require.Equal(t, c.title, d.Title, name)
		require.Equal(t, "img", attribute(d, "role"), name)
		require.Equal(t, c.width, attribute(d, "width"), name)
		require.Equal(t, c.width, attribute(d, "height"), name)
		require.Equal(t, c.viewBox, attribute(d, "viewBox"), name)
		require.Equal(t, "#fff", d.Paths[0].Fill)
		require.Equal(t, c.ground, d.Paths[0].D)
		require.Equal(t, "#000", d.Paths[1].Fill)

		dark := map[image.Point]bool{}
		for run := range strings.SplitSeq(strings.TrimSuffix(d.Paths[1].D, "z"), "z") {
			var x, y, length, back int
			_, err := fmt.Sscanf(run, "M%d %dh%dv1h-%d", &x, &y, &length, &back)
			require.NoError(t, err, run)
			require.Equal(t, length, back, run)
			for i := range length {
				dark[image.Pt(x+i, y)] = true
			}
		}
		want, across := modules(t, c.p)
		for y := range across {
			for x := range across {
				require.Equal(t, want(x, y), dark[image.Pt(x, y)], "%s at %d, %d", name, x, y)
			}
		}
	}
}

func TestSVGWithAnotherTitleAndWidth(t *testing.T) {
	t.Parallel()
	p := drawQR(t)
	p.Title, p.Width = `</title><script>alert("1")</script>`, 33_000
	b, err := p.SVG()
	require.NoError(t, err)
	require.NotContains(t, string(b), "<script")
	d, err := readSVG(b)
	require.NoError(t, err)
	require.Equal(t, p.Title, d.Title)
	require.Equal(t, "41.000mm", attribute(d, "width"))
	for _, width := range []int{0, -25_000, 1_000_001} {
		p.Width = width
		b, err := p.SVG()
		require.ErrorIs(t, err, pagopa.ErrInvalid)
		require.Nil(t, b)
		b, err = p.PNG(3)
		require.ErrorIs(t, err, pagopa.ErrInvalid)
		require.Nil(t, b)
	}
}

func TestWhatCannotBeWrittenIsNotDrawn(t *testing.T) {
	t.Parallel()
	c := sample
	c.Amount = 0
	p, err := picture.QR(c)
	require.ErrorIs(t, err, pagopa.ErrInvalid)
	require.Nil(t, p)
	p, err = picture.DataMatrix(c, "16302093")
	require.ErrorIs(t, err, pagopa.ErrInvalid)
	require.Nil(t, p)
	p, err = picture.DataMatrix(sample, "")
	require.ErrorIs(t, err, pagopa.ErrInvalid)
	require.Nil(t, p)
}

func FuzzPicture(f *testing.F) {
	f.Add("Codice QR", 25_000, 3)
	f.Add("</title><script>", 1, 1)
	f.Add("\xff\x00\r\n]]>", 1_000_000, 40)
	f.Add("", 0, 0)
	f.Fuzz(func(t *testing.T, title string, width, pixels int) {
		p := drawQR(t)
		p.Title, p.Width = title, width
		b, err := p.SVG()
		if err == nil {
			if _, err := readSVG(b); err != nil {
				t.Fatalf("title %q: %v", title, err)
			}
		}
		if fits := width >= 1 && width <= 1_000_000; fits != (err == nil) {
			t.Fatalf("width %d: %v", width, err)
		}
		b, err = p.PNG(pixels)
		if fits := width >= 1 && width <= 1_000_000 && pixels >= 1 && pixels <= 40; fits != (err == nil) {
			t.Fatalf("width %d, %d pixels: %v", width, pixels, err)
		}
		if err == nil {
			if _, err := png.DecodeConfig(bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkQR(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := drawQR(b).SVG(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDataMatrix(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := drawDataMatrix(b).SVG(); err != nil {
			b.Fatal(err)
		}
	}
}
