// Package planted runs a test again with a bug put in on purpose, and demands that it fails: a test that cannot fail shows nothing.
package planted

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A Bug is what is wrong, and which test must see it.
type Bug struct {
	Name   string
	Env    string // NAME=value that plants it
	Test   string
	Says   string // a regular expression: what the test says when it sees the bug
	Rounds int    // what happens at the same moment is not up to the test, so it may need more than one
	Count  string // ITEST_COUNT of a round; empty: the short form's
}

// Build makes this package's tests with an engine that bugs can be put into, by the build tag plant: see plant_on.go in the root.
func Build(t *testing.T) (binary string) { return BuildOf(t, ".") }

// BuildOf is Build of another package.
func BuildOf(t *testing.T, pkg string) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "planted.test")
	out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "plant", "-o", binary, pkg).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// Run runs each bug's test in a binary of tests until it fails for the bug's reason.
func Run(t *testing.T, binary string, bugs ...Bug) {
	t.Helper()
	for _, bug := range bugs {
		t.Run("caught: "+bug.Name, func(t *testing.T) {
			for round := 1; round <= bug.Rounds; round++ {
				began := time.Now()
				out, err := run(t, binary, bug)
				if err == nil {
					continue
				}
				var exit *exec.ExitError
				require.True(t, errors.As(err, &exit) && regexp.MustCompile(bug.Says).MatchString(out), "it failed for another reason: %v\n%s", err, out)
				t.Logf("caught in round %d, after %v", round, time.Since(began).Round(time.Millisecond))
				return
			}
			t.Errorf("not caught in %d rounds", bug.Rounds)
		})
	}
}

// None demands that tests of the binary pass without a bug.
func None(t *testing.T, binary string, tests ...string) {
	t.Helper()
	for _, test := range tests {
		t.Run("none, with "+test, func(t *testing.T) {
			out, err := run(t, binary, Bug{Test: test})
			require.NoError(t, err, "%s", out)
		})
	}
}

func run(t *testing.T, binary string, bug Bug) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "-test.run=^"+bug.Test+"$", "-test.short", "-test.v", "-test.timeout=3m")
	cmd.Env = append(os.Environ(), "ITEST_SEED=", "ITEST_FIRST=", "ITEST_SECONDS=", "ITEST_COUNT="+bug.Count, bug.Env)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
