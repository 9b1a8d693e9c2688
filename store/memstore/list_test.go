package memstore

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func sought[T cmp.Ordered](x T) func(T) bool { return func(item T) bool { return item < x } }

// A list that grows to many chunks and shrinks to none is always as a sorted slice would be.
func TestListIsASortedSlice(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(random *rand.Rand, step int) int{
		"at random":   func(random *rand.Rand, _ int) int { return random.IntN(8 * chunkLen) },
		"at the end":  func(_ *rand.Rand, step int) int { return step },
		"at the head": func(_ *rand.Rand, step int) int { return -step },
		"in the middle": func(random *rand.Rand, step int) int {
			return 1000 + (1-2*(step%2))*(10*chunkLen-step)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, 2))
			var l list[int]
			var want []int
			insert := func(x int) {
				i, there := slices.BinarySearch(want, x)
				p := l.seek(sought(x))
				found, ok := l.at(p)
				require.Equal(t, there, ok && found == x)
				if there {
					l.replace(p, x)
					return
				}
				want = slices.Insert(want, i, x)
				l.insert(p, x)
			}
			remove := func(i int) {
				l.remove(l.seek(sought(want[i])))
				want = slices.Delete(want, i, i+1)
			}
			check := func() {
				require.Equal(t, len(want) == 0, l.empty())
				for _, chunk := range l.chunks {
					require.NotEmpty(t, chunk)
					require.LessOrEqual(t, len(chunk), chunkLen)
				}
				require.LessOrEqual(t, len(l.chunks), 1+len(want)/(chunkLen/8), "chunks that became small are joined")
				x := random.IntN(8 * chunkLen)
				i, _ := slices.BinarySearch(want, x)
				require.Equal(t, append([]int(nil), want[i:]...), slices.Collect(l.from(l.seek(sought(x)))))
				down := slices.Clone(want[:i])
				slices.Reverse(down)
				require.Equal(t, append([]int(nil), down...), slices.Collect(l.before(l.seek(sought(x)))))
			}
			for step := range 6 * chunkLen {
				insert(next(random, step))
				if step%3 == 0 && len(want) > 0 {
					remove(random.IntN(len(want)))
				}
				if step%100 == 0 {
					check()
				}
			}
			for len(want) > 0 {
				remove(random.IntN(len(want)))
				if len(want)%100 == 0 {
					check()
				}
			}
		})
	}
}

func BenchmarkList(b *testing.B) {
	const held = 1_000_000
	for name, next := range map[string]func(random *rand.Rand, step int) int64{
		"random": func(random *rand.Rand, _ int) int64 { return random.Int64N(1 << 40) },
		"queue":  func(_ *rand.Rand, step int) int64 { return int64(step) },
	} {
		b.Run(name, func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 2))
			var l list[int64]
			for step := range held {
				x := next(random, step)
				l.insert(l.seek(sought(x)), x)
			}
			step := held
			for b.Loop() { // one comes, the first goes
				x := next(random, step)
				l.insert(l.seek(sought(x)), x)
				l.remove(place{0, 0})
				step++
			}
		})
	}
}
