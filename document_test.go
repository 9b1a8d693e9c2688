package appio_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/blob"
	"github.com/appio-go/appio/blob/memblob"
	"github.com/appio-go/appio/fiscalcode"
)

// certificate is a PDF file, as far as its first bytes go.
func certificate(size int) []byte {
	return append([]byte("%PDF-1.7\n"), bytes.Repeat([]byte("certificato "), size/12+1)[:size-9]...)
}

// newArchive is an office that keeps documents.
func newArchive(t *testing.T, changes ...func(*appio.Options)) (*town, *memblob.Store) {
	t.Helper()
	blobs := memblob.New()
	return newOffice(t, append([]func(*appio.Options){func(o *appio.Options) { o.Documents = blobs }}, changes...)...), blobs
}

var certificateOf = appio.Document{Name: "Certificato.pdf", Type: "application/pdf"}

func (w *town) putDocument(s *appio.Sender, to fiscalcode.Person, content []byte) appio.Document {
	w.t.Helper()
	d, err := s.PutDocument(w.t.Context(), to, certificateOf, bytes.NewReader(content))
	require.NoError(w.t, err)
	return d
}

func withDocuments(ds ...appio.Document) func(*appio.Message) {
	return func(m *appio.Message) { m.Documents = ds }
}

func readDocument(ctx context.Context, c *appio.Citizen, id appio.MessageID, doc appio.DocumentID) (appio.Document, []byte, error) {
	d, r, err := c.OpenDocument(ctx, id, doc)
	if err != nil {
		return d, nil, err
	}
	b, err := io.ReadAll(r)
	return d, b, errors.Join(err, r.Close())
}

func blobs(t *testing.T, s blob.Store) (ids []blob.ID) {
	t.Helper()
	for info, err := range s.All(t.Context()) {
		require.NoError(t, err)
		ids = append(ids, info.ID)
	}
	return ids
}

func content(t *testing.T, s blob.Store, id blob.ID) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), id)
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return b
}

// rename puts a document under another name.
func rename(t *testing.T, s blob.Store, id blob.ID, to func(blob.ID) blob.ID) {
	t.Helper()
	b := content(t, s, id)
	require.NoError(t, s.Delete(t.Context(), id))
	require.NoError(t, s.Put(t.Context(), to(id), bytes.NewReader(b)))
}

// unmarked is the name of a document before names had marks.
func unmarked(id blob.ID) blob.ID { return id[:strings.LastIndexByte(string(id), '-')] }

