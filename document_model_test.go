package appio_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/blob/memblob"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/store/memstore"
)

// TestDocumentsAgreeWithAModel puts, sends, reads and collects documents at random, with erasures and leaps of the clock between, while the
// engine dies at one commit after another, before it is made or after. A model says which can be read, by whom, and which are kept.
func TestDocumentsAgreeWithAModel(t *testing.T) {
	t.Parallel()
	seed := form.Seed(t)
	var seen documentFigures
	worlds := 0
	for more := form.Rounds(t, 0, 60, 30); more(); worlds++ {
		playDocuments(t, rand.New(rand.NewPCG(seed, uint64(worlds))), fmt.Sprintf("ITEST_SEED=%d, world %d", seed, worlds), &seen)
	}
	for _, n := range []int{seen.put, seen.read, seen.refused, seen.erased, seen.collected, seen.crashes} {
		require.Positive(t, n, seen)
	}
	form.Figures(t, map[string]float64{"worlds": float64(worlds), "documents": float64(seen.put), "read": float64(seen.read), "refused": float64(seen.refused),
		"erased": float64(seen.erased), "collected": float64(seen.collected), "crashes": float64(seen.crashes)})
}

type documentFigures struct{ put, read, refused, erased, collected, crashes int }

// A modelDocument is what its service knows of it.
type modelDocument struct {
	appio.Document
	content []byte
	service appio.ServiceID
	to      fiscalcode.Person
	at      time.Time
	message appio.MessageID // that has it; empty: none
	gone    bool            // with its citizen
}

func playDocuments(t *testing.T, r *rand.Rand, run string, seen *documentFigures) {
	ctx := t.Context()
	disk, kept, clock := memstore.New(), memblob.New(), newHandClock("2026-04-10 08:00")
	next := func() *mortal { return &mortal{Store: disk, left: 2 + r.IntN(15), made: r.IntN(2) == 0} }
	e := newLives(t, run, next, func(*mortal) *appio.Options {
		return &appio.Options{Keys: townKeys, Now: clock.now, Documents: kept}
	})
	services := []appio.ServiceID{"mensa", "tari"}
	for _, id := range services {
		e.do(func() error { return e.PutService(ctx, newService(func(s *appio.Service) { s.ID = id })) })
	}
	citizen := func(code fiscalcode.Person) *appio.Citizen {
		return e.Citizen(appio.Identity{Code: code, Level: appio.L2})
	}
	known := map[fiscalcode.Person]bool{}
	var all []*modelDocument
	check := func(what string) {
		t.Helper()
		readable := map[appio.DocumentID]bool{}
		for _, d := range all {
			if d.message == "" || d.gone {
				continue
			}
			readable[d.ID] = true
			e.do(func() error {
				got, content, err := readDocument(ctx, citizen(d.to), d.message, d.ID)
				if err == nil {
					require.Equal(t, d.SHA256, got.SHA256, run)
					require.True(t, bytes.Equal(d.content, content), "%s: after %s a document is another", run, what)
					seen.read++
				}
				return err
			})
			other := personNumber(r.IntN(3))
			e.do(func() error {
				_, _, err := citizen(other).OpenDocument(ctx, d.message, d.ID)
				if other != d.to && !e.store.dead() {
					require.ErrorIs(t, err, appio.ErrNotFound, run)
					return nil
				}
				return err
			}, appio.ErrNotFound)
		}
		for code := range known {
			e.do(func() error {
				listed := map[appio.DocumentID]bool{}
				for k, err := range citizen(code).Documents().All(ctx) {
					if err != nil {
						return err
					}
					listed[k.ID] = true
				}
				want := maps.Clone(readable)
				maps.DeleteFunc(want, func(id appio.DocumentID, _ bool) bool {
					return !slices.ContainsFunc(all, func(d *modelDocument) bool { return d.ID == id && d.to == code })
				})
				require.Equal(t, want, listed, "%s: after %s", run, what)
				return nil
			})
		}
	}
	collect := func() {
		removed := 0
		e.do(func() error { n, err := e.CollectDocuments(ctx); removed += n; return err })
		seen.collected += removed
		want := 0
		for _, d := range all {
			if !d.gone && (d.message != "" || !clock.now().After(d.at.Add(48*time.Hour))) {
				want++
			}
		}
		require.Len(t, blobs(t, kept), want, "%s: what no message has goes after two days, and nothing else", run)
	}
	for n := range 60 {
		code, service := personNumber(r.IntN(3)), services[r.IntN(2)]
		switch k := r.IntN(20); {
		case k < 6:
			d := &modelDocument{content: certificate([]int{9, 100, 65_535, 65_536, 65_537, 9 + r.IntN(150_000)}[r.IntN(6)]), service: service, to: code, at: clock.now()}
			e.do(func() (err error) {
				d.Document, err = e.Sender(service).PutDocument(ctx, code, certificateOf, bytes.NewReader(d.content))
				return err
			})
			all = append(all, d)
			seen.put++
		case k < 11 && len(all) > 0:
			first := all[r.IntN(len(all))]
			docs := []*modelDocument{first}
			for _, d := range all {
				if d != first && d.to == first.to && d.service == first.service && !d.gone && d.message == "" && len(docs) < 3 {
					docs = append(docs, d)
				}
			}
			var want error
			m := messageTo(first.to, withKey(fmt.Sprint(n)))
			for _, d := range docs {
				m.Documents = append(m.Documents, d.Document)
				switch {
				case !clock.now().Before(d.at.Add(24 * time.Hour)):
					want = appio.ErrExpired
				case d.message != "" && want == nil:
					want = appio.ErrConflict
				}
			}
			var res appio.Result
			e.do(func() (err error) {
				if res, err = e.Sender(first.service).Send(ctx, m); want != nil && !e.store.dead() {
					require.ErrorIs(t, err, want, "%s: a document is sent too late, or twice", run)
					seen.refused++
					return nil
				}
				return err
			})
			if want == nil && known[first.to] {
				require.Equal(t, appio.Processed, res.Status, run)
				for _, d := range docs {
					d.message = res.ID
				}
			} else if want == nil {
				require.Equal(t, appio.Rejected, res.Status, run)
			}
		case k < 13:
			e.do(func() error { return citizen(code).SetMode(ctx, appio.Auto) })
			known[code] = true
		case k < 14 && known[code]:
			e.do(func() error { return citizen(code).Erase(ctx) })
			e.flush()
			delete(known, code)
			for _, d := range all {
				if d.to == code && d.message != "" && !d.gone {
					d.gone = true
					seen.erased++
				}
			}
		case k < 16:
			clock.set(clock.now().Add(time.Duration(1+r.IntN(20)) * time.Hour))
			e.flush()
		case k < 17:
			collect()
		default:
			check(fmt.Sprintf("step %d", n))
		}
	}
	clock.set(clock.now().Add(72 * time.Hour))
	e.flush()
	collect()
	check("the end")
	_ = e.Close()
	seen.crashes += e.crashes
}
