package store

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// The stream that Backup writes and Restore reads, if a store has no backup of its own. All numbers are big-endian or
// uvarint; strings are their length as uvarint, and their bytes.
//
//	stream = magic (8 bytes) version (4) crc (4)  frame ...
//	frame  = length of body (4) crc (4) body
//	body   = kind (1) ...
//	first  = 'O' owner rev records      the first page of an owner; the same owner again: forget its pages so far
//	more   = 'M' records                its next page
//	end    = 'E' owners frames          how many there were; nothing follows
//	record = key lane due value         due in microseconds since 1970, 0 if not scheduled
//
// A crc is the CRC-32C of all lengths and bodies from the beginning to here, or of magic and version. So a frame that is
// damaged, lost, doubled or moved is noticed, and a stream cut short has no end. A page is at most one change: up to
// pageRecords records and MaxChange bytes. Later versions keep the first 16 bytes as they are.
const (
	magic         = "appiobkp"
	formatVersion = 1
	headerLen     = 16
	maxFrame      = MaxChange + pageRecords*32 + 64

	kindFirst, kindMore, kindEnd = 'O', 'M', 'E'
)

const (
	pageRecords = 256 // records of one View
	firstPage   = 16  // records of the first View of an owner; most have fewer, and few pages are large
	pageTries   = 10  // times that an owner is begun again because it changed
	ownersPage  = 1000
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Backup writes a copy of s to w. If s, or a store that it wraps and tells by a method Unwrap() Store, has a method
// Backup(context.Context, io.Writer) error, that one does it, in a form of its own. Otherwise owner after owner is read, in
// pages, and written as a stream for [Restore].
//
// It may run while s is at work. Each owner is copied as it was at one moment; two owners may be of different ones, and
// owners that had no records are not copied, nor are their revisions. An owner of many pages that changes all the while is
// [ErrConflict], and the copy useless, as it is after any error.
func Backup(ctx context.Context, s Store, w io.Writer) error {
	for inner := s; inner != nil; {
		if own, ok := inner.(interface {
			Backup(context.Context, io.Writer) error
		}); ok {
			return own.Backup(ctx, w)
		}
		wrapper, ok := inner.(interface{ Unwrap() Store })
		if !ok {
			break
		}
		inner = wrapper.Unwrap()
	}
	if err := backup(ctx, s, w); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

func backup(ctx context.Context, s Store, w io.Writer) error {
	out := &frameWriter{w: bufio.NewWriterSize(w, 1<<16)}
	if err := out.header(); err != nil {
		return err
	}
	var after Owner
	owners := uint64(0)
	for {
		names, err := s.Owners(ctx, after, ownersPage)
		if err != nil {
			return err
		}
		for _, name := range names {
			copied, err := backupOwner(ctx, s, out, name)
			if err != nil {
				return err
			}
			if copied {
				owners++
			}
		}
		if len(names) < ownersPage {
			break
		}
		after = names[len(names)-1]
	}
	body := binary.AppendUvarint([]byte{kindEnd}, owners)
	if err := out.frame(binary.AppendUvarint(body, out.frames)); err != nil {
		return err
	}
	return out.w.Flush()
}

// backupOwner writes the pages of one owner, all of one revision, and begins again when that changes. It reports whether
// it wrote any.
func backupOwner(ctx context.Context, s Store, out *frameWriter, name Owner) (bool, error) {
	var rev uint64
	tries, begun := 0, false
	for r := (Range{Limit: firstPage}); ; {
		got, err := s.View(ctx, []Read{{Owner: name, Range: r}})
		if err != nil {
			return false, err
		}
		page := got[0]
		switch {
		case r.From == "":
			if len(page.Records) == 0 && !begun { // deleted since it was listed
				return false, nil
			}
			rev = page.Rev
		case page.Rev != rev:
			if tries++; tries == pageTries {
				return false, fmt.Errorf("%w: an owner changed %d times while it was read", ErrConflict, tries)
			}
			r = Range{Limit: firstPage}
			continue
		}
		if err := out.page(name, rev, page.Records, r.From == ""); err != nil {
			return false, err
		}
		begun = true
		if len(page.Records) < r.Limit {
			return true, nil
		}
		r = Range{From: page.Records[len(page.Records)-1].Key + "\x00", Limit: pageRecords}
	}
}

// A frameWriter writes the frames of a stream.
type frameWriter struct {
	w      *bufio.Writer
	crc    uint32
	frames uint64
	body   []byte
}

func (f *frameWriter) header() error {
	head := binary.BigEndian.AppendUint32([]byte(magic), formatVersion)
	f.crc = crc32.Update(0, castagnoli, head)
	_, err := f.w.Write(binary.BigEndian.AppendUint32(head, f.crc))
	return err
}

func (f *frameWriter) frame(body []byte) error {
	length := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	f.crc = crc32.Update(crc32.Update(f.crc, castagnoli, length), castagnoli, body)
	f.frames++
	for _, part := range [][]byte{length, binary.BigEndian.AppendUint32(nil, f.crc), body} {
		if _, err := f.w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// page writes records as one frame, or more if they are more than one change may have.
func (f *frameWriter) page(name Owner, rev uint64, records []Record, first bool) error {
	for first || len(records) > 0 {
		body, size, n := append(f.body[:0], kindMore), len(name), 0
		if first {
			body[0] = kindFirst
			body = appendString(body, string(name))
			body = binary.AppendUvarint(body, rev)
			first = false
		}
		for ; n < len(records); n++ {
			r := &records[n]
			if size += len(r.Key) + len(r.Value); size > MaxChange && n > 0 {
				break
			}
			body = appendString(body, string(r.Key))
			body = binary.AppendUvarint(body, uint64(r.Lane))
			due := int64(0)
			if !r.Due.IsZero() {
				due = r.Due.UnixMicro()
			}
			body = binary.AppendUvarint(body, uint64(due))
			body = binary.AppendUvarint(body, uint64(len(r.Value)))
			body = append(body, r.Value...)
		}
		if err := f.frame(body); err != nil {
			return err
		}
		f.body, records = body, records[n:]
	}
	return nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Restore reads what [Backup] wrote as a stream, and puts it into s, which has to be empty: else it is [ErrInvalid], and s
// is left alone. A stream that is damaged, cut short or followed by anything is [ErrCorrupt], one of a later version
// [ErrNewer]. After an error s has a part of the stream, and is of no use.
//
// Owners have all their records, but not their revisions: those begin anew, and count the pages that were put.
func Restore(ctx context.Context, r io.Reader, s Store) error {
	if err := restore(ctx, r, s); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

func restore(ctx context.Context, r io.Reader, s Store) error {
	there, err := s.Owners(ctx, "", 1)
	if err != nil {
		return err
	}
	if len(there) > 0 {
		return fmt.Errorf("%w: the store is not empty", ErrInvalid)
	}
	in := &frameReader{r: bufio.NewReaderSize(r, 1<<16)}
	if err := in.header(); err != nil {
		return err
	}
	out := &restorer{s: s}
	for {
		body, err := in.frame()
		if err != nil {
			return err
		}
		kind, d := body[0], &bodyReader{body: body[1:]}
		switch kind {
		case kindFirst:
			name := Owner(d.string(MaxKey))
			d.uvarint() // the revision that it had
			if err := out.begin(ctx, name); err != nil {
				return err
			}
		case kindMore:
			if out.owner == "" {
				return corrupt("a page without an owner")
			}
		case kindEnd:
			owners, frames := d.uvarint(), d.uvarint()
			if d.bad || len(d.body) > 0 || owners != out.owners || frames != in.frames-1 {
				return corrupt("a wrong end")
			}
			if _, err := in.r.ReadByte(); err != io.EOF {
				return orCorrupt(err, "something after the end")
			}
			return out.flush(ctx)
		default:
			return corrupt("an unknown frame")
		}
		records, err := d.records()
		if err != nil {
			return err
		}
		if err := out.put(ctx, records); err != nil {
			return err
		}
	}
}

// A restorer puts owners into a store, many with one Commit.
type restorer struct {
	s       Store
	owner   Owner // the one whose pages come
	rev     uint64
	last    Key // of its records
	owners  uint64
	changes []Change
	size    int
}

// What is put with one Commit.
const (
	restoreChanges = 512
	restoreSize    = 8 << 20 // bytes of keys and values
)

// begin takes the next owner. The same one again is emptied first.
func (r *restorer) begin(ctx context.Context, name Owner) error {
	if name < r.owner || name == "" {
		return corrupt("owners not in order")
	}
	r.last = ""
	if name > r.owner {
		r.owner, r.rev = name, 0
		r.owners++
		return nil
	}
	if err := r.flush(ctx); err != nil {
		return err
	}
	for {
		got, err := r.s.View(ctx, []Read{{Owner: name, Range: Range{Limit: pageRecords, KeysOnly: true}}})
		if err != nil {
			return err
		}
		if len(got[0].Records) == 0 {
			return nil
		}
		c := Change{Owner: name, Rev: r.rev}
		for _, record := range got[0].Records {
			c.Delete = append(c.Delete, record.Key)
		}
		r.changes = append(r.changes, c)
		r.rev++
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
}

// put adds a page of the owner.
func (r *restorer) put(ctx context.Context, records []Record) error {
	c := Change{Owner: r.owner, Rev: r.rev, Put: records}
	size := 0
	for i := range records {
		if records[i].Key <= r.last {
			return corrupt("keys not in order")
		}
		r.last = records[i].Key
		size += len(records[i].Key) + len(records[i].Value)
	}
	if err := Check([]Change{c}); err != nil {
		return corrupt("a page outside the limits")
	}
	if n := len(r.changes); n > 0 && (r.changes[n-1].Owner == r.owner || n == restoreChanges || r.size+size > restoreSize) {
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	r.changes = append(r.changes, c)
	r.size += size
	r.rev++
	return nil
}

func (r *restorer) flush(ctx context.Context) error {
	errs, err := r.s.Commit(ctx, r.changes)
	if err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("%w: the store was changed before or meanwhile", ErrInvalid)
		}
	}
	r.changes, r.size = r.changes[:0], 0
	return nil
}

// A frameReader reads the frames of a stream.
type frameReader struct {
	r      *bufio.Reader
	crc    uint32
	frames uint64
}

func (f *frameReader) header() error {
	head := make([]byte, headerLen)
	if _, err := io.ReadFull(f.r, head); err != nil {
		return orCorrupt(err, "no header")
	}
	f.crc = crc32.Update(0, castagnoli, head[:12])
	version := binary.BigEndian.Uint32(head[8:])
	switch {
	case string(head[:8]) != magic || binary.BigEndian.Uint32(head[12:]) != f.crc || version == 0:
		return corrupt("no header")
	case version > formatVersion:
		return fmt.Errorf("%w: version %d", ErrNewer, version)
	}
	return nil
}

// frame returns the next body, which has one byte at least.
func (f *frameReader) frame() ([]byte, error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(f.r, head); err != nil {
		return nil, orCorrupt(err, "cut short")
	}
	length := binary.BigEndian.Uint32(head)
	if length < 1 || length > maxFrame {
		return nil, corrupt("a frame of a wrong length")
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(f.r, body); err != nil {
		return nil, orCorrupt(err, "cut short")
	}
	f.crc = crc32.Update(crc32.Update(f.crc, castagnoli, head[:4]), castagnoli, body)
	if f.crc != binary.BigEndian.Uint32(head[4:]) {
		return nil, corrupt("a frame with a wrong checksum")
	}
	f.frames++
	return body, nil
}

// A bodyReader reads the parts of a body. After one that is not right it is bad, and all others are empty.
type bodyReader struct {
	body []byte
	bad  bool
}

func (d *bodyReader) uvarint() uint64 {
	v, n := binary.Uvarint(d.body)
	if n <= 0 {
		d.bad, d.body = true, nil
		return 0
	}
	d.body = d.body[n:]
	return v
}

// bytes returns a part of the body, not a copy.
func (d *bodyReader) bytes(most int) []byte {
	n := d.uvarint()
	if n > uint64(most) || n > uint64(len(d.body)) {
		d.bad, d.body = true, nil
		return nil
	}
	b := d.body[:n:n]
	d.body = d.body[n:]
	return b
}

func (d *bodyReader) string(most int) string { return string(d.bytes(most)) }

// records returns all that is left, as records.
func (d *bodyReader) records() ([]Record, error) {
	var records []Record
	for len(d.body) > 0 {
		r := Record{Key: Key(d.string(MaxKey))}
		lane, due := d.uvarint(), d.uvarint()
		r.Value = d.bytes(MaxValue)
		if lane > 1<<16-1 || due >= endDue*1e6 || len(records) == pageRecords {
			d.bad = true
		}
		if d.bad {
			break
		}
		r.Lane = Lane(lane)
		if due > 0 {
			r.Due = time.UnixMicro(int64(due)).UTC()
		}
		records = append(records, r)
	}
	if d.bad {
		return nil, corrupt("a page that cannot be read")
	}
	return records, nil
}

func corrupt(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }

// orCorrupt returns an error of reading, or what it means if it is that there is no more.
func orCorrupt(err error, what string) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt(what)
	}
	return err
}
