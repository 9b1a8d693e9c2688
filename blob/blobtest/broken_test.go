package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/blob"
	"github.com/appio-go/appio/blob/memblob"
	"github.com/appio-go/appio/internal/conformance"
)

// A broken store is a sound one behind a bug in some of its methods.
type broken struct {
	blob.Store
	put    func(context.Context, blob.ID, io.Reader) error
	open   func(context.Context, blob.ID) (io.ReadCloser, error)
	delete func(context.Context, blob.ID) error
	all    func(context.Context) iter.Seq2[blob.Info, error]
}

func (b *broken) Put(ctx context.Context, id blob.ID, r io.Reader) error {
	if b.put != nil {
		return b.put(ctx, id, r)
	}
	return b.Store.Put(ctx, id, r)
}

func (b *broken) Open(ctx context.Context, id blob.ID) (io.ReadCloser, error) {
	if b.open != nil {
		return b.open(ctx, id)
	}
	return b.Store.Open(ctx, id)
}

func (b *broken) Delete(ctx context.Context, id blob.ID) error {
	if b.delete != nil {
		return b.delete(ctx, id)
	}
	return b.Store.Delete(ctx, id)
}

func (b *broken) All(ctx context.Context) iter.Seq2[blob.Info, error] {
	if b.all != nil {
		return b.all(ctx)
	}
	return b.Store.All(ctx)
}

// Each bug is caught, and a sound store is not blamed.
func TestBrokenStoresAreCaught(t *testing.T) {
	t.Parallel()
	reading := func(b *broken, change func([]byte) []byte) {
		b.open = func(ctx context.Context, id blob.ID) (io.ReadCloser, error) {
			got, err := get(ctx, b.Store, id)
			if err != nil {
				return nil, err
			}
			return io.NopCloser(bytes.NewReader(change(got))), nil
		}
	}
	for name, plant := range map[string]func(b *broken){
		"one byte is read as another": func(b *broken) {
			reading(b, func(c []byte) []byte {
				if len(c) > 600 {
					c[600] ^= 1
				}
				return c
			})
		},
		"the end is left out":            func(b *broken) { reading(b, func(c []byte) []byte { return c[:min(len(c), 65536)] }) },
		"an empty document is not there": func(b *broken) { reading(b, func(c []byte) []byte { return c[:len(c)&^1] }) },
		"a second Put replaces the first": func(b *broken) {
			b.put = func(ctx context.Context, id blob.ID, r io.Reader) error { return replace(ctx, b.Store, id, r) }
		},
		"a taken id is no error": func(b *broken) {
			b.put = func(ctx context.Context, id blob.ID, r io.Reader) error {
				return except(b.Store.Put(ctx, id, r), blob.ErrExists)
			}
		},
		"half of an upload is kept": func(b *broken) {
			b.put = func(ctx context.Context, id blob.ID, r io.Reader) error { return half(ctx, b.Store, id, r) }
		},
		"an upload is seen while it comes": func(b *broken) {
			b.put = func(ctx context.Context, id blob.ID, r io.Reader) error { return early(ctx, b.Store, id, r) }
		},
		"the reader's error is swallowed": func(b *broken) {
			b.put = func(ctx context.Context, id blob.ID, r io.Reader) error { return b.Store.Put(ctx, id, swallowing{r}) }
		},
		"Put goes on after its context": func(b *broken) {
			b.put = func(ctx context.Context, id blob.ID, r io.Reader) error {
				return b.Store.Put(context.WithoutCancel(ctx), id, io.LimitReader(r, 16<<20))
			}
		},
		"Delete does nothing": func(b *broken) { b.delete = func(context.Context, blob.ID) error { return nil } },
		"Delete of nothing fails": func(b *broken) {
			b.delete = func(ctx context.Context, id blob.ID) error {
				if _, err := get(ctx, b.Store, id); err != nil {
					return err
				}
				return b.Store.Delete(ctx, id)
			}
		},
		"Delete takes more than the one": func(b *broken) {
			b.delete = func(ctx context.Context, id blob.ID) error {
				for info := range b.Store.All(ctx) {
					if strings.HasPrefix(string(info.ID), string(id)) {
						_ = b.Store.Delete(ctx, info.ID)
					}
				}
				return b.Store.Delete(ctx, id)
			}
		},
		"any id will do": func(b *broken) {
			b.put = func(ctx context.Context, id blob.ID, r io.Reader) error {
				return except(b.Store.Put(ctx, id, r), blob.ErrInvalid)
			}
		},
		"another error for what is not there": func(b *broken) {
			b.open = func(ctx context.Context, id blob.ID) (io.ReadCloser, error) {
				r, err := b.Store.Open(ctx, id)
				if errors.Is(err, blob.ErrNotFound) {
					err = errors.New("no such document")
				}
				return r, err
			}
		},
		"All leaves one out": func(b *broken) {
			b.all = func(ctx context.Context) iter.Seq2[blob.Info, error] {
				return func(yield func(blob.Info, error) bool) {
					for info, err := range b.Store.All(ctx) {
						if info.ID != "d599" && !yield(info, err) {
							return
						}
					}
				}
			}
		},
		"All says another size": func(b *broken) {
			b.all = func(ctx context.Context) iter.Seq2[blob.Info, error] {
				return func(yield func(blob.Info, error) bool) {
					for info, err := range b.Store.All(ctx) {
						info.Size++
						if !yield(info, err) {
							return
						}
					}
				}
			}
		},
		"All passes over the end of its context": func(b *broken) {
			b.all = func(ctx context.Context) iter.Seq2[blob.Info, error] { return b.Store.All(context.WithoutCancel(ctx)) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caught := false
			for _, c := range checks {
				b := &broken{Store: memblob.New()}
				plant(b)
				caught = caught || len(conformance.Record(t, func(r conformance.Tester) { c.run(r, b) })) > 0
			}
			require.True(t, caught)
		})
	}
	for _, c := range checks {
		require.Empty(t, conformance.Record(t, func(r conformance.Tester) { c.run(r, memblob.New()) }), c.rule)
	}
}

