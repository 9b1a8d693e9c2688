package simulation

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shrink leaves steps out of a plan that fails, and then kinds of weather, as long as the rest fails. It tries so often at most.
func shrink(p plan, tries int, fails func(plan) bool) plan {
	try := func(q plan) bool {
		if tries == 0 {
			return false
		}
		tries--
		if fails(q) {
			p = q
			return true
		}
		return false
	}
	for size := (len(p.steps) + 1) / 2; size > 0 && tries > 0; size /= 2 {
		for from := 0; from < len(p.steps) && tries > 0; {
			q := p
			q.steps = slices.Delete(slices.Clone(p.steps), from, min(from+size, len(p.steps)))
			if !try(q) {
				from += size
			}
		}
	}
	for i := range p.weather.all() {
		q := p
		if n := q.weather.all()[i]; *n != 0 {
			*n = 0
			try(q)
		}
	}
	return p
}

func (w *weather) all() []*int {
	return []*int{&w.aborted, &w.unknown, &w.conflict, &w.failed, &w.crash, &w.unread, &w.torn, &w.partial, &w.slow, &w.channel}
}

// String is what a reader of a failure wants to know of a plan.
func (p plan) String() string {
	var b strings.Builder
	rest := p
	rest.steps = nil
	type plain plan // without this method
	fmt.Fprintf(&b, "%+v", plain(rest))
	for _, s := range p.steps {
		fmt.Fprintf(&b, "\n%v", s)
	}
	return b.String()
}

func TestShrink(t *testing.T) {
	p := newPlan(3)
	p.weather = weather{aborted: 20, crash: 2, torn: 100}
	needed := []int{p.steps[2].number, p.steps[20].number}
	tried := 0
	fails := func(q plan) bool {
		tried++
		found := 0
		for _, s := range q.steps {
			if slices.Contains(needed, s.number) {
				found++
			}
		}
		return found == 2 && q.weather.crash > 0
	}
	q := shrink(p, 200, fails)
	require.Len(t, q.steps, 2)
	require.Equal(t, weather{crash: 2}, q.weather)
	require.LessOrEqual(t, tried, 200)
	require.Len(t, p.steps, len(newPlan(3).steps), "the plan itself stays")
	tried = 0
	require.True(t, fails(shrink(p, 5, fails)))
	require.LessOrEqual(t, tried, 6)
}
