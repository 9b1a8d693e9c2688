//go:build plant

package appio

import "os"

// planted is one of, for itest/revocation and itest/simulation: no-gate, no-foreign-wait, no-start-check, no-skew; for itest/crash:
// no-key, no-outcome; for itest/simulation: change-unseen, late-delivered, attempts-forgotten, unknown-is-failed, landed-again,
// held-forgotten, lane-forgotten, cursor-skips, erasure-skips; for itest/hot: choice-last, choice-crowded, lease-sat-out,
// void-at-once; for itest/channels: drain-endless, worker-left, close-early, first-come, one-lane, pause-late, pause-unseen,
// poison-counts, outage-spends; for itest/reminders: reminder-missed, reminder-twice, reminder-backlog, reminder-overtaken,
// reminder-elsewhere, reminder-night, reminder-read, reminder-paid, reminder-begun; for itest/choices, and the first for
// itest/simulation: quiet-unseen, quiet-short, quiet-stale, fallback-late, fallback-read, fallback-blind, fallback-first; for
// itest/choices, and the first two for itest/simulation: digest-both, digest-read, digest-urgent, digest-late, digest-kept; for
// itest/providers: breaker-stuck, breaker-restless, retry-at-once; for itest/documents: document-young, document-left, document-shared,
// document-late, document-early, document-foreign, document-over, opening-unshown, listed-left, listed-late; for itest/counts: tally-first,
// tally-late, tally-added, small-told, small-even, small-days, small-anew, small-open, feed-kept, feed-early, feed-blind. See
// docs/guarantees.md.
var planted = os.Getenv("APPIO_PLANT")
