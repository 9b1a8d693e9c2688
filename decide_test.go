package appio_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

func ExampleDecide() {
	// A citizen in AUTO, with e-mail and push on, made no choice for a service whose messages must not leave the inbox.
	d := appio.Decide(appio.Facts{
		Known: true, Mode: appio.Auto, Inbox: true,
		Secure: true,
		Channels: []appio.ChannelFacts{
			{Name: appio.Email, Switch: appio.Full, Secure: appio.None, Address: true, Validated: true},
			{Name: appio.Push, Switch: appio.Full, Secure: appio.Generic, Address: true, Validated: true},
		},
	})
	fmt.Println(d.Status, d.Rule)
	for _, c := range d.Channels {
		fmt.Println(c.Name, c.Content, c.Rule)
	}
	// Output:
	// PROCESSED mode-auto
	// email none secure-channels
	// push generic secure-channels
}

func TestDecideAgreesWithTheOracle(t *testing.T) {
	t.Parallel()
	o := newOracle()

	t.Run("on every combination of facts", func(t *testing.T) {
		t.Parallel()
		rows := 0
		for f := range everyFacts() {
			rows++
			if got, want := appio.Decide(f), o.decide(f); !same(got, want) {
				t.Fatalf("facts %+v\n got %+v\nwant %+v", f, got, want)
			}
		}
		require.Equal(t, 2*3*2*2*2*2*3*5*2*(3*3*3*2*2), rows)
	})

	t.Run("on every pair of two channels", func(t *testing.T) {
		t.Parallel()
		for _, f := range []appio.Facts{
			{Known: true, Inbox: true, Mode: appio.Auto},
			{Known: true, Inbox: true, Mode: appio.Manual, HasPreference: true, InboxPreference: true, Secure: true},
			{Known: true, Inbox: true, Mode: appio.Auto, Category: appio.Special, Activation: appio.Active, HasPreference: true},
		} {
			for _, email := range everyChannelFacts(appio.Email) {
				for _, push := range everyChannelFacts(appio.Push) {
					f.Channels = []appio.ChannelFacts{email, push}
					if got, want := appio.Decide(f), o.decide(f); !same(got, want) {
						t.Fatalf("facts %+v\n got %+v\nwant %+v", f, got, want)
					}
				}
			}
		}
	})

	t.Run("without channels", func(t *testing.T) {
		t.Parallel()
		for f := range everyMessageFacts() {
			require.Equal(t, o.decide(f), appio.Decide(f))
		}
	})
}

// same is stricter than Equal and does not rely on it.
func same(a, b appio.Decision) bool {
	if a.Status != b.Status || a.Rule != b.Rule || len(a.Channels) != len(b.Channels) {
		return false
	}
	for i := range a.Channels {
		if a.Channels[i] != b.Channels[i] {
			return false
		}
	}
	return true
}

