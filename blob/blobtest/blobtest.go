// Package blobtest checks a [blob.Store] by the rules of its contract that can be seen from outside.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/appio-go/appio/blob"
	"github.com/appio-go/appio/internal/conformance"
)

// Run checks a store. open returns a new, empty one; it is called once for each check, with the subtest that the check is.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, c := range checks {
		t.Run(c.rule, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// A Reopener is a store that outlives its process. Reopen checks what it keeps.
//
// open returns the store that has the same documents each time, as another process would open it; damage changes some of the bytes that
// it keeps of a document, or cuts some off at the end, for n of 0, 1, 2 ... in ways that differ, and reports whether there was one more.
func Reopen(t *testing.T, open func() blob.Store, damage func(id blob.ID, n int) bool) {
	for _, c := range reopenChecks {
		t.Run(c.rule, func(t *testing.T) { c.run(t, open, damage) })
	}
}

// A check is a rule of the contract, and what finds out whether a store keeps it.
type check struct {
	rule string
	run  func(t tester, s blob.Store)
}

type reopenCheck struct {
	rule string
	run  func(t tester, open func() blob.Store, damage func(blob.ID, int) bool)
}

type tester = conformance.Tester

var sizes = []int{0, 1, 511, 4096, 65535, 65536, 65537, 3 << 20}

func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

func put(t tester, s blob.Store, id blob.ID, b []byte) {
	t.Helper()
	if err := s.Put(t.Context(), id, bytes.NewReader(b)); err != nil {
		t.Fatalf("Put of %d bytes: %v", len(b), err)
	}
}

func get(ctx context.Context, s blob.Store, id blob.ID) ([]byte, error) {
	r, err := s.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

// has checks that a document is there and as it was put.
func has(t tester, s blob.Store, id blob.ID, want []byte) {
	t.Helper()
	got, err := get(t.Context(), s, id)
	if err != nil {
		t.Errorf("a document of %d bytes that was put cannot be read: %v", len(want), err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("a document of %d bytes is read as %d others, without an error", len(want), len(got))
	}
}

// hasNot checks that there is none.
func hasNot(t tester, s blob.Store, id blob.ID, why string) {
	t.Helper()
	if _, err := get(t.Context(), s, id); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("%s: Open answers %v; it has to be ErrNotFound", why, err)
	}
	if slices.Contains(ids(t, s), id) {
		t.Errorf("%s, and All has it", why)
	}
}

func ids(t tester, s blob.Store) (all []blob.ID) {
	t.Helper()
	for info, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatalf("All: %v", err)
		}
		all = append(all, info.ID)
	}
	slices.Sort(all)
	return all
}

// A failing reader gives some bytes, and then an error.
type failing struct {
	left int
	err  error
	at   func()
}

func (f *failing) Read(p []byte) (int, error) {
	if f.left == 0 {
		if f.at != nil {
			f.at()
			f.at = nil
		}
		return 0, f.err
	}
	n := min(len(p), f.left)
	f.left -= n
	return n, nil
}

// endless gives zeros for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

