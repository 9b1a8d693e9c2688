package hot

import (
	"os"
	"testing"

	"github.com/appio-go/appio/itest/internal/planted"
)

func TestPlantedBugs(t *testing.T) {
	planted.Run(t, os.Args[0], planted.Bug{
		Name: "a store that reads all of an owner", Env: envWhole + "=yes", Test: "TestCostOfAccepting", Says: "costs more the longer", Rounds: 1,
	})
	if testing.Short() {
		t.Skip("for those of the engine it builds the tests anew")
	}
	const flooded = "a choice in a flood|the flood was over before the choice"
	planted.Run(t, planted.Build(t),
		planted.Bug{Name: "choice-last", Env: "APPIO_PLANT=choice-last", Test: "TestAChoiceInAFlood", Says: flooded, Rounds: 8},
		planted.Bug{Name: "choice-crowded", Env: "APPIO_PLANT=choice-crowded", Test: "TestAChoiceInAFlood", Says: flooded, Rounds: 8},
		planted.Bug{Name: "lease-sat-out", Env: "APPIO_PLANT=lease-sat-out", Test: "TestFourEnginesWriteToOneCitizen", Says: "revocations under fire", Rounds: 2},
		planted.Bug{Name: "void-at-once", Env: "APPIO_PLANT=void-at-once", Test: "TestALongHistory", Says: "a first revocation", Rounds: 4},
	)
}
