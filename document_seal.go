package appio

import (
	"bufio"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/appio-go/appio/internal/magic"
	"github.com/appio-go/appio/store"
)

// A sealed document, format 1, is
//
//	format (1) piece...
//
// A piece is 64 KiB of the document, the last one less, or nothing of an empty one, sealed with AES-256-GCM under the document's own key. Its nonce
// is three zeros, its number (8, big endian), and 1 if it is the last; its tag covers the document's id too. So pieces cannot be left out, moved, or
// taken from elsewhere, and nothing of a piece is given out before all of it has been checked.
const (
	documentFormat = 1
	pieceSize      = 64 << 10
)

func newDocumentKey() []byte {
	key := make([]byte, keySize)
	rand.Read(key)
	return key
}

// pieces number the pieces of one document.
type pieces struct {
	aead  cipher.AEAD
	id    []byte
	count uint64
}

func newPieces(r *documentRecord) pieces {
	return pieces{aead: newAEAD(r.Key), id: []byte(r.ID)}
}

func (p *pieces) nonce(last bool) []byte {
	var n [nonceSize]byte
	binary.BigEndian.PutUint64(n[3:], p.count)
	if last {
		n[nonceSize-1] = 1
	}
	p.count++
	return n[:]
}

// A sealingReader reads a document, judges it, and gives it sealed.
type sealingReader struct {
	pieces
	from *bufio.Reader
	kind string
	left int64 // how much more it may have
	most int64

	size  int64
	sum   hash.Hash
	done  bool
	err   error
	piece []byte
	out   []byte // sealed, and not read yet
	buf   []byte
}

func newSealingReader(r io.Reader, d *documentRecord, most int64) *sealingReader {
	s := &sealingReader{pieces: newPieces(d), from: bufio.NewReaderSize(r, pieceSize), kind: d.Type, left: most, most: most, sum: sha256.New(),
		piece: make([]byte, pieceSize)}
	s.buf = append(make([]byte, 0, pieceSize+tagSize), documentFormat)
	s.out = s.buf
	return s
}

func (s *sealingReader) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.err = s.next()
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// next seals a piece; io.EOF: it was the last one.
func (s *sealingReader) next() error {
	if s.count == 0 {
		head, err := s.from.Peek(magic.Head)
		if err != nil && err != io.EOF {
			return err
		}
		if !magic.Is(s.kind, head) {
			return invalid("Document.Type", "what the document is by its first bytes")
		}
	}
	n, err := io.ReadFull(s.from, s.piece)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	if err == nil {
		if _, err = s.from.Peek(1); err == nil || err == io.EOF {
			err = errIf(err == io.EOF, io.EOF)
		}
	}
	if err != nil && err != io.EOF {
		return err
	}
	if s.left -= int64(n); s.left < 0 {
		return invalid("Document", fmt.Sprintf("at most %d bytes", s.most))
	}
	s.size += int64(n)
	s.sum.Write(s.piece[:n])
	s.done = err == io.EOF
	s.out = s.aead.Seal(s.buf[:0], s.nonce(s.done), s.piece[:n], s.id)
	return err
}

func errIf(is bool, err error) error {
	if is {
		return err
	}
	return nil
}

// An openingReader reads a sealed document.
type openingReader struct {
	pieces
	from   *bufio.Reader
	closer io.Closer
	begun  bool
	err    error
	sealed []byte
	out    []byte
}

func newOpeningReader(r io.ReadCloser, d *documentRecord) *openingReader {
	return &openingReader{pieces: newPieces(d), from: bufio.NewReaderSize(r, pieceSize), closer: r, sealed: make([]byte, pieceSize+tagSize)}
}

func (o *openingReader) Read(p []byte) (int, error) {
	for len(o.out) == 0 {
		if o.err != nil {
			return 0, o.err
		}
		o.err = o.next()
	}
	n := copy(p, o.out)
	o.out = o.out[n:]
	return n, nil
}

var errDocument = fmt.Errorf("%w: a document is not what was put", store.ErrCorrupt)

// next opens a piece; io.EOF: it was the last one.
func (o *openingReader) next() error {
	if !o.begun {
		format, err := o.from.ReadByte()
		switch {
		case err == io.EOF:
			return errDocument
		case err != nil:
			return err
		case format > documentFormat:
			return fmt.Errorf("%w: document format %d", store.ErrNewer, format)
		case format != documentFormat:
			return errDocument
		}
		o.begun = true
	}
	n, err := io.ReadFull(o.from, o.sealed)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF:
		err = io.EOF
	case err == nil:
		_, err = o.from.Peek(1)
	}
	if err != nil && err != io.EOF {
		return err
	}
	opened, bad := o.aead.Open(o.sealed[:0], o.nonce(err == io.EOF), o.sealed[:n], o.id)
	if bad != nil {
		return errDocument
	}
	o.out = opened
	return err
}

func (o *openingReader) Close() error { return o.closer.Close() }