var checks = []check{
	{"a document is read as it was put, whatever its size", func(t tester, s blob.Store) {
		for _, n := range sizes {
			id := blob.ID(fmt.Sprintf("d-%d", n))
			put(t, s, id, content(n))
			has(t, s, id, content(n))
		}
		for _, n := range sizes { // and after the others
			has(t, s, blob.ID(fmt.Sprintf("d-%d", n)), content(n))
		}
	}},
	{"it is read in pieces of any size, and twice at once", func(t tester, s blob.Store) {
		want := content(100_000)
		put(t, s, "d", want)
		a, err := s.Open(t.Context(), "d")
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		b, err := s.Open(t.Context(), "d")
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		var as, bs bytes.Buffer
		for _, err := range []error{copyBy(&as, a, 1), copyBy(&bs, b, 70_000)} {
			if err != nil {
				t.Errorf("reading: %v", err)
			}
		}
		if !bytes.Equal(as.Bytes(), want) || !bytes.Equal(bs.Bytes(), want) {
			t.Errorf("what is read in pieces is not what was put")
		}
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}},
	{"an id that is taken stays as it is", func(t tester, s blob.Store) {
		put(t, s, "d", content(10))
		if err := s.Put(t.Context(), "d", bytes.NewReader(content(20))); !errors.Is(err, blob.ErrExists) {
			t.Errorf("a second Put answers %v; it has to be ErrExists", err)
		}
		has(t, s, "d", content(10))
	}},
	{"what is not there is ErrNotFound, and deleting it is no error", func(t tester, s blob.Store) {
		hasNot(t, s, "d", "nothing was put")
		if err := s.Delete(t.Context(), "d"); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}},
	{"a document that was deleted is gone, and its neighbours are not", func(t tester, s blob.Store) {
		for _, id := range []blob.ID{"d", "d-", "dd", "e"} {
			put(t, s, id, content(len(id)))
		}
		if err := s.Delete(t.Context(), "d"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		hasNot(t, s, "d", "it was deleted")
		for _, id := range []blob.ID{"d-", "dd", "e"} {
			has(t, s, id, content(len(id)))
		}
		put(t, s, "d", content(5))
		has(t, s, "d", content(5))
	}},
	{"what could not be read to its end is not put", func(t tester, s blob.Store) {
		broken := errors.New("the upload broke off")
		for _, n := range []int{0, 1, 4096, 200_000} {
			if err := s.Put(t.Context(), "d", &failing{left: n, err: broken}); !errors.Is(err, broken) {
				t.Errorf("Put of a reader that fails after %d bytes answers %v; it has to be the reader's error", n, err)
			}
			hasNot(t, s, "d", "its reader failed")
		}
		put(t, s, "d", content(10))
		has(t, s, "d", content(10))
	}},
	{"a document that is being put is not seen", func(t tester, s blob.Store) {
		looked := false
		r := io.MultiReader(bytes.NewReader(content(200_000)), &failing{err: io.EOF, at: func() {
			looked = true
			hasNot(t, s, "d", "it is not whole yet")
		}})
		if err := s.Put(t.Context(), "d", r); err != nil {
			t.Fatalf("Put: %v", err)
		}
		if !looked {
			t.Errorf("Put did not read to the end")
		}
		has(t, s, "d", content(200_000))
	}},
	{"a call ends with its context", func(t tester, s blob.Store) {
		put(t, s, "there", content(10))
		ctx, cancel := context.WithCancel(t.Context())
		problem, err := conformance.Guard(ctx, "Put of an endless reader", func() error {
			return s.Put(ctx, "d", io.MultiReader(io.LimitReader(endless{}, 100_000), &failing{err: nil, at: cancel}, endless{}))
		})
		if problem != "" || !errors.Is(err, context.Canceled) {
			t.Errorf("Put whose context ends answers %v; it has to be the context's error. %s", err, problem)
		}
		hasNot(t, s, "d", "its Put was given up")
		_, opened := s.Open(ctx, "there")
		for name, err := range map[string]error{"Put": s.Put(ctx, "d", bytes.NewReader(nil)), "Open": opened, "Delete": s.Delete(ctx, "there")} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s answers %v to a context that has ended", name, err)
			}
		}
		has(t, s, "there", content(10))
		for _, err = range s.All(ctx) {
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("All ends with %v when its context has", err)
		}
	}},
	{"an id that is none is refused", func(t tester, s blob.Store) {
		for _, id := range []blob.ID{"", ".", "..", "../d", "a/b", "a\\b", "a.b", "A", "a b", "a\x00b", "à", blob.ID(bytes.Repeat([]byte{'a'}, 101))} {
			_, opened := s.Open(t.Context(), id)
			for name, err := range map[string]error{"Put": s.Put(t.Context(), id, bytes.NewReader(nil)), "Open": opened, "Delete": s.Delete(t.Context(), id)} {
				if !errors.Is(err, blob.ErrInvalid) {
					t.Errorf("%s answers %v to the id %q; it has to be ErrInvalid", name, err, id)
				}
			}
		}
		longest := blob.ID(bytes.Repeat([]byte{'a'}, 100))
		put(t, s, longest, content(10))
		has(t, s, longest, content(10))
	}},
	{"All has each document once, with its size, and can be left", func(t tester, s blob.Store) {
		want := map[blob.ID]int64{}
		for i := range 600 {
			id := blob.ID(fmt.Sprintf("d%d", i))
			want[id] = int64(i)
			put(t, s, id, content(i))
		}
		n := 0
		for info, err := range s.All(t.Context()) {
			if err != nil {
				t.Fatalf("All: %v", err)
			}
			if size, ok := want[info.ID]; !ok || size != info.Size {
				t.Errorf("All has %q with %d bytes", info.ID, info.Size)
			}
			delete(want, info.ID)
			if n++; n%2 == 0 { // which must not wait for the list
				if err := s.Delete(t.Context(), info.ID); err != nil {
					t.Errorf("Delete in a loop over All: %v", err)
				}
			}
		}
		if len(want) > 0 || n != 600 {
			t.Errorf("All yields %d documents, and leaves out %d of 600", n, len(want))
		}
		for range s.All(t.Context()) {
			break
		}
		if left := len(ids(t, s)); left != 300 {
			t.Errorf("there are %d documents after 300 of 600 were deleted", left)
		}
	}},
	{"of many who put one id, one does", func(t tester, s blob.Store) {
		var mu sync.Mutex
		var all sync.WaitGroup
		winners := []int{}
		for i := range 16 {
			all.Go(func() {
				err := s.Put(t.Context(), "d", bytes.NewReader(content(1000+i)))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					winners = append(winners, i)
				} else if !errors.Is(err, blob.ErrExists) {
					t.Errorf("Put: %v", err)
				}
			})
		}
		all.Wait()
		if len(winners) != 1 {
			t.Fatalf("%d of 16 were told that they had put it", len(winners))
		}
		has(t, s, "d", content(1000+winners[0]))
	}},
	{"many put, read and delete at once", func(t tester, s blob.Store) {
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for j := range 20 {
					id := blob.ID(fmt.Sprintf("d-%d-%d", i, j))
					put(t, s, id, content(j*1000))
					has(t, s, id, content(j*1000))
					if err := s.Delete(t.Context(), id); err != nil {
						t.Errorf("Delete: %v", err)
					}
				}
			})
		}
		all.Wait()
		if left := ids(t, s); len(left) > 0 {
			t.Errorf("%d documents are left of those that were deleted", len(left))
		}
	}},
}

