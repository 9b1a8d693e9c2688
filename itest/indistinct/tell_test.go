package indistinct

import (
	"math"
	"slices"
	"time"
)

// A comparison is how two samples of times differ, as far as one can tell.
type comparison struct {
	auc        float64 // how often a time of the second is longer than one of the first: 0.5 where they are alike
	z          float64 // how far that is from 0.5, in standard deviations
	deviation  float64 // of what chance does with as many
	difference time.Duration
}

// tell compares by ranks (Mann and Whitney), so that it asks for no shape of the distributions and a few long times do not count for more
// than others. The difference is that of the medians.
func tell(a, b []time.Duration) comparison {
	type timed struct {
		took   time.Duration
		second bool
	}
	var all []timed
	for _, t := range a {
		all = append(all, timed{t, false})
	}
	for _, t := range b {
		all = append(all, timed{t, true})
	}
	slices.SortFunc(all, func(x, y timed) int { return int(x.took - y.took) })
	ranks := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].took == all[i].took {
			j++
		}
		for _, t := range all[i:j] {
			if t.second {
				ranks += float64(i+j+1) / 2
			}
		}
		i = j
	}
	n, m := float64(len(a)), float64(len(b))
	auc := (ranks - m*(m+1)/2) / (n * m)
	deviation := math.Sqrt((n + m + 1) / (12 * n * m))
	return comparison{auc, (auc - 0.5) / deviation, deviation, median(b) - median(a)}
}

// spread is how far the middle half of some times is apart.
func spread(ts []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(ts))
	return sorted[len(sorted)*3/4] - sorted[len(sorted)/4]
}

func median(ts []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(ts))
	return sorted[len(sorted)/2]
}
