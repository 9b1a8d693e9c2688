package revocation

import (
	"testing"

	"github.com/appio-go/appio/itest/internal/planted"
)

// TestPlantedBugs runs the tests of this package against engines with a bug put into them on purpose.
func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the tests anew")
	}
	binary := planted.Build(t)
	planted.None(t, binary, "TestOneEngine", "TestTwoEngines")
	const violated = "violations( in|:)"
	planted.Run(t, binary,
		planted.Bug{Name: "no-gate", Env: "APPIO_PLANT=no-gate", Test: "TestOneEngine", Says: violated, Rounds: 2},
		planted.Bug{Name: "no-foreign-wait", Env: "APPIO_PLANT=no-foreign-wait", Test: "TestTwoEngines", Says: violated, Rounds: 4},
		planted.Bug{Name: "no-start-check", Env: "APPIO_PLANT=no-start-check", Test: "TestTwoEngines", Says: violated, Rounds: 4},
		planted.Bug{Name: "no-skew", Env: "APPIO_PLANT=no-skew", Test: "TestTwoEngines", Says: violated, Rounds: 12},
	)
}
