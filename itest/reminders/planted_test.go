package reminders

import (
	"testing"

	"github.com/appio-go/appio/itest/internal/planted"
)

// TestPlantedBugs runs the tests of this package against engines with a bug put into them on purpose. In which world it shows is a matter
// of chance.
func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the tests anew")
	}
	binary := planted.Build(t)
	bug := func(name, says string) planted.Bug {
		return planted.Bug{Name: name, Env: "APPIO_PLANT=" + name, Test: "TestReminders", Says: says, Rounds: 30, Count: "5"}
	}
	planted.None(t, binary, "TestReminders", "TestNothingPendingIsLeft", "TestOneNoticeTwice")
	planted.Run(t, binary,
		bug("reminder-missed", "missed: "),
		bug("reminder-twice", "a second "),
		bug("reminder-backlog", "though one of .* is due|a second "),
		bug("reminder-overtaken", "that was overtaken"),
		planted.Bug{Name: "reminder-elsewhere", Env: "APPIO_PLANT=reminder-elsewhere", Test: "TestOneNoticeTwice", Says: "that was overtaken", Rounds: 1},
		bug("reminder-night", "reminder at night"),
		bug("reminder-read", "reminder of what was read"),
		bug("reminder-paid", "reminder of a notice (that is|while)"),
		bug("reminder-begun", "missed: unpaid"),
	)
}
