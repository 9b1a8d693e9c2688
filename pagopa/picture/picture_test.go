package picture_test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/internal/notices"
	"github.com/appio-go/appio/pagopa/picture"
)

// run returns what a program writes to its standard output.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", name, err, failed.String())
	}
	return string(out), nil
}

// A kind is one of the two codes, and how it is read by others.
type kind struct {
	draw     func(notices.Notice) (*picture.Picture, error)
	text     func(notices.Notice) (string, error)
	read     func(t *testing.T, file string) (string, error)
	programs []string
}

var kinds = map[string]kind{
	"QR": {
		draw: func(n notices.Notice) (*picture.Picture, error) { return picture.QR(n.Code) },
		text: func(n notices.Notice) (string, error) { return n.Code.QR() },
		read: func(t *testing.T, file string) (string, error) {
			text, err := run(t, "zbarimg", "--quiet", "--raw", "--nodbus", "-Sdisable", "-Sqrcode.enable", file)
			return strings.TrimSuffix(text, "\n"), err
		},
		programs: []string{"zbarimg", "rsvg-convert"},
	},
	"DataMatrix": {
		draw: func(n notices.Notice) (*picture.Picture, error) { return picture.DataMatrix(n.Code, n.Account) },
		text: func(n notices.Notice) (string, error) { return n.Code.DataMatrix(n.Account) },
		read: func(t *testing.T, file string) (string, error) {
			return run(t, "dmtxread", "--stop-after=1", "--milliseconds=20000", file)
		},
		programs: []string{"dmtxread", "rsvg-convert"},
	},
}

// TestOthersRead has programs of others read the pictures of 200 made-up notices, or of ITEST_COUNT: as PNG of several resolutions,
// and as SVG once it is drawn.
func TestOthersRead(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			form.Need(t, k.programs...)
			seed := form.Seed(t)
			read := 0.0
			for i, more := uint64(0), form.Rounds(t, 0, 200, 10); more(); i++ {
				r := rand.New(rand.NewPCG(seed, i))
				n := notices.Random(r)
				want, err := k.text(n)
				require.NoError(t, err)
				for _, file := range draw(t, k, n, 3+r.IntN(6)) {
					got, err := k.read(t, file)
					require.NoError(t, err, "notice %d, %s", i, filepath.Base(file))
					require.Equal(t, want, got, "notice %d, %s", i, filepath.Base(file))
					read++
				}
			}
			form.Figures(t, map[string]float64{"pictures": read})
		})
	}
}

// draw returns the files of a notice's code: its PNG, and its SVG drawn by another program.
func draw(t *testing.T, k kind, n notices.Notice, pixels int) (files []string) {
	t.Helper()
	p, err := k.draw(n)
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name string, b []byte, err error) string {
		require.NoError(t, err)
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, b, 0o600))
		return file
	}
	b, err := p.PNG(pixels)
	config, configErr := png.DecodeConfig(bytes.NewReader(b))
	require.NoError(t, configErr)
	files = append(files, write("direct.png", b, err))
	b, err = p.SVG()
	drawn := filepath.Join(dir, "svg.png")
	_, err = run(t, "rsvg-convert", "--width", fmt.Sprint(config.Width), "--output", drawn, write("picture.svg", b, err))
	require.NoError(t, err)
	return append(files, drawn)
}

// The programs do not read what is drawn wrongly: here one module in ten is of the other colour, which no error correction mends.
func TestOthersDoNotReadWhatIsWrong(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			form.Need(t, k.programs...)
			const pixels = 4
			r := rand.New(rand.NewPCG(1, 2))
			file := draw(t, k, notices.Random(r), pixels)[0]
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			m, err := png.Decode(bytes.NewReader(b))
			require.NoError(t, err)
			drawn := m.(*image.Paletted)
			across := drawn.Rect.Dx() / pixels
			for y := 5; y < across-5; y++ {
				for x := 5; x < across-5; x++ {
					if r.IntN(10) > 0 {
						continue
					}
					for i := range pixels * pixels {
						drawn.Pix[(y*pixels+i/pixels)*drawn.Stride+x*pixels+i%pixels] ^= 1
					}
				}
			}
			var wrong bytes.Buffer
			require.NoError(t, png.Encode(&wrong, drawn))
			require.NoError(t, os.WriteFile(file, wrong.Bytes(), 0o600))
			text, err := k.read(t, file)
			require.True(t, err != nil || text == "", "it reads %q", text)
		})
	}
}
