// Package choices shows that the tests of quiet hours, fallbacks and digests, which are in the library, can fail.
package choices

import (
	"testing"

	"github.com/appio-go/appio/itest/internal/planted"
)

// TestPlantedBugs runs tests of the library against engines with a bug put into them on purpose.
func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the tests anew")
	}
	const quiet, fallback, crash, model = "TestQuietHoursHoldBackWhatInterrupts", "TestFallback", "TestChoicesSurviveACrashAtEachStep", "TestChoicesAgreeWithAModel"
	const digest, digests, dying = "TestDigest$", "TestDigestsAgreeWithAModel", "TestDigestsSurviveACrashAtEachStep"
	binary := planted.BuildOf(t, "github.com/appio-go/appio")
	bug := func(name, test, says string) planted.Bug {
		return planted.Bug{Name: name + ", by " + test, Env: "APPIO_PLANT=" + name, Test: test, Says: says, Rounds: 10, Count: "30"}
	}
	planted.None(t, binary, quiet, fallback, crash, model, digest, digests, dying)
	planted.Run(t, binary,
		bug("quiet-unseen", quiet, "FAIL: .*/also_if_it_was_chosen_after_the_message_came"),
		bug("quiet-short", quiet, "FAIL: .*/also_what_is_tried_again"),
		bug("quiet-stale", quiet, "FAIL: .*/as_the_citizen_chooses_while_it_waits"),
		bug("quiet-stale", crash, "messaggio della notte"),
		bug("fallback-late", fallback, "FAIL: .*/or_fails_for_good"),
		bug("fallback-late", crash, "messaggio rifiutato"),
		bug("quiet-unseen", model, "step .* quiet"),
		bug("quiet-stale", model, "step .* quiet"),
		bug("fallback-late", model, "step .* quiet"),
		bug("fallback-first", fallback, "FAIL: .*/does_not_come_before_what_quiet_hours_have_put_off"),
		bug("fallback-first", model, "step .* quiet"),
		bug("fallback-read", fallback, "FAIL: .*/is_not_sent_once_it_was_read"),
		bug("fallback-blind", fallback, "FAIL: .*/nor_where_it_was_read_while_it_waited"),
		bug("digest-urgent", digest, "FAIL: .*/and_not_of_what_is_due_before_the_day_after_it"),
		bug("digest-urgent", digests, "step .* digest"),
		bug("digest-read", digest, "FAIL: .*/without_what_the_citizen_knows_of"),
		bug("digest-read", digests, "step .* digest"),
		bug("digest-read", dying, "due"),
		bug("digest-late", digest, "FAIL: .*/without_what_the_citizen_knows_of"),
		bug("digest-late", digests, "step .* digest"),
		bug("digest-kept", digest, "FAIL: .*/goes_at_once_where_it_is_not_wanted_any_more"),
		bug("digest-kept", digests, "step .* digest"),
		bug("digest-kept", dying, "quattro cinque"),
		bug("digest-both", digest, "FAIL: .*/is_one_delivery_a_day"),
		bug("digest-both", digests, "step .* digest"),
	)
}
