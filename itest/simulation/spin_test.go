package simulation

import "time"

// A spin counts what is done again and again, by which an engine shows that it goes round in a circle.
type spin struct {
	since time.Time
	n     int
}

// An engine asks for the time some 150 times at one moment at the most, and looks for due work some 350 times in ten seconds.
const (
	mostAsks  = 2000
	mostLooks = 1000
	lookSpan  = 10 * time.Second
)

// more counts one more within a span that began with the first, and reports whether it is one too many. Each span tells it once.
func (s *spin) more(span time.Duration, most int) bool {
	if now := time.Now(); s.n == 0 || now.Sub(s.since) > span {
		s.since, s.n = now, 0
	}
	s.n++
	return s.n == most
}