// Bugs that were made somewhere once, or that a hurried change could make: the table above must tell each from the rule.
func TestDecideTableFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	line := func(o *oracle, r appio.Rule) *messageLine {
		return &o.message[slices.IndexFunc(o.message, func(l messageLine) bool { return l.rule == r })]
	}
	limit := func(o *oracle, r appio.Rule) *channelLine {
		return &o.channel[slices.IndexFunc(o.channel, func(l channelLine) bool { return l.rule == r })]
	}
	drop := func(r appio.Rule) func(*oracle) {
		return func(o *oracle) {
			o.message = slices.DeleteFunc(o.message, func(l messageLine) bool { return l.rule == r })
			o.channel = slices.DeleteFunc(o.channel, func(l channelLine) bool { return l.rule == r })
		}
	}
	bugs := map[string]func(*oracle){
		"unknown people are written to":            drop(appio.RuleUnknown),
		"undecided people are written to":          drop(appio.RuleUndecided),
		"the master inbox switch is forgotten":     drop(appio.RuleInboxOff),
		"a refused service follows the mode":       drop(appio.RuleServiceRefused),
		"a chosen service is refused":              drop(appio.RuleServiceChosen),
		"an activation counts for nothing":         drop(appio.RuleActivated),
		"a missing activation counts for nothing":  drop(appio.RuleNotActivated),
		"the channel's master switch is forgotten": drop(appio.RuleChannelOff),
		"the preference for a channel is ignored":  drop(appio.RuleChannelRefused),
		"a missing address is no matter":           drop(appio.RuleNoAddress),
		"an unproved address is no matter":         drop(appio.RuleNotValidated),
		"secure channels are forgotten":            drop(appio.RuleSecure),

		"MANUAL is read as AUTO": func(o *oracle) {
			line(o, appio.RuleModeAuto).holds = func(f appio.Facts) bool { return f.Mode != appio.Undecided }
		},
		"AUTO is read as MANUAL": func(o *oracle) {
			line(o, appio.RuleModeAuto).holds = func(appio.Facts) bool { return false }
		},
		"a pending activation counts at 24 hours exactly": func(o *oracle) {
			line(o, appio.RuleActivated).holds = func(f appio.Facts) bool {
				return f.Category == appio.Special && (f.Activation == appio.Active || f.Activation == appio.Pending && f.Age <= 24*time.Hour)
			}
		},
		"a pending activation never ends": func(o *oracle) {
			line(o, appio.RuleActivated).holds = func(f appio.Facts) bool {
				return f.Category == appio.Special && f.Activation != appio.Inactive
			}
		},
		"an active activation ends too": func(o *oracle) {
			line(o, appio.RuleActivated).holds = func(f appio.Facts) bool {
				return f.Category == appio.Special && f.Activation != appio.Inactive && f.Age < 24*time.Hour
			}
		},
		"an activation serves a standard service too": func(o *oracle) {
			line(o, appio.RuleActivated).holds = func(f appio.Facts) bool { return f.Activation == appio.Active }
		},
		"an activation overrides the master inbox switch": func(o *oracle) {
			i := slices.IndexFunc(o.message, func(l messageLine) bool { return l.rule == appio.RuleActivated })
			o.message[i-1], o.message[i] = o.message[i], o.message[i-1]
		},
		"an activation does not override a refusal of the service": func(o *oracle) {
			served := line(o, appio.RuleActivated).holds
			line(o, appio.RuleActivated).holds = func(f appio.Facts) bool { return served(f) && (!f.HasPreference || f.InboxPreference) }
		},
		"a preference counts though there is none": func(o *oracle) {
			limit(o, appio.RuleChannelRefused).most = func(_ appio.Facts, c appio.ChannelFacts) appio.Content { return c.Preference }
		},
		"a preference replaces the master switch": func(o *oracle) {
			limit(o, appio.RuleChannelOff).most = func(f appio.Facts, c appio.ChannelFacts) appio.Content {
				if f.HasPreference {
					return appio.Full
				}
				return c.Switch
			}
		},
		"the preference for e-mail is ignored": func(o *oracle) {
			most := limit(o, appio.RuleChannelRefused).most
			limit(o, appio.RuleChannelRefused).most = func(f appio.Facts, c appio.ChannelFacts) appio.Content {
				if c.Name == appio.Email {
					return appio.Full
				}
				return most(f, c)
			}
		},
		"secure channels stop a channel that may show a generic text": func(o *oracle) {
			most := limit(o, appio.RuleSecure).most
			limit(o, appio.RuleSecure).most = func(f appio.Facts, c appio.ChannelFacts) appio.Content {
				if f.Secure && c.Secure == appio.Generic {
					return appio.None
				}
				return most(f, c)
			}
		},
		"secure channels count always": func(o *oracle) {
			limit(o, appio.RuleSecure).most = func(_ appio.Facts, c appio.ChannelFacts) appio.Content { return c.Secure }
		},
		"a refusal of the inbox does not reach the channels": func(o *oracle) { o.listed = true },
		"another rule is named: the lines are swapped": func(o *oracle) {
			o.message[0], o.message[1] = o.message[1], o.message[0]
		},
		"another rule is named: the limits are swapped": func(o *oracle) {
			o.channel[2], o.channel[3] = o.channel[3], o.channel[2]
		},
	}
	for name, plant := range bugs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOracle()
			plant(&o)
			for f := range everyFacts() {
				if !same(appio.Decide(f), o.decide(f)) {
					return
				}
			}
			t.Fatal("the table does not notice")
		})
	}
}

// Taking consent, an address or trust away never raises what the message or any channel gets.
func TestDecideIsMonotone(t *testing.T) {
	t.Parallel()
	turn := 0
	for f := range everyFacts() {
		before := appio.Decide(f)
		turn++
		for _, s := range stepsDown(f, turn%len(f.Channels)) {
			after := appio.Decide(s.facts)
			if after.Status == appio.Processed && before.Status != appio.Processed {
				t.Fatalf("%s got the message through: %+v", s.name, f)
			}
			for _, c := range f.Channels {
				if after.Content(c.Name) > before.Content(c.Name) {
					t.Fatalf("%s raised %s: %+v", s.name, c.Name, f)
				}
			}
		}
	}
}

type step struct {
	name  string
	facts appio.Facts
}

