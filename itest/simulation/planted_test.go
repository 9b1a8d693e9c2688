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
		seeds int // within which it is caught
	}{
		{"no-gate", 200}, {"no-foreign-wait", 200}, {"no-start-check", 2000}, {"no-skew", 2000},
		{"change-unseen", 200}, {"late-delivered", 200}, {"attempts-forgotten", 200}, {"unknown-is-failed", 200}, {"landed-again", 200},
		{"held-forgotten", 2000}, {"lane-forgotten", 2000}, {"cursor-skips", 200}, {"erasure-skips", 2000},
		{"quiet-unseen", 1000}, {"digest-both", 200}, {"digest-read", 2000},
	} {
		t.Run("caught: "+bug.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), binary, "-test.run=^TestSeeds$", "-test.v", "-test.timeout=5m")
			cmd.Env = append(os.Environ(), "APPIO_PLANT="+bug.name, "ITEST_SEED=", "ITEST_FIRST=1", "ITEST_FAILURES=1", "ITEST_COUNT="+strconv.Itoa(bug.seeds))
			out, _ := cmd.CombinedOutput()
			found := regexp.MustCompile(`seed (\d+) fails.*\n *(.*)`).FindSubmatch(out)
			require.NotNil(t, found, "not caught within %d seeds: %s", bug.seeds, out)
			t.Logf("caught by seed %s: %s", found[1], found[2])
		})
	}
}
