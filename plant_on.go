//go:build plant

package appio

import "os"

// planted is one of, for itest/revocation and itest/simulation: no-gate, no-foreign-wait, no-start-check, no-skew; for itest/crash:
// no-key, no-outcome; for itest/simulation: change-unseen, late-delivered, attempts-forgotten, unknown-is-failed, landed-again,
// held-forgotten, lane-forgotten, cursor-skips, erasure-skips. See docs/guarantees.md.
var planted = os.Getenv("APPIO_PLANT")