// stepsDown is every way to make f permit less by one fact: a fact of the message, or of the channel numbered ch.
func stepsDown(f appio.Facts, ch int) []step {
	var steps []step
	down := func(name string, ok bool, change func(*appio.Facts)) {
		if ok {
			g := f
			change(&g)
			steps = append(steps, step{name, g})
		}
	}
	down("forgetting the person", f.Known, func(g *appio.Facts) { g.Known = false })
	down("closing the inbox", f.Inbox, func(g *appio.Facts) { g.Inbox = false })
	down("refusing the service", f.InboxPreference, func(g *appio.Facts) { g.InboxPreference = false })
	down("asking for secure channels", !f.Secure, func(g *appio.Facts) { g.Secure = true })
	down("going from AUTO to MANUAL", f.Mode == appio.Auto, func(g *appio.Facts) { g.Mode = appio.Manual })
	down("having no mode", f.Mode != appio.Undecided, func(g *appio.Facts) { g.Mode = appio.Undecided })
	down("being pending", f.Activation == appio.Active, func(g *appio.Facts) { g.Activation = appio.Pending })
	down("being inactive", f.Activation == appio.Pending, func(g *appio.Facts) { g.Activation = appio.Inactive })
	down("growing old", true, func(g *appio.Facts) { g.Age += time.Hour })

	c := f.Channels[ch]
	channel := func(name string, ok bool, change func(*appio.ChannelFacts)) {
		down(name, ok, func(g *appio.Facts) {
			g.Channels = slices.Clone(g.Channels)
			change(&g.Channels[ch])
		})
	}
	channel("lowering the switch", c.Switch > appio.None, func(c *appio.ChannelFacts) { c.Switch-- })
	channel("lowering the preference", c.Preference > appio.None, func(c *appio.ChannelFacts) { c.Preference-- })
	channel("lowering what is secure", c.Secure > appio.None, func(c *appio.ChannelFacts) { c.Secure-- })
	channel("losing the address", c.Address, func(c *appio.ChannelFacts) { c.Address = false })
	channel("losing the proof", c.Validated, func(c *appio.ChannelFacts) { c.Validated = false })
	return steps
}

func TestDecideIsPure(t *testing.T) {
	t.Parallel()
	facts := sample(2000)

	t.Run("it leaves its facts alone and answers the same again", func(t *testing.T) {
		t.Parallel()
		for _, f := range facts {
			before := f
			before.Channels = slices.Clone(f.Channels)
			first := appio.Decide(f)
			kept := first
			kept.Channels = slices.Clone(first.Channels)
			require.Equal(t, before, f)

			for i := range first.Channels { // what the caller does with an answer is the caller's affair
				first.Channels[i] = appio.ChannelDecision{Name: "spoilt", Content: appio.Full}
			}
			require.Equal(t, before, f)
			require.True(t, kept.Equal(appio.Decide(f)))
		}
	})

	t.Run("it answers the same to many at once", func(t *testing.T) {
		t.Parallel()
		var wg sync.WaitGroup
		answers := make([][]appio.Decision, 4)
		for i := range answers {
			wg.Go(func() {
				for _, f := range facts {
					answers[i] = append(answers[i], appio.Decide(f))
				}
			})
		}
		wg.Wait()
		for _, a := range answers[1:] {
			require.Equal(t, answers[0], a)
		}
	})

	t.Run("a channel's name and place, and other channels, do not matter to it", func(t *testing.T) {
		t.Parallel()
		for _, f := range facts {
			d := appio.Decide(f)
			for i, c := range f.Channels {
				alone := f
				c.Name = "carrier-pigeon"
				alone.Channels = []appio.ChannelFacts{c}
				got := appio.Decide(alone)
				require.Equal(t, d.Status, got.Status)
				require.Equal(t, d.Rule, got.Rule)
				if d.Status == appio.Processed {
					require.Equal(t, d.Channels[i].Content, got.Channels[0].Content)
					require.Equal(t, d.Channels[i].Rule, got.Channels[0].Rule)
				}
			}
		}
	})
}

// sample draws n of the facts of the table, the same ones each time.
func sample(n int) []appio.Facts {
	var all []appio.Facts
	for f := range everyFacts() {
		all = append(all, f)
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:n]
}