func TestBrokenStoresAreCaughtWhenTheyAreOpenedAgain(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func() (open func() blob.Store, damage func(blob.ID, int) bool){
		"nothing is kept": func() (func() blob.Store, func(blob.ID, int) bool) {
			return func() blob.Store { return memblob.New() }, func(blob.ID, int) bool { return false }
		},
		"damage is read": func() (func() blob.Store, func(blob.ID, int) bool) {
			s := memblob.New()
			return func() blob.Store { return s }, func(_ blob.ID, n int) bool { return n < 3 }
		},
	} {
		caught := 0
		for _, c := range reopenChecks {
			open, damage := plant()
			caught += len(conformance.Record(t, func(r conformance.Tester) { c.run(r, open, damage) }))
		}
		require.NotZero(t, caught, name)
	}
}

func replace(ctx context.Context, s blob.Store, id blob.ID, r io.Reader) error {
	b, err := io.ReadAll(blob.Reader{Context: ctx, R: r})
	if err == nil {
		err = s.Put(ctx, id, bytes.NewReader(b))
	}
	if errors.Is(err, blob.ErrExists) {
		_ = s.Delete(ctx, id)
		err = s.Put(ctx, id, bytes.NewReader(b))
	}
	return err
}

func except(err, but error) error {
	if errors.Is(err, but) {
		return nil
	}
	return err
}

func half(ctx context.Context, s blob.Store, id blob.ID, r io.Reader) error {
	b, err := io.ReadAll(blob.Reader{Context: ctx, R: r})
	return errors.Join(err, s.Put(context.WithoutCancel(ctx), id, bytes.NewReader(b)))
}

func early(ctx context.Context, s blob.Store, id blob.ID, r io.Reader) error {
	if err := s.Put(ctx, id, strings.NewReader("")); err != nil {
		return err
	}
	b, err := io.ReadAll(blob.Reader{Context: ctx, R: r})
	_ = s.Delete(context.WithoutCancel(ctx), id)
	if err != nil {
		return err
	}
	return s.Put(ctx, id, bytes.NewReader(b))
}

// swallowing takes an error for the end.
type swallowing struct{ r io.Reader }

func (s swallowing) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}