func TestDocuments(t *testing.T) {
	t.Parallel()

	t.Run("come with a message, and are read as they were put", func(t *testing.T) {
		t.Parallel()
		w, kept := newArchive(t)
		ctx, s, c := t.Context(), w.put(), w.enrol(giuseppe, appio.Auto)
		content := certificate(200_000)
		sum := sha256.Sum256(content)
		first, second := w.putDocument(s, giuseppe, content), w.putDocument(s, giuseppe, certificate(9))
		require.Equal(t, appio.Document{ID: first.ID, Name: "Certificato.pdf", Type: "application/pdf", Size: 200_000, SHA256: hex.EncodeToString(sum[:]),
			Token: first.Token}, first)
		id := w.send(s, messageTo(giuseppe, withDocuments(first, second)))

		m, err := c.Message(ctx, id)
		require.NoError(t, err)
		first.Token, second.Token = "", ""
		require.Equal(t, []appio.Document{first, second}, m.Documents)
		d, got, err := readDocument(ctx, c, id, first.ID)
		require.NoError(t, err)
		require.Equal(t, first, d)
		require.Equal(t, content, got)
		_, got, err = readDocument(ctx, c, id, second.ID)
		require.NoError(t, err)
		require.Equal(t, certificate(9), got)
		require.Len(t, blobs(t, kept), 2)

		other := w.send(s, messageTo(giuseppe))
		_, _, err = c.OpenDocument(ctx, other, first.ID)
		require.ErrorIs(t, err, appio.ErrNotFound, "it is another message's")
		for _, bad := range []appio.MessageID{"", "x", "01ARZ3NDEKTSV4RRFFQ69G5FAV"} {
			_, _, err = c.OpenDocument(ctx, bad, first.ID)
			require.ErrorIs(t, err, appio.ErrNotFound)
		}
		_, _, err = w.enrol(matteo, appio.Auto).OpenDocument(ctx, id, first.ID)
		require.ErrorIs(t, err, appio.ErrNotFound, "it is another's")

		third := w.putDocument(s, giuseppe, certificate(50))
		last := w.send(s, messageTo(giuseppe, withDocuments(third)))
		var listed []string
		for _, k := range collect(t, c.Documents()) {
			require.Equal(t, mensa, k.Service)
			require.False(t, k.SentAt.IsZero())
			listed = append(listed, string(k.ID)+" "+string(k.Message))
		}
		require.Equal(t, []string{string(third.ID) + " " + string(last), string(second.ID) + " " + string(id), string(first.ID) + " " + string(id)}, listed)
		page, err := c.Documents().Page(ctx, "", 2)
		require.NoError(t, err)
		page, err = c.Documents().Page(ctx, page.Next, 2)
		require.NoError(t, err)
		require.Len(t, page.Items, 1)
		page, err = c.Documents().Page(ctx, page.Prev, 2)
		require.NoError(t, err)
		require.Equal(t, third.ID, page.Items[0].ID)
	})

	t.Run("are sent by who put them, to whom they were put for, once and within a day", func(t *testing.T) {
		t.Parallel()
		w, _ := newArchive(t)
		ctx, s := t.Context(), w.put()
		another := w.put(func(s *appio.Service) { s.ID = "altro" })
		c := w.enrol(giuseppe, appio.Auto)
		w.enrol(matteo, appio.Auto)
		d := w.putDocument(s, giuseppe, certificate(100))
		for name, send := range map[string]func() error{
			"another service":   func() error { _, err := another.Send(ctx, messageTo(giuseppe, withDocuments(d))); return err },
			"another recipient": func() error { _, err := s.Send(ctx, messageTo(matteo, withDocuments(d))); return err },
			"a token made up": func() error {
				_, err := s.Send(ctx, messageTo(giuseppe, withDocuments(appio.Document{Token: d.Token[1:]})))
				return err
			},
			"no token": func() error {
				_, err := s.Send(ctx, messageTo(giuseppe, withDocuments(appio.Document{ID: d.ID})))
				return err
			},
			"twice in one": func() error { _, err := s.Send(ctx, messageTo(giuseppe, withDocuments(d, d))); return err },
			"eleven": func() error {
				_, err := s.Send(ctx, messageTo(giuseppe, withDocuments(make([]appio.Document, 11)...)))
				return err
			},
		} {
			var bad *appio.FieldError
			require.ErrorAs(t, send(), &bad, name)
			require.True(t, strings.HasPrefix(bad.Field, "Documents"), bad.Field)
		}
		id := w.send(s, messageTo(giuseppe, withDocuments(d), withKey("k")))
		require.Equal(t, id, w.send(s, messageTo(giuseppe, withDocuments(d), withKey("k"))), "the same message")
		again := w.putDocument(s, giuseppe, certificate(100))
		require.Equal(t, id, w.send(s, messageTo(giuseppe, withDocuments(again), withKey("k"))), "a document that was put again is the same")
		longer := w.putDocument(s, giuseppe, certificate(101))
		_, err := s.Send(ctx, messageTo(giuseppe, withDocuments(longer), withKey("k")))
		require.ErrorIs(t, err, appio.ErrConflict)
		_, err = s.Send(ctx, messageTo(giuseppe, withDocuments(d)))
		require.ErrorIs(t, err, appio.ErrConflict, "it is the first message's")
		rs, err := s.SendBatch(ctx, []appio.Message{messageTo(giuseppe, withDocuments(longer)), messageTo(giuseppe, withDocuments(longer))})
		require.ErrorIs(t, err, appio.ErrConflict)
		require.True(t, (rs[0].Err == nil) != (rs[1].Err == nil), "one of two")

		w.advance(24 * time.Hour)
		_, err = s.Send(ctx, messageTo(giuseppe, withDocuments(again)))
		require.ErrorIs(t, err, appio.ErrExpired)
		_, _, err = readDocument(ctx, c, id, d.ID)
		require.NoError(t, err)
	})

	t.Run("are refused where nobody could read them, without a word of the citizen", func(t *testing.T) {
		t.Parallel()
		w, kept := newArchive(t, func(o *appio.Options) { o.MaxDocument = 1000 })
		ctx, s := t.Context(), w.put()
		w.enrol(giuseppe, appio.Auto)
		for name, d := range map[string]appio.Document{
			"Document.Name": {Type: "application/pdf"}, "Document.Type": {Name: "x", Type: "text/html"},
			"Document": {Name: "x", Type: "application/pdf"},
		} {
			var bad *appio.FieldError
			_, err := s.PutDocument(ctx, giuseppe, d, bytes.NewReader(certificate(1001)))
			require.ErrorAs(t, err, &bad, name)
			require.Equal(t, name, bad.Field)
		}
		for _, name := range []string{"a/b", `a\b`, "a\x00", "a\nb", strings.Repeat("x", 201), "\xff"} {
			_, err := s.PutDocument(ctx, giuseppe, appio.Document{Name: name, Type: "application/pdf"}, bytes.NewReader(certificate(10)))
			require.ErrorIs(t, err, appio.ErrInvalid)
		}
		_, err := s.PutDocument(ctx, giuseppe, certificateOf, strings.NewReader("<html>"))
		require.ErrorIs(t, err, appio.ErrInvalid)
		_, err = s.PutDocument(ctx, "x", certificateOf, bytes.NewReader(certificate(10)))
		require.ErrorIs(t, err, appio.ErrInvalid)
		_, err = w.Sender("nobody").PutDocument(ctx, giuseppe, certificateOf, bytes.NewReader(certificate(10)))
		require.ErrorIs(t, err, appio.ErrNotFound)
		trial := w.put(func(s *appio.Service) { s.ID, s.State = "prova", appio.Trial })
		reading := w.put(func(s *appio.Service) { s.ID, s.Scopes = "letture", []appio.Scope{appio.ReadMessages} })
		require.NoError(t, w.PutKey(ctx, reading.ID(), appio.Primary, "una chiave per leggere"))
		byKey, err := w.SenderByKey(ctx, "una chiave per leggere", noAddr)
		require.NoError(t, err)
		_, err = byKey.PutDocument(ctx, giuseppe, certificateOf, bytes.NewReader(certificate(10)))
		require.ErrorIs(t, err, appio.ErrForbidden)
		_, err = trial.PutDocument(ctx, giuseppe, certificateOf, bytes.NewReader(certificate(10)))
		require.ErrorIs(t, err, appio.ErrForbidden)
		require.Empty(t, blobs(t, kept), "what is refused is not kept")

		for _, to := range []fiscalcode.Person{giuseppe, matteo} { // who never came
			d := w.putDocument(s, to, certificate(10))
			require.NotEmpty(t, d.Token)
		}
		r, err := s.Send(ctx, messageTo(matteo, withDocuments(w.putDocument(s, matteo, certificate(10)))))
		require.NoError(t, err)
		require.Equal(t, appio.Rejected, r.Status)

		without := newOffice(t)
		_, err = without.put().PutDocument(ctx, giuseppe, certificateOf, bytes.NewReader(certificate(10)))
		require.ErrorIs(t, err, appio.ErrUnsupported)
		_, err = without.CollectDocuments(ctx)
		require.ErrorIs(t, err, appio.ErrUnsupported)
		_, err = appio.New(without.store, &appio.Options{Plain: true, MaxDocument: -1})
		require.ErrorIs(t, err, appio.ErrInvalid)
	})

	t.Run("that are damaged or gone are never served", func(t *testing.T) {
		t.Parallel()
		w, kept := newArchive(t)
		ctx, s, c := t.Context(), w.put(), w.enrol(giuseppe, appio.Auto)
		d := w.putDocument(s, giuseppe, certificate(100_000))
		id := w.send(s, messageTo(giuseppe, withDocuments(d)))
		name := blobs(t, kept)[0]
		r, err := kept.Open(ctx, name)
		require.NoError(t, err)
		sealed, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NotContains(t, string(sealed), "certificato", "it is sealed")
		sealed[70_000] ^= 1
		require.NoError(t, kept.Delete(ctx, name))
		require.NoError(t, kept.Put(ctx, name, bytes.NewReader(sealed)))
		_, got, err := readDocument(ctx, c, id, d.ID)
		require.ErrorIs(t, err, blob.ErrCorrupt.(interface{ Unwrap() error }).Unwrap())
		require.True(t, bytes.HasPrefix(certificate(100_000), got))
		require.NoError(t, kept.Delete(ctx, name))
		_, _, err = readDocument(ctx, c, id, d.ID)
		require.Error(t, err)
		require.NotErrorIs(t, err, appio.ErrNotFound, "the message says that there is one")
	})

	t.Run("that cannot be removed do not keep others", func(t *testing.T) {
		t.Parallel()
		failing := &failingBlobs{Store: memblob.New()}
		w, ctx := newTown(t, func(o *appio.Options) { o.Documents = failing }), t.Context()
		s := w.put()
		for range 600 {
			w.putDocument(s, giuseppe, certificate(20))
		}
		failing.stuck = blobs(t, failing)[0]
		w.advance(49 * time.Hour)
		n, err := w.CollectDocuments(ctx)
		require.ErrorContains(t, err, "write-protected")
		require.Equal(t, 599, n)
		require.Equal(t, []blob.ID{failing.stuck}, blobs(t, failing))

		failing.err = errors.New("the disk is gone")
		n, err = w.CollectDocuments(ctx)
		require.ErrorIs(t, err, failing.err)
		require.Zero(t, n)
	})

	t.Run("that no message has are removed two days after they were put, and no others", func(t *testing.T) {
		t.Parallel()
		w, kept := newArchive(t)
		ctx, s, c := t.Context(), w.put(), w.enrol(giuseppe, appio.Auto)
		sent := w.putDocument(s, giuseppe, certificate(100))
		id := w.send(s, messageTo(giuseppe, withDocuments(sent)))
		w.putDocument(s, giuseppe, certificate(100)) // never sent
		refused := w.putDocument(s, matteo, certificate(100))
		_, err := s.Send(ctx, messageTo(matteo, withDocuments(refused)))
		require.NoError(t, err)
		require.NoError(t, kept.Put(ctx, "another-programs", strings.NewReader("x")))
		for range 300 {
			w.putDocument(s, giuseppe, certificate(20))
		}
		collected := func() int {
			n, err := w.CollectDocuments(ctx)
			require.NoError(t, err)
			return n
		}
		require.Zero(t, collected())
		w.advance(47 * time.Hour)
		require.Zero(t, collected())
		late := w.putDocument(s, giuseppe, certificate(100))
		w.advance(time.Hour + time.Minute)
		require.Equal(t, 302, collected())
		require.Len(t, blobs(t, kept), 3)
		_, _, err = readDocument(ctx, c, id, sent.ID)
		require.NoError(t, err)
		later := w.send(s, messageTo(giuseppe, withDocuments(late)))
		w.advance(365 * 24 * time.Hour)
		require.Zero(t, collected())
		_, _, err = readDocument(ctx, c, later, late.ID)
		require.NoError(t, err)
	})

	t.Run("are put by a service up to its quota of the day", func(t *testing.T) {
		t.Parallel()
		clock := newHandClock("2026-04-10 08:00")
		w, kept := newArchive(t, func(o *appio.Options) { o.Now, o.MaxDocument, o.DocumentQuota = clock.now, 100_000, 250_000 })
		ctx, s, other := t.Context(), w.put(), w.put(called("altro"))
		w.enrol(giuseppe, appio.Auto)
		put := func(s *appio.Sender, size int) error {
			_, err := s.PutDocument(ctx, giuseppe, certificateOf, bytes.NewReader(certificate(size)))
			return err
		}
		limited := func(err error) {
			t.Helper()
			var l *appio.LimitedError
			require.ErrorAs(t, err, &l)
			require.Equal(t, clock.now().Truncate(24*time.Hour).Add(24*time.Hour), clock.now().Add(l.After))
		}
		require.ErrorIs(t, put(s, 100_001), appio.ErrInvalid)
		_, err := s.PutDocument(ctx, giuseppe, certificateOf, io.MultiReader(bytes.NewReader(certificate(100)), iotest.ErrReader(errProvider)))
		require.ErrorIs(t, err, errProvider)
		require.NoError(t, put(s, 100_000), "what was not put counts for nothing")
		require.NoError(t, put(s, 100_000))
		limited(put(s, 50_001))
		require.Len(t, blobs(t, kept), 2)
		require.NoError(t, put(s, 45_000))
		require.NoError(t, put(s, 20), "a document counts as 4 KiB at least")
		limited(put(s, 20))
		require.NoError(t, put(other, 100_000), "each has its own")
		clock.set(clock.now().Add(24 * time.Hour))
		require.NoError(t, put(s, 100_000))
	})

	t.Run("may be put soon where the quota is kept for others that are being read", func(t *testing.T) {
		t.Parallel()
		clock := newHandClock("2026-04-10 08:00")
		w, _ := newArchive(t, func(o *appio.Options) { o.Now, o.MaxDocument, o.DocumentQuota = clock.now, 100_000, 150_000 })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		put := func(r io.Reader) error {
			_, err := s.PutDocument(t.Context(), giuseppe, certificateOf, r)
			return err
		}
		after := func(err error) time.Duration {
			t.Helper()
			var l *appio.LimitedError
			require.ErrorAs(t, err, &l)
			return l.After
		}
		begin := func() (end func()) {
			r, w := io.Pipe()
			done := make(chan error)
			go func() { done <- put(io.MultiReader(bytes.NewReader(certificate(5000)), r)) }()
			_, err := w.Write([]byte("%")) // it is being read
			require.NoError(t, err)
			return func() {
				require.NoError(t, w.Close())
				require.NoError(t, <-done)
			}
		}
		first := begin()
		require.Equal(t, time.Second, after(put(bytes.NewReader(certificate(60_000)))), "what is left is too small now")
		second := begin()
		require.Equal(t, time.Second, after(put(bytes.NewReader(certificate(20)))), "nothing is left now")
		first()
		second()
		require.NoError(t, put(bytes.NewReader(certificate(100_000))))
		require.Equal(t, clock.now().Truncate(24*time.Hour).Add(24*time.Hour).Sub(clock.now()), after(put(bytes.NewReader(certificate(60_000)))))
	})

	t.Run("count on their day although a clock was ahead", func(t *testing.T) {
		t.Parallel()
		for _, ahead := range []time.Duration{time.Minute, 24 * time.Hour, 30 * 24 * time.Hour} {
			clock := newHandClock("2026-04-10 01:59")
			w, _ := newArchive(t, func(o *appio.Options) { o.Now, o.MaxDocument, o.DocumentQuota = clock.now, 100_000, 250_000 })
			s := w.put()
			w.enrol(giuseppe, appio.Auto)
			now := clock.now()
			clock.set(now.Add(ahead))
			w.putDocument(s, giuseppe, certificate(100_000))
			clock.set(now)
			for range 12 { // each takes 100,000 as it is put, and gives back what is above 4 KiB
				w.putDocument(s, giuseppe, certificate(20))
			}
			if ahead > 24*time.Hour { // whatever was put then
				w.putDocument(s, giuseppe, certificate(100_000))
				w.putDocument(s, giuseppe, certificate(50_000))
			}
		}
	})

	t.Run("that are put at the same time stay within the quota", func(t *testing.T) {
		t.Parallel()
		w, kept := newArchive(t, func(o *appio.Options) { o.MaxDocument, o.DocumentQuota = 100_000, 1_000_000 })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		var all sync.WaitGroup
		var put atomic.Int64
		for range 64 {
			all.Go(func() {
				if _, err := s.PutDocument(t.Context(), giuseppe, certificateOf, bytes.NewReader(certificate(90_000))); err == nil {
					put.Add(1)
				} else if !errors.Is(err, appio.ErrLimited) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		require.Positive(t, put.Load())
		require.LessOrEqual(t, put.Load(), int64(11))
		require.Len(t, blobs(t, kept), int(put.Load()))
	})

	inBubble(t, "are not old because a clock leaps ahead, until it has said so for a day", func(t *testing.T) {
		var ahead atomic.Int64
		w, kept := newArchive(t, func(o *appio.Options) {
			o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		})
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		end := w.run()
		defer end()
		d := w.putDocument(s, giuseppe, certificate(100))
		time.Sleep(time.Second)
		ahead.Store(int64(10 * 24 * time.Hour))
		time.Sleep(5 * time.Minute) // Run has looked
		require.Len(t, blobs(t, kept), 1)
		ahead.Store(0)
		id := w.send(s, messageTo(giuseppe, withDocuments(d)))
		_, _, err := readDocument(t.Context(), c, id, d.ID)
		require.NoError(t, err)

		w.putDocument(s, giuseppe, certificate(200))
		require.Len(t, blobs(t, kept), 2)
		ahead.Store(int64(10 * 24 * time.Hour))
		time.Sleep(24 * time.Hour)
		require.Len(t, blobs(t, kept), 1, "the clock was right")
	})

	t.Run("of another engine in the same place stay", func(t *testing.T) {
		t.Parallel()
		w, kept := newArchive(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		other := newOffice(t, func(o *appio.Options) { o.Documents = kept })
		w.putDocument(s, giuseppe, certificate(100))
		w.advance(49 * time.Hour)
		other.advance(49 * time.Hour)
		n, err := other.CollectDocuments(t.Context())
		require.NoError(t, err)
		require.Zero(t, n)
		rename(t, kept, blobs(t, kept)[0], unmarked)
		n, err = other.CollectDocuments(t.Context())
		require.NoError(t, err)
		require.Zero(t, n, "nor where they have no mark, as before there were any")
		n, err = w.CollectDocuments(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, n, "and their own engine removes them")
	})

	t.Run("that were put before names had marks are read, and go with their owner", func(t *testing.T) {
		t.Parallel()
		w, kept := newArchive(t)
		ctx, s, c := t.Context(), w.put(), w.enrol(giuseppe, appio.Auto)
		d := w.putDocument(s, giuseppe, certificate(100))
		id := w.send(s, messageTo(giuseppe, withDocuments(d)))
		rename(t, kept, blobs(t, kept)[0], unmarked)
		_, got, err := readDocument(ctx, c, id, d.ID)
		require.NoError(t, err)
		require.Equal(t, certificate(100), got)
		require.NoError(t, c.Erase(ctx))
		w.flush()
		require.Empty(t, blobs(t, kept))
	})

	t.Run("that are damaged or gone are found by Check, and no others", func(t *testing.T) {
		t.Parallel()
		w, kept := newArchive(t)
		ctx, s, c := t.Context(), w.put(), w.enrol(giuseppe, appio.Auto)
		w.enrol(matteo, appio.Auto)
		sizes := map[appio.MessageID]int{}
		for _, size := range []int{20, 200_000, 65_536} {
			d := w.putDocument(s, giuseppe, certificate(size))
			sizes[w.send(s, messageTo(giuseppe, withDocuments(d)))] = size
		}
		w.putDocument(s, giuseppe, certificate(30)) // of no message, and not missed
		check := func() (found []appio.Finding) {
			t.Helper()
			_, err := w.Check(ctx, func(f appio.Finding) { found = append(found, f) })
			require.NoError(t, err)
			return found
		}
		require.Empty(t, check())
		for info, err := range kept.All(ctx) {
			require.NoError(t, err)
			if info.Size < 100 {
				continue
			}
			b := content(t, kept, info.ID)
			require.NoError(t, kept.Delete(ctx, info.ID))
			if info.Size < 100_000 {
				continue // it is gone
			}
			b[len(b)-1] ^= 1 // the last byte of all
			require.NoError(t, kept.Put(ctx, info.ID, bytes.NewReader(b)))
		}
		found := check()
		require.Len(t, found, 2)
		for _, f := range found {
			require.Equal(t, "document", f.Kind)
			require.Equal(t, map[int]string{
				200_000: "it cannot be read: a document is not what was put", 65_536: "it cannot be read: a document of a message is gone",
			}[sizes[f.Message]], f.Problem)
		}
		require.NoError(t, c.Erase(ctx))
		require.Empty(t, check(), "what an erasure removes is not missing")
		w.flush()
		require.Empty(t, check())
	})

	t.Run("that go while Check reads are not missing", func(t *testing.T) {
		t.Parallel()
		gone := &failingBlobs{Store: memblob.New()}
		w := newOffice(t, func(o *appio.Options) { o.Documents = gone })
		ctx, s, c := t.Context(), w.put(), w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, withDocuments(w.putDocument(s, giuseppe, certificate(20)))))
		gone.onOpen = func() {
			require.NoError(t, c.Erase(ctx))
			w.flush()
			require.Empty(t, blobs(t, gone))
		}
		in, err := w.Check(ctx, nil)
		require.NoError(t, err)
		require.Zero(t, in.Findings)
	})

	t.Run("go with the messages that the sandbox does not keep", func(t *testing.T) {
		t.Parallel()
		w, kept := newArchive(t)
		s := w.put()
		w.enrol(fiscalcode.Sandbox, appio.Auto)
		w.send(s, messageTo(fiscalcode.Sandbox, withDocuments(w.putDocument(s, fiscalcode.Sandbox, certificate(100)))))
		ms := make([]appio.Message, 1000)
		for i := range ms {
			ms[i] = messageTo(fiscalcode.Sandbox)
		}
		last := w.putDocument(s, fiscalcode.Sandbox, certificate(100))
		ms[999].Documents = []appio.Document{last}
		_, err := s.SendBatch(t.Context(), ms)
		require.NoError(t, err)
		w.advance(72 * time.Hour)
		w.flush()
		n, err := w.CollectDocuments(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Len(t, blobs(t, kept), 1)
		require.Len(t, collect(t, w.person(fiscalcode.Sandbox).Documents()), 1)
	})

	t.Run("end with an erasure: unreadable at once, and then removed", func(t *testing.T) {
		t.Parallel()
		w, kept := newArchive(t)
		ctx, s, c := t.Context(), w.put(), w.enrol(giuseppe, appio.Auto)
		other := w.enrol(matteo, appio.Auto)
		d := w.putDocument(s, giuseppe, certificate(100))
		id := w.send(s, messageTo(giuseppe, withDocuments(d)))
		others := w.putDocument(s, matteo, certificate(100))
		theirs := w.send(s, messageTo(matteo, withDocuments(others)))
		for range 40 {
			w.send(s, messageTo(giuseppe, func(m *appio.Message) {
				for range 10 {
					m.Documents = append(m.Documents, w.putDocument(s, giuseppe, certificate(20)))
				}
			}))
		}
		var b bytes.Buffer
		require.NoError(t, c.Export(ctx, &b))
		require.Contains(t, b.String(), `"documents":[{"id":"`+string(d.ID)+`","name":"Certificato.pdf"`)
		require.NoError(t, c.Erase(ctx))
		_, _, err := c.OpenDocument(ctx, id, d.ID)
		require.ErrorIs(t, err, appio.ErrErasing)
		w.flush()
		require.Equal(t, 1, len(blobs(t, kept)), "another's")
		w.enrol(giuseppe, appio.Auto)
		_, _, err = c.OpenDocument(ctx, id, d.ID)
		require.ErrorIs(t, err, appio.ErrNotFound)
		require.Empty(t, collect(t, c.Documents()))
		_, err = s.Send(ctx, messageTo(giuseppe, withDocuments(d)))
		require.ErrorIs(t, err, appio.ErrConflict, "who came back is not sent what is gone")
		_, _, err = readDocument(ctx, other, theirs, others.ID)
		require.NoError(t, err)
	})

	t.Run("hold an erasure up while they cannot be removed", func(t *testing.T) {
		t.Parallel()
		failing := &failingBlobs{Store: memblob.New()}
		w := newOffice(t, func(o *appio.Options) { o.Documents = failing })
		ctx, s, c := t.Context(), w.put(), w.enrol(giuseppe, appio.Auto)
		id := w.send(s, messageTo(giuseppe, withDocuments(w.putDocument(s, giuseppe, certificate(100)))))
		failing.err = errors.New("the disk is away")
		require.NoError(t, c.Erase(ctx))
		w.flush()
		require.ErrorIs(t, c.SetMode(ctx, appio.Auto), appio.ErrErasing)
		_, err := c.Message(ctx, id)
		require.ErrorIs(t, err, appio.ErrErasing)
		failing.err = nil
		w.flush()
		require.NoError(t, c.SetMode(ctx, appio.Auto))
		require.Empty(t, blobs(t, failing))
	})

	t.Run("whose store fails, or does not read to the end, are not sent", func(t *testing.T) {
		t.Parallel()
		failing := &failingBlobs{Store: memblob.New(), putErr: errors.New("the disk is full")}
		w := newOffice(t, func(o *appio.Options) { o.Documents = failing })
		s := w.put()
		_, err := s.PutDocument(t.Context(), giuseppe, certificateOf, bytes.NewReader(certificate(100)))
		require.ErrorIs(t, err, failing.putErr)
		failing.putErr, failing.lazy = nil, true
		d, err := s.PutDocument(t.Context(), giuseppe, certificateOf, bytes.NewReader(certificate(100)))
		require.Error(t, err)
		require.Empty(t, d.Token)
	})

	t.Run("are in a directory beside the file that Open opens", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "io.db")
		ctx := t.Context()
		open := func() *appio.Engine {
			e, err := appio.Open(path, nil)
			require.NoError(t, err)
			return e
		}
		e := open()
		_, err := os.Stat(path + ".documents")
		require.ErrorIs(t, err, os.ErrNotExist, "nothing was put")
		require.NoError(t, e.PutService(ctx, newService()))
		person := appio.Identity{Code: giuseppe, Level: appio.L2}
		require.NoError(t, e.Citizen(person).SetMode(ctx, appio.Auto))
		d, err := e.Sender(mensa).PutDocument(ctx, giuseppe, certificateOf, bytes.NewReader(certificate(100_000)))
		require.NoError(t, err)
		require.NoError(t, e.Close())
		e = open()
		r, err := e.Sender(mensa).Send(ctx, messageTo(giuseppe, withDocuments(d)))
		require.NoError(t, err, "a token is good in another process")
		require.NoError(t, e.Close())
		e = open()
		_, b, err := readDocument(ctx, e.Citizen(person), r.ID, d.ID)
		require.NoError(t, err)
		require.Equal(t, certificate(100_000), b)
		require.NoError(t, e.Citizen(person).Erase(ctx))
		_, err = e.Flush(ctx)
		require.NoError(t, err)
		require.NoError(t, e.Close())
		require.NoError(t, filepath.WalkDir(path+".documents", func(path string, d os.DirEntry, err error) error {
			require.True(t, err != nil || d.IsDir(), "%s %v", path, err)
			return err
		}))
	})
}

// failingBlobs fail when told to.
type failingBlobs struct {
	blob.Store
	err, putErr error
	stuck       blob.ID // cannot be deleted
	lazy        bool
	onOpen      func()
}

func (f *failingBlobs) Open(ctx context.Context, id blob.ID) (io.ReadCloser, error) {
	if f.onOpen != nil {
		f.onOpen()
	}
	return f.Store.Open(ctx, id)
}

func (f *failingBlobs) Put(ctx context.Context, id blob.ID, r io.Reader) error {
	switch {
	case f.putErr != nil:
		return f.putErr
	case f.lazy:
		return f.Store.Put(ctx, id, io.LimitReader(r, 10))
	}
	return f.Store.Put(ctx, id, r)
}

func (f *failingBlobs) Delete(ctx context.Context, id blob.ID) error {
	if f.err != nil {
		return f.err
	}
	if id == f.stuck {
		return errors.New("it is write-protected")
	}
	return f.Store.Delete(ctx, id)
}

func ExampleSender_PutDocument() {
	eng, s, c := exampleArchive()
	defer eng.Close()
	ctx := context.Background()
	doc, err := s.PutDocument(ctx, giuseppe, appio.Document{Name: "Certificato.pdf", Type: "application/pdf"}, strings.NewReader("%PDF-1.7 ..."))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := s.Send(ctx, appio.Message{To: giuseppe, Subject: "Il certificato richiesto", Markdown: markdown, Documents: []appio.Document{doc}})
	fmt.Println(r.Status, err)

	for kept, err := range c.Documents().All(ctx) {
		fmt.Println(kept.Name, kept.Size, err)
		_, content, err := c.OpenDocument(ctx, kept.Message, kept.ID)
		if err != nil {
			fmt.Println(err)
			return
		}
		b, err := io.ReadAll(content)
		fmt.Println(string(b), err, content.Close())
	}
	// Output:
	// PROCESSED <nil>
	// Certificato.pdf 12 <nil>
	// %PDF-1.7 ... <nil> <nil>
}

// slowBlobs is a store that takes its time for a deletion, unless its context ends.
type slowBlobs struct {
	blob.Store
	takes atomic.Int64
}

func (s *slowBlobs) Delete(ctx context.Context, id blob.ID) error {
	select {
	case <-time.After(time.Duration(s.takes.Load())):
		return s.Store.Delete(ctx, id)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A store of documents that is slow, or does not answer, holds up deliveries only for a moment, and the end of a Run not at all.
func TestErasureBesideDeliveries(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{"is slow": 300 * time.Millisecond, "does not answer": 24 * time.Hour} {
		inBubble(t, "where the store "+name, func(t *testing.T) {
			kept := memblob.New()
			slow := &slowBlobs{Store: kept}
			w := newTown(t, func(o *appio.Options) {
				o.Documents, o.Channels = slow, o.Channels[1:]
				o.Backoff = func(int) time.Duration { return time.Second }
			})
			s := w.put()
			w.enrol(giuseppe, appio.Auto)
			w.enrol(matteo, appio.Auto)
			for range 10 {
				ds := []appio.Document{w.putDocument(s, giuseppe, certificate(10)), w.putDocument(s, giuseppe, certificate(10))}
				w.send(s, messageTo(giuseppe, withDocuments(ds...)))
			}
			end := w.run()
			time.Sleep(5 * time.Second)
			slow.takes.Store(int64(takes))
			require.NoError(t, w.person(giuseppe).Erase(t.Context()))
			var mu sync.Mutex
			var tries []time.Duration
			start := time.Now()
			w.push.answers(func(context.Context, appio.Delivery) error {
				mu.Lock()
				defer mu.Unlock()
				tries = append(tries, time.Since(start))
				return appio.RetryAfter(time.Second, errProvider)
			})
			w.send(s, messageTo(matteo))
			time.Sleep(time.Minute)
			mu.Lock()
			require.Greater(t, len(tries), 6)
			for i := range tries[1:] {
				require.LessOrEqual(t, tries[i+1]-tries[i], 8*time.Second, "%v", tries)
			}
			mu.Unlock()
			begun := time.Now()
			if name == "is slow" {
				require.Empty(t, blobs(t, kept))
			} else {
				require.Len(t, blobs(t, kept), 20)
			}
			end()
			require.Less(t, time.Since(begun), time.Second)
			slow.takes.Store(0)
			time.Sleep(2 * time.Minute)
			w.flush()
			require.Empty(t, blobs(t, kept))
			require.NoError(t, join(t.Context(), w.person(giuseppe), appio.Auto), "the erasure is over")
		})
	}
}
