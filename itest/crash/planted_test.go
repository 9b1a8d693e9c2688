package crash

import (
	"os"
	"testing"

	"github.com/appio-go/appio/itest/internal/planted"
)

// envForget lets the third life be forgotten: the file is put back as it was before.
const envForget = "APPIO_CRASH_FORGET"

func TestKillSeesWhatIsLost(t *testing.T) {
	planted.Run(t, os.Args[0], planted.Bug{
		Name: "a life is forgotten", Env: envForget + "=yes", Test: "TestKill", Says: "was accepted and is lost",
		Rounds: 5, // the third life may be too short to accept anything
	})
}

func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the tests anew")
	}
	planted.Run(t, planted.Build(t),
		planted.Bug{Name: "no-key", Env: "APPIO_PLANT=no-key", Test: "TestKill", Says: "one key, and several messages|repeated: false", Rounds: 1},
		planted.Bug{Name: "no-outcome", Env: "APPIO_PLANT=no-outcome", Test: "TestKill", Says: "more copies than were under way|known to be, and went out again", Rounds: 4, Count: "8"},
	)
}
