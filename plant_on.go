//go:build plant

package appio

import "os"

// planted is one of: no-gate, no-foreign-wait, no-start-check, no-skew. See docs/guarantees.md.
var planted = os.Getenv("APPIO_PLANT")
