// Package reminders shows that reminders survive clocks: of eleven years in Rome, with both changes of the clocks in each, clocks that
// leap, engines that die in the midst of a commit and times without any, an oracle of its own says which reminders are due.
package reminders

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio/internal/form"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReminders(t *testing.T) {
	form.Watch(t, 20*time.Minute)
	require.Len(t, changes, 22)
	seed := form.Seed(t)
	seen := map[string]float64{"violations": 0}
	n := uint64(0)
	for more := form.Rounds(t, 0.05, 1, 1); more(); n++ {
		synctest.Test(t, func(t *testing.T) {
			w := madeUp(t, seed+n)
			w.live()
			require.NoError(t, w.engine.Close())
			for name, k := range w.seen {
				seen[name] += k
			}
			seen["violations"] += float64(len(w.violations))
			require.Empty(t, w.violations, "violations with ITEST_SEED=%d: %s", seed+n, strings.Join(slices.Concat(w.violations, []string{"Before:"}, w.story), "\n"))
		})
		if t.Failed() {
			break
		}
	}
	seen["worlds"] = float64(n)
	form.Figures(t, seen)
}
