package simulation

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPlantedBugs runs the seeds against engines with a bug put into them on purpose, by the build tag plant: a simulation that
// cannot fail shows nothing.
func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the tests anew")
	}
	binary := filepath.Join(t.TempDir(), "planted.test")
	out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "plant", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, planted := range []struct {
		bug   string
		seeds int // within which it is caught
	}{
		{"", 100},
		{"no-gate", 200},
		{"no-foreign-wait", 200},
		{"no-start-check", 500},
		{"no-skew", 500},
		{"stale-consent", 500},
		{"change-unseen", 200},
		{"late-delivered", 200},
		{"attempts-forgotten", 200},
		{"unknown-is-failed", 200},
		{"landed-again", 500},
		{"held-forgotten", 500},
		{"lane-forgotten", 200},
		{"cursor-skips", 200},
		{"erasure-skips", 500},
	} {
		t.Run("caught: "+planted.bug, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), binary, "-test.run=^TestSeeds$", "-test.v", "-test.timeout=5m")
			cmd.Env = append(os.Environ(), "APPIO_PLANT="+planted.bug, "ITEST_SEED=", "ITEST_FIRST=1", "ITEST_FAILURES=1", "ITEST_COUNT="+strconv.Itoa(planted.seeds))
			out, err := cmd.CombinedOutput()
			if planted.bug == "" {
				require.NoError(t, err, "%s", out)
				return
			}
			found := regexp.MustCompile(`seed (\d+) fails.*\n(.*)`).FindSubmatch(out)
			require.NotNil(t, found, "not caught within %d seeds: %s", planted.seeds, out)
			t.Logf("caught by seed %s: %s", found[1], found[2])
		})
	}
}
