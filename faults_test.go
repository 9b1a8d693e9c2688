package appio_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/store"
)

// made is a script of steps chosen by r, and what its inboxes hold in the end.
func made(r *rand.Rand) script {
	s := script{name: "made", steps: []func(context.Context, *town) error{puts(), joins(giuseppe)}}
	allowed, matteoCame, failed, number := true, false, false, 0
	var inGiuseppes, inMatteos []int
	for range 4 + r.IntN(5) {
		switch r.IntN(8) {
		case 0, 1, 2:
			var ms []appio.Message
			for range 1 + r.IntN(3) {
				number++
				switch r.IntN(4) {
				case 0, 1:
					ms = append(ms, numbered(giuseppe, number))
					if allowed {
						inGiuseppes = append(inGiuseppes, number)
					}
				case 2:
					ms = append(ms, numbered(matteo, number))
					if matteoCame {
						inMatteos = append(inMatteos, number)
					}
				default: // who never came
					ms = append(ms, numbered(personNumber(1), number))
				}
			}
			s.steps = append(s.steps, sends(ms...))
		case 3:
			s.steps = append(s.steps, flushes)
		case 4:
			allowed = r.IntN(2) == 0
			p := appio.Preference{Inbox: allowed}
			if r.IntN(2) == 0 {
				p.Channels = appio.On(appio.Email, appio.Push)
			}
			s.steps = append(s.steps, prefers(p))
		case 5:
			matteoCame = true
			s.steps = append(s.steps, joins(matteo))
		case 6:
			s.steps = append(s.steps, func(ctx context.Context, w *town) error {
				for m, err := range w.person(giuseppe).Inbox(nil).All(ctx) {
					if err != nil {
						return err
					}
					if err := w.person(giuseppe).MarkRead(ctx, m.ID); err != nil {
						return err
					}
				}
				return nil
			})
		default:
			if failed {
				s.steps = append(s.steps, waits(time.Duration(r.IntN(90))*time.Second))
				continue
			}
			failed = true
			s.steps = append(s.steps, answers(errProvider), flushes, answers(nil))
		}
	}
	s.steps = append(s.steps, waits(2*time.Minute), flushes)
	s.check = func(t *testing.T, w *town) {
		inboxOf(t, w, giuseppe, inGiuseppes...)
		inboxOf(t, w, matteo, inMatteos...)
	}
	return s
}

// envTear plants a bug: a store that leaves a record out of large changes.
const envTear = "APPIO_TEAR"

type tearing struct{ store.Store }

func (s *tearing) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	torn := make([]store.Change, len(changes))
	copy(torn, changes)
	for i := range torn {
		if n := len(torn[i].Put); n > 3 {
			torn[i].Put = torn[i].Put[:n-1]
		}
	}
	return s.Store.Commit(ctx, torn)
}

// TestFaultsInMadeScripts is TestFaults with scripts that are made: two, or ITEST_COUNT.
func TestFaultsInMadeScripts(t *testing.T) {
	seed := form.Seed(t)
	scripts, failing := 0, 0
	for more := form.Rounds(t, 0, 2, 1); more(); {
		s := made(rand.New(rand.NewPCG(seed, uint64(scripts))))
		scripts++
		for i := range faults {
			f := &faults[i]
			t.Run(fmt.Sprintf("%d: %s", scripts, f.name), func(t *testing.T) {
				for n := 1; ; n++ {
					hit := false
					synctest.Test(t, func(t *testing.T) { hit = runFaulty(t, &s, f, n) })
					if !hit {
						return
					}
					failing++
				}
			})
		}
	}
	form.Figures(t, map[string]float64{"scripts": float64(scripts), "failing calls": float64(failing)})
}

func TestFaultsSeeTornChanges(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFaultsInMadeScripts$", "-test.short", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), envTear+"=yes", "ITEST_COUNT=1", "ITEST_SEED=1")
	out, err := cmd.CombinedOutput()
	require.Error(t, err, "nobody saw that changes were torn")
	require.Contains(t, string(out), "each decision has its key")
}
