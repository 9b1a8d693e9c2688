package appio

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What comes of a day does not depend on the order in which its effects come, nor on how often they do.
func TestFeedEffectsInAnyOrder(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	for range 500 {
		var effects []*feedRecord
		for n := range uint64(1 + r.IntN(8)) {
			e := &feedRecord{Number: n + 1, Op: feedOp(r.IntN(3))}
			if r.IntN(2) == 0 {
				e.Service, e.Op = ServiceID([]string{"a", "b"}[r.IntN(2)]), feedOpOf(r.IntN(2) == 0)
			}
			effects = append(effects, e)
		}
		day := func(effects []*feedRecord) *feedPersonRecord {
			p := &feedPersonRecord{Services: []feedServiceRecord{}}
			for _, e := range effects {
				var of []feedServiceRecord
				if e.Service != "" {
					of = append(of, feedServiceRecord{e.Service, e.Op, e.Number})
				}
				p.merge(e, of)
			}
			slices.SortFunc(p.Services, func(a, b feedServiceRecord) int { return strings.Compare(string(a.Service), string(b.Service)) })
			return p
		}
		want := day(effects)
		for range 5 {
			again := append(slices.Clone(effects), effects[r.IntN(len(effects))])
			r.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
			require.Equal(t, want, day(again), "in another order")
		}
	}
}
