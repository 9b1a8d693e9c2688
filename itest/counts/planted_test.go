package counts

import (
	"testing"

	"github.com/appio-go/appio/itest/internal/planted"
)

func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the tests anew")
	}
	bug := func(name, test, says string, rounds int) planted.Bug {
		return planted.Bug{Name: name, Env: "APPIO_PLANT=" + name, Test: test, Says: says, Rounds: rounds, Count: "40"}
	}
	const kills, recount, model, small = "TestCountsAfterKills", "TestStatisticsAgreeWithARecount", "TestFeedAgreesWithAModel", "TestSmallNumbersAreNotTold"
	planted.Run(t, planted.Build(t), bug("tally-first", kills, "statistics of .* are not what is there", 5))
	library := planted.BuildOf(t, "github.com/appio-go/appio")
	planted.None(t, library, recount, model, small)
	planted.Run(t, library,
		bug("tally-late", recount, "deliveries of all days", 1),
		bug("tally-added", recount, "seed", 3),
		bug("small-told", small, "fewer than ten are told", 1),
		bug("small-even", small, "where the ten begins", 1),
		bug("small-days", small, "where the ten begins", 1),
		bug("small-anew", small, "asked again it is the same", 1),
		bug("small-open", small, "a day that is not over", 1),
		bug("feed-kept", model, "seed .* on", 1),
		bug("feed-early", "TestSubscriptionsFeed", "feed_test.go", 1),
		bug("feed-blind", "TestFeedEffectsInAnyOrder", "in another order", 1),
	)
}