var reopenChecks = []reopenCheck{
	{"what was put is there for who opens the store again, and what was deleted is not", func(t tester, open func() blob.Store, _ func(blob.ID, int) bool) {
		s := open()
		put(t, s, "kept", content(100_000))
		put(t, s, "gone", content(10))
		if err := s.Delete(t.Context(), "gone"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		again := open()
		has(t, again, "kept", content(100_000))
		hasNot(t, again, "gone", "it was deleted")
		if err := again.Delete(t.Context(), "kept"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		hasNot(t, s, "kept", "another process deleted it")
	}},
	{"what is damaged is ErrCorrupt before it is told to have ended", func(t tester, open func() blob.Store, damage func(blob.ID, int) bool) {
		for n, some := 0, true; some; n++ {
			s := open()
			id := blob.ID(fmt.Sprintf("damaged-%d", n))
			put(t, s, id, content(10_000))
			if some = damage(id, n); !some {
				if n == 0 {
					t.Errorf("damage did nothing")
				}
				return
			}
			if b, err := get(t.Context(), open(), id); err == nil {
				t.Errorf("damage %d: %d bytes are read without an error", n, len(b))
			} else if !errors.Is(err, blob.ErrCorrupt) {
				t.Errorf("damage %d: reading answers %v; it has to be ErrCorrupt", n, err)
			}
		}
	}},
}

// copyBy copies in pieces of a size.
func copyBy(to io.Writer, from io.Reader, size int) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, size))
	return err
}
