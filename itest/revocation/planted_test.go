package revocation

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPlantedBugs runs the tests of this package against engines with a bug put into them on purpose, by the build tag plant:
// a test that cannot fail shows nothing.
func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the tests anew")
	}
	binary := filepath.Join(t.TempDir(), "planted.test")
	out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "plant", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, planted := range []struct {
		bug, test string
		rounds    int // what happens at the same moment is not up to the test, so it may need more than one
	}{
		{"", "TestOneEngine", 1},
		{"", "TestTwoEngines", 1},
		{"no-gate", "TestOneEngine", 2},
		{"no-foreign-wait", "TestTwoEngines", 4},
		{"no-start-check", "TestTwoEngines", 4},
		{"no-skew", "TestTwoEngines", 12},
	} {
		name := "caught: " + planted.bug
		if planted.bug == "" {
			name = "none, with " + planted.test
		}
		t.Run(name, func(t *testing.T) {
			for round := 1; round <= planted.rounds; round++ {
				cmd := exec.CommandContext(t.Context(), binary, "-test.run=^"+planted.test+"$", "-test.short", "-test.v", "-test.timeout=3m")
				cmd.Env = append(os.Environ(), "APPIO_PLANT="+planted.bug, "ITEST_SEED=")
				began := time.Now()
				out, err := cmd.CombinedOutput()
				violated := strings.Contains(string(out), "violations in") || strings.Contains(string(out), "violations:")
				switch {
				case planted.bug == "":
					require.NoError(t, err, "%s", out)
				case err == nil:
					continue
				default:
					var exit *exec.ExitError
					require.True(t, errors.As(err, &exit) && violated, "it failed for another reason: %v\n%s", err, out)
					t.Logf("caught in round %d, after %v", round, time.Since(began).Round(time.Millisecond))
					return
				}
			}
			if planted.bug != "" {
				t.Errorf("not caught in %d rounds", planted.rounds)
			}
		})
	}
}
