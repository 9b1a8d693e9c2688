package simulation

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/itest/internal/planted"
)

// TestPlantedBugs runs the seeds against engines with a bug put into them on purpose. Which seed sees it is a matter of chance,
// and another one after each change of the engine.
func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the tests anew")
	}
	binary := planted.Build(t)
	for _, bug := range []struct {
		name  string
		first int // seed: a bug that is seen seldom is looked for from near one that sees it
		seeds int // from there on, within which it is caught
	}{
		{"no-gate", 1, 200}, {"no-foreign-wait", 1, 200}, {"no-start-check", 1001, 2000}, {"no-skew", 1, 2000},
		{"change-unseen", 1, 200}, {"late-delivered", 1, 200}, {"attempts-forgotten", 1, 200}, {"unknown-is-failed", 1, 200}, {"landed-again", 1, 200},
		{"held-forgotten", 2001, 2000}, {"lane-forgotten", 1, 2000}, {"cursor-skips", 1, 200}, {"erasure-skips", 2001, 2000},
		{"quiet-unseen", 1, 1000}, {"digest-both", 1, 200}, {"digest-read", 1, 2000},
	} {
		t.Run("caught: "+bug.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), binary, "-test.run=^TestSeeds$", "-test.v", "-test.timeout=5m")
			cmd.Env = append(os.Environ(), "APPIO_PLANT="+bug.name, "ITEST_SEED=", "ITEST_FIRST="+strconv.Itoa(bug.first), "ITEST_FAILURES=1", "ITEST_COUNT="+strconv.Itoa(bug.seeds))
			out, _ := cmd.CombinedOutput()
			found := regexp.MustCompile(`seed (\d+) fails.*\n *(.*)`).FindSubmatch(out)
			require.NotNil(t, found, "not caught within %d seeds from %d: %s", bug.seeds, bug.first, out)
			t.Logf("caught by seed %s: %s", found[1], found[2])
		})
	}
}
