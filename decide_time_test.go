package appio_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

// A timetable is the rule of when a channel goes a second time, as its description has it: each channel has a place, which is when it
// would go if all went as planned.
type timetable struct {
	blind      bool // a channel that may show nothing is waited for
	nightly    bool // a law counts for nothing
	loud       bool // quiet hours do
	unattached bool // what stands in for another goes though the message is read
	hasty      bool // a fallback of what waits for the morning does not wait
}

// place is when the plan comes to a channel, and the last one before it that may go; empty: none.
func (t timetable) place(f appio.Facts, allowed map[string]bool, name string) (after time.Duration, last string) {
	for _, c := range f.Channels {
		if c.Name != name {
			continue
		}
		for _, of := range f.Channels {
			if of.Name == c.Fallback.Of {
				after, last = t.place(f, allowed, of.Name)
				if allowed[of.Name] || t.blind {
					if after == 0 && last == "" && !t.hasty {
						after = t.quiet(f, of)
					}
					return after + c.Fallback.After, of.Name
				}
				return after, last
			}
		}
	}
	return 0, ""
}

func (t timetable) quiet(f appio.Facts, c appio.ChannelFacts) time.Duration {
	if f.QuietBasis != "" && !t.nightly || t.loud {
		return 0
	}
	return c.Quiet
}

func (t timetable) decide(f appio.Facts) []appio.ChannelDecision {
	allowed := map[string]bool{}
	var ds []appio.ChannelDecision
	for _, c := range f.Channels {
		d := appio.ChannelDecision{Name: c.Name, Content: c.Switch}
		if allowed[c.Name] = c.Switch != appio.None; !allowed[c.Name] {
			d.Rule = appio.RuleChannelOff
		}
		ds = append(ds, d)
	}
	for i, c := range f.Channels {
		if !allowed[c.Name] {
			continue
		}
		if ds[i].After, ds[i].For = t.place(f, allowed, c.Name); ds[i].For == "" {
			ds[i].After = t.quiet(f, c)
		}
		if t.unattached {
			ds[i].For = ""
		}
	}
	return ds
}

// timeFacts are all combinations of what the rule knows of when three channels go.
func timeFacts(yield func(appio.Facts)) {
	day := func(of string) appio.Fallback { return appio.Fallback{Of: of, After: 24 * time.Hour} }
	hour := func(of string) appio.Fallback { return appio.Fallback{Of: of, After: time.Hour} }
	for _, plan := range [][3]appio.Fallback{
		{}, {day("push")}, {day("push"), {}, hour("email")}, {day("push"), {}, hour("push")}, {day("sms"), hour("email")}, {day("fax")},
	} {
		for bits := range 1 << 6 {
			for _, law := range []string{"", "a law"} {
				f := appio.Facts{Known: true, Mode: appio.Auto, Inbox: true, QuietBasis: law}
				for i, name := range []string{"email", "push", "sms"} {
					c := appio.ChannelFacts{Name: name, Address: true, Validated: true, Fallback: plan[i]}
					if bits>>i&1 != 0 {
						c.Switch = appio.Full
					}
					if bits>>(3+i)&1 != 0 {
						c.Quiet = time.Duration(i+1) * 10 * time.Minute
					}
					f.Channels = append(f.Channels, c)
				}
				yield(f)
			}
		}
	}
}

func TestDecideTime(t *testing.T) {
	t.Parallel()
	differs := func(o timetable) (n int) {
		timeFacts(func(f appio.Facts) {
			if !same(appio.Decide(f), appio.Decision{Status: appio.Processed, Rule: appio.RuleModeAuto, Channels: o.decide(f)}) {
				n++
			}
		})
		return n
	}
	require.Zero(t, differs(timetable{}))
	for name, o := range map[string]timetable{
		"blind": {blind: true}, "nightly": {nightly: true}, "loud": {loud: true}, "unattached": {unattached: true}, "hasty": {hasty: true},
	} {
		require.Positive(t, differs(o), name)
	}
}

// What no engine writes ends all the same: a record that is read back may say anything.
func TestDecideTimeEnds(t *testing.T) {
	t.Parallel()
	f := appio.Facts{Known: true, Mode: appio.Auto, Inbox: true}
	for _, c := range [][2]string{{"a", "b"}, {"b", "c"}, {"c", "b"}, {"d", "d"}, {"", ""}} {
		f.Channels = append(f.Channels, appio.ChannelFacts{
			Name: c[0], Switch: appio.Full, Address: true, Validated: true, Fallback: appio.Fallback{Of: c[1], After: time.Hour},
		})
	}
	d := appio.Decide(f)
	require.True(t, appio.Decide(f).Equal(d))
	require.Len(t, d.Channels, 5)
}
