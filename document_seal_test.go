package appio

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/blob"
	"github.com/appio-go/appio/store"
)

func pdf(size int) []byte { return append([]byte("%PDF-1.7\n"), bytes.Repeat([]byte{'x'}, size-9)...) }

func testDocument() *documentRecord {
	return &documentRecord{ID: "01HZY3V7K8QZ4M5N6P7R8S9T0V", Type: "application/pdf", Key: bytes.Repeat([]byte{7}, keySize)}
}

func sealDocument(t testing.TB, d *documentRecord, content []byte) []byte {
	t.Helper()
	s := newSealingReader(bytes.NewReader(content), d, 1<<30)
	b, err := io.ReadAll(s)
	require.NoError(t, err)
	require.True(t, s.done)
	require.EqualValues(t, len(content), s.size)
	require.Equal(t, keyHash(string(content)), s.sum.Sum(nil))
	return b
}

func openDocument(sealed []byte, d *documentRecord) ([]byte, error) {
	r := newOpeningReader(io.NopCloser(bytes.NewReader(sealed)), d)
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

func TestSealedDocuments(t *testing.T) {
	t.Parallel()
	d := testDocument()
	for _, n := range []int{9, 10, 1000, pieceSize - 1, pieceSize, pieceSize + 1, 2 * pieceSize, 3*pieceSize + 5} {
		sealed := sealDocument(t, d, pdf(n))
		require.Len(t, sealed, 1+n+tagSize*max((n+pieceSize-1)/pieceSize, 1), n)
		got, err := openDocument(sealed, d)
		require.NoError(t, err)
		require.Equal(t, pdf(n), got, n)
		require.NotContains(t, string(sealed), "%PDF")

		slow := newOpeningReader(io.NopCloser(iotest.OneByteReader(bytes.NewReader(sealed))), d)
		got, err = io.ReadAll(iotest.HalfReader(slow))
		require.NoError(t, err)
		require.Equal(t, pdf(n), got)
	}

	t.Run("look as they always did", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, "011518fd261971cc3027", hex.EncodeToString(sealDocument(t, d, pdf(9)))[:20])
		owner := store.Owner(pseudonym(citizenOwner, bytes.Repeat([]byte{0xfb, 0xff}, 8)))
		require.Equal(t, blob.ID("fbfffbfffbfffbfffbfffbfffbfffbff-01hzy3v7k8qz4m5n6p7r8s9t0v"), blobID(owner, d.ID))
	})

	t.Run("are given out only as they were put", func(t *testing.T) {
		t.Parallel()
		content := pdf(3 * pieceSize)
		sealed := sealDocument(t, d, content)
		piece := func(i int) []byte {
			return sealed[1+i*(pieceSize+tagSize) : min(1+(i+1)*(pieceSize+tagSize), len(sealed))]
		}
		for name, damaged := range map[string][]byte{
			"nothing":          {},
			"the format alone": sealed[:1],
			"format 0":         append([]byte{0}, sealed[1:]...),
			"cut in a piece":   sealed[:len(sealed)-1],
			"without the last": sealed[:len(sealed)-pieceSize-tagSize],
			"one piece":        sealed[:1+pieceSize+tagSize],
			"a byte more":      append(bytes.Clone(sealed), 0),
			"a piece twice":    bytes.Join([][]byte{sealed[:1], piece(0), piece(0), piece(1), piece(2)}, nil),
			"in another order": bytes.Join([][]byte{sealed[:1], piece(1), piece(0), piece(2)}, nil),
			"a piece left out": bytes.Join([][]byte{sealed[:1], piece(0), piece(2)}, nil),
		} {
			got, err := openDocument(damaged, d)
			require.ErrorIs(t, err, store.ErrCorrupt, name)
			require.True(t, bytes.HasPrefix(content, got), "%s: what was given before is of the document", name)
			require.Zero(t, len(got)%pieceSize, name)
		}
		for at := 0; at < len(sealed); at += 4999 {
			damaged := bytes.Clone(sealed)
			damaged[at] ^= 0x80
			_, err := openDocument(damaged, d)
			require.True(t, errors.Is(err, store.ErrCorrupt) || at == 0 && errors.Is(err, store.ErrNewer), at)
		}
		other := *d
		other.ID = "01HZY3V7K8QZ4M5N6P7R8S9T0W"
		_, err := openDocument(sealed, &other)
		require.ErrorIs(t, err, store.ErrCorrupt, "another document's")
		other = *d
		other.Key = bytes.Repeat([]byte{8}, keySize)
		_, err = openDocument(sealed, &other)
		require.ErrorIs(t, err, store.ErrCorrupt)
	})

	t.Run("are refused when they are put, if they are too long or something else", func(t *testing.T) {
		t.Parallel()
		broken := errors.New("broken")
		for name, c := range map[string]struct {
			from io.Reader
			want error
		}{
			"too long by a byte": {bytes.NewReader(pdf(1001)), ErrInvalid},
			"endless":            {io.MultiReader(bytes.NewReader(pdf(9)), endlessReader{}), ErrInvalid},
			"HTML":               {strings.NewReader("<html>"), ErrInvalid},
			"nothing":            {strings.NewReader(""), ErrInvalid},
			"a blank before":     {strings.NewReader(" %PDF-1.7"), ErrInvalid},
			"broken at once":     {iotest.ErrReader(broken), broken},
			"broken later":       {io.MultiReader(bytes.NewReader(pdf(500)), iotest.ErrReader(broken)), broken},
			"broken at a piece":  {io.MultiReader(bytes.NewReader(pdf(pieceSize)), iotest.ErrReader(broken)), broken},
		} {
			s := newSealingReader(c.from, d, 1000)
			if name == "broken at a piece" {
				s = newSealingReader(c.from, d, pieceSize)
			}
			_, err := io.ReadAll(s)
			require.ErrorIs(t, err, c.want, name)
			require.False(t, s.done, name)
		}
		s := newSealingReader(bytes.NewReader(pdf(1000)), d, 1000)
		_, err := io.ReadAll(s)
		require.NoError(t, err, "as long as it may be")
	})
}

type endlessReader struct{}

func (endlessReader) Read(p []byte) (int, error) { return len(p), nil }

// FuzzOpenDocument opens bytes that somebody put where a document was.
func FuzzOpenDocument(f *testing.F) {
	d := testDocument()
	content := pdf(pieceSize + 100)
	whole := sealDocument(f, d, content)
	f.Add(whole)
	f.Add(whole[:100])
	f.Add([]byte{1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		got, err := openDocument(sealed, d)
		switch {
		case err == nil:
			require.Equal(t, whole, sealed, "nobody sealed it")
			require.Equal(t, content, got)
		case !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrNewer):
			t.Fatal(err)
		}
	})
}

// FuzzBlobID reads names that somebody else may have given.
func FuzzBlobID(f *testing.F) {
	f.Add("fbfffbfffbfffbfffbfffbfffbfffbff-01hzy3v7k8qz4m5n6p7r8s9t0v")
	f.Add("-")
	f.Add("FB-01HZ")
	f.Fuzz(func(t *testing.T, name string) {
		if owner, id, ok := ofBlob(blob.ID(name)); ok {
			require.Equal(t, blob.ID(name), blobID(owner, id))
			require.True(t, blob.ID(name).Valid())
		}
	})
}