func TestDecisionEqual(t *testing.T) {
	t.Parallel()
	d := func(change func(*appio.Decision)) appio.Decision {
		d := appio.Decision{Status: appio.Processed, Rule: appio.RuleModeAuto, Channels: []appio.ChannelDecision{
			{Name: appio.Email, Content: appio.None, Rule: appio.RuleNoAddress},
			{Name: appio.Push, Content: appio.Full},
		}}
		change(&d)
		return d
	}
	a := d(func(*appio.Decision) {})
	require.True(t, a.Equal(d(func(*appio.Decision) {})))
	require.True(t, appio.Decision{}.Equal(appio.Decision{Channels: []appio.ChannelDecision{}}), "no channels, twice")
	for name, change := range map[string]func(*appio.Decision){
		"status":            func(d *appio.Decision) { d.Status = appio.Rejected },
		"rule":              func(d *appio.Decision) { d.Rule = appio.RuleServiceChosen },
		"a channel less":    func(d *appio.Decision) { d.Channels = d.Channels[:1] },
		"channels' order":   func(d *appio.Decision) { slices.Reverse(d.Channels) },
		"a channel's name":  func(d *appio.Decision) { d.Channels[1].Name = "sms" },
		"what it may show":  func(d *appio.Decision) { d.Channels[1].Content = appio.Generic },
		"why it shows less": func(d *appio.Decision) { d.Channels[0].Rule = appio.RuleNotValidated },
	} {
		require.False(t, a.Equal(d(change)), name)
	}
	require.Equal(t, appio.Full, a.Content(appio.Push))
	require.Equal(t, appio.None, a.Content(appio.Email))
	require.Equal(t, appio.None, a.Content("sms"), "a channel that nobody asked about")
}

// Whatever the facts are, also such as no engine makes, nothing goes beyond what each of them permits.
func FuzzDecide(f *testing.F) {
	f.Add(true, "AUTO", true, false, false, "", "", int64(0), false, []byte{2, 0, 0, 1, 1, 2, 2, 1, 1, 1})
	f.Add(true, "MANUAL", true, true, true, "special", "PENDING", int64(24*time.Hour), true, []byte{2, 2, 1, 1, 1})
	f.Add(true, "LEGACY", true, true, true, "none", "LATER", int64(-1), true, []byte{255, 255, 255, 1, 1})
	f.Fuzz(func(t *testing.T, known bool, mode string, inbox, has, chosen bool, category, activation string, age int64, secure bool, channels []byte) {
		facts := appio.Facts{
			Known: known, Mode: appio.Mode(mode), Inbox: inbox, HasPreference: has, InboxPreference: chosen,
			Category: appio.Category(category), Activation: appio.Activation(activation), Age: time.Duration(age), Secure: secure,
		}
		for i := 0; len(channels) >= 5; i++ {
			facts.Channels = append(facts.Channels, appio.ChannelFacts{
				Name: fmt.Sprint("channel-", i), Switch: appio.Content(channels[0]), Preference: appio.Content(channels[1]),
				Secure: appio.Content(channels[2]), Address: channels[3]&1 == 1, Validated: channels[4]&1 == 1,
			})
			channels = channels[5:]
		}
		d := appio.Decide(facts)
		switch d.Status {
		case appio.Rejected:
			if len(d.Channels) != 0 {
				t.Fatalf("rejected, and yet %+v", d.Channels)
			}
		case appio.Processed:
			wanted := has && chosen || !has && facts.Mode == appio.Auto
			served := facts.Activation == appio.Active || facts.Activation == appio.Pending && facts.Age < 24*time.Hour
			if !known || facts.Mode == appio.Undecided || !inbox ||
				facts.Category == appio.Standard && !wanted || facts.Category == appio.Special && !served || !wanted && !served {
				t.Fatalf("processed by %q: %+v", d.Rule, facts)
			}
			if len(d.Channels) != len(facts.Channels) {
				t.Fatalf("%d channels of %d", len(d.Channels), len(facts.Channels))
			}
		default:
			t.Fatalf("status %q", d.Status)
		}
		if d.Rule == "" {
			t.Fatal("no rule")
		}
		for i, got := range d.Channels {
			c := facts.Channels[i]
			most := min(appio.Full, c.Switch)
			if has {
				most = min(most, c.Preference)
			}
			if secure {
				most = min(most, c.Secure)
			}
			if !c.Address || !c.Validated {
				most = appio.None
			}
			if got.Name != c.Name || got.Content > most || (got.Rule == "") != (got.Content == appio.Full) {
				t.Fatalf("%+v of %+v", got, c)
			}
		}
		if !d.Equal(appio.Decide(facts)) {
			t.Fatal("another answer the second time")
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	facts := sample(1024)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		appio.Decide(facts[i%len(facts)])
	}
}

func BenchmarkDecideTwoChannels(b *testing.B) {
	facts := appio.Facts{
		Known: true, Mode: appio.Auto, Inbox: true,
		Channels: []appio.ChannelFacts{
			{Name: appio.Email, Switch: appio.Full, Address: true, Validated: true},
			{Name: appio.Push, Switch: appio.Generic, Secure: appio.Generic, Address: true, Validated: true},
		},
	}
	b.ReportAllocs()
	for b.Loop() {
		appio.Decide(facts)
	}
}
