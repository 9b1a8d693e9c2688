package appio_test

import (
	"iter"
	"time"

	"github.com/appio-go/appio"
)

// An oracle is the consent rule a second time, taken from its description and not from its code: two lists of lines.
// Being data, it can be spoilt on purpose, which shows that the tests would notice.
type oracle struct {
	message []messageLine // the first that holds decides
	channel []channelLine // each may lower what a channel shows
	listed  bool          // a rejected message lists its channels too
}

type messageLine struct {
	rule   appio.Rule
	status appio.Status
	holds  func(appio.Facts) bool
}

type channelLine struct {
	rule appio.Rule
	most func(appio.Facts, appio.ChannelFacts) appio.Content
}

func newOracle() oracle {
	always := func(appio.Facts) bool { return true }
	special := func(f appio.Facts) bool { return f.Category == appio.Special }
	served := func(f appio.Facts) bool {
		return special(f) && (f.Activation == appio.Active || f.Activation == appio.Pending && f.Age < 24*time.Hour)
	}
	onlyIf := func(ok bool) appio.Content {
		if ok {
			return appio.Full
		}
		return appio.None
	}
	return oracle{
		message: []messageLine{
			{appio.RuleUnknown, appio.Rejected, func(f appio.Facts) bool { return !f.Known }},
			{appio.RuleUndecided, appio.Rejected, func(f appio.Facts) bool { return f.Mode == appio.Undecided }},
			{appio.RuleInboxOff, appio.Rejected, func(f appio.Facts) bool { return !f.Inbox }},
			{appio.RuleActivated, appio.Processed, served},
			{appio.RuleNotActivated, appio.Rejected, special},
			{appio.RuleServiceChosen, appio.Processed, func(f appio.Facts) bool { return f.HasPreference && f.InboxPreference }},
			{appio.RuleServiceRefused, appio.Rejected, func(f appio.Facts) bool { return f.HasPreference }},
			{appio.RuleModeAuto, appio.Processed, func(f appio.Facts) bool { return f.Mode == appio.Auto }},
			{appio.RuleModeManual, appio.Rejected, always},
		},
		channel: []channelLine{
			{appio.RuleChannelOff, func(_ appio.Facts, c appio.ChannelFacts) appio.Content { return c.Switch }},
			{appio.RuleChannelRefused, func(f appio.Facts, c appio.ChannelFacts) appio.Content {
				if !f.HasPreference {
					return appio.Full
				}
				return c.Preference
			}},
			{appio.RuleNoAddress, func(_ appio.Facts, c appio.ChannelFacts) appio.Content { return onlyIf(c.Address) }},
			{appio.RuleNotValidated, func(_ appio.Facts, c appio.ChannelFacts) appio.Content { return onlyIf(c.Validated) }},
			{appio.RuleSecure, func(f appio.Facts, c appio.ChannelFacts) appio.Content {
				if !f.Secure {
					return appio.Full
				}
				return c.Secure
			}},
		},
	}
}

func (o oracle) decide(f appio.Facts) appio.Decision {
	var d appio.Decision
	for _, line := range o.message {
		if line.holds(f) {
			d.Status, d.Rule = line.status, line.rule
			break
		}
	}
	if d.Status == appio.Rejected && !o.listed {
		return d
	}
	for _, c := range f.Channels {
		cd := appio.ChannelDecision{Name: c.Name, Content: appio.Full}
		for _, line := range o.channel {
			if most := line.most(f, c); most < cd.Content {
				cd.Content, cd.Rule = most, line.rule
			}
		}
		d.Channels = append(d.Channels, cd)
	}
	return d
}

// everyMessageFacts yields all combinations of what the rule knows beside the channels.
func everyMessageFacts() iter.Seq[appio.Facts] {
	bools := []bool{false, true}
	return func(yield func(appio.Facts) bool) {
		for _, known := range bools {
			for _, mode := range []appio.Mode{appio.Undecided, appio.Auto, appio.Manual} {
				for _, inbox := range bools {
					for _, has := range bools {
						for _, chosen := range bools {
							for _, category := range []appio.Category{appio.Standard, appio.Special} {
								for _, activation := range []appio.Activation{appio.Inactive, appio.Pending, appio.Active} {
									for _, age := range []time.Duration{0, time.Hour, 24*time.Hour - time.Second, 24 * time.Hour, 25 * time.Hour} {
										for _, secure := range bools {
											if !yield(appio.Facts{
												Known: known, Mode: mode, Inbox: inbox, HasPreference: has, InboxPreference: chosen,
												Category: category, Activation: activation, Age: age, Secure: secure,
											}) {
												return
											}
										}
									}
								}
							}
						}
					}
				}
			}
		}
	}
}

// everyChannelFacts is all combinations of what the rule knows of one channel.
func everyChannelFacts(name string) []appio.ChannelFacts {
	var all []appio.ChannelFacts
	contents := []appio.Content{appio.None, appio.Generic, appio.Full}
	bools := []bool{false, true}
	for _, sw := range contents {
		for _, pref := range contents {
			for _, secure := range contents {
				for _, address := range bools {
					for _, validated := range bools {
						all = append(all, appio.ChannelFacts{
							Name: name, Switch: sw, Preference: pref, Secure: secure, Address: address, Validated: validated,
						})
					}
				}
			}
		}
	}
	return all
}

// everyFacts yields every combination of message facts with every combination of facts of an e-mail channel; a push and an
// SMS channel go through all of theirs beside it, in other orders. Each value is the receiver's to change.
func everyFacts() iter.Seq[appio.Facts] {
	emails, pushes, texts := everyChannelFacts(appio.Email), everyChannelFacts(appio.Push), everyChannelFacts("sms")
	n := len(emails)
	return func(yield func(appio.Facts) bool) {
		row := 0
		for f := range everyMessageFacts() {
			for i := range n {
				// 5 and 7 have no divisor in common with n = 108: each row takes the channel through all of its combinations.
				f.Channels = []appio.ChannelFacts{emails[i], pushes[(5*i+row)%n], texts[(7*i+3*row+1)%n]}
				if !yield(f) {
					return
				}
			}
			row++
		}
	}
}
