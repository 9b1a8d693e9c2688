package appio

import (
	"slices"
	"time"
)

// Names of the channels that the real system has. Any other name ([a-z][a-z0-9-]*, at most 32 bytes) may be used for a host's own.
const (
	Email = "email"
	Push  = "push"
)

// Content is how much of a message a channel may show. It is ordered: every rule can only lower it.
type Content uint8

const (
	None    Content = iota // nothing: the channel is not used
	Generic                // that there is a message, and whose
	Full                   // the message
)

// String is "none", "generic" or "full".
func (c Content) String() string {
	switch c {
	case None:
		return "none"
	case Generic:
		return "generic"
	case Full:
		return "full"
	}
	return "invalid"
}

// Channels says by channel name how much each may show; a name that is absent is None. One that no route of the engine has is kept, and does
// nothing: the route may come, or come back.
type Channels map[string]Content

// On is the channels named, each Full.
func On(names ...string) Channels {
	c := make(Channels, len(names))
	for _, n := range names {
		c[n] = Full
	}
	return c
}

// A Preference is a citizen's choice for one service.
type Preference struct {
	Inbox           bool     // false refuses the service
	Channels        Channels // a channel also needs its master switch in the profile
	ReadStatus      bool     // the service may know whether its messages were read; taken as false where Inbox is
	SettingsVersion int      // it was made under; 0 on writing: whichever is current
	Digest          bool     `json:",omitzero"` // what need not be known at once comes gathered, once a day: see Options.DigestHour
}

// Mode is what holds for a service without a preference.
type Mode string

const (
	Undecided Mode = ""       // nothing is sent
	Auto      Mode = "AUTO"   // services may write unless refused
	Manual    Mode = "MANUAL" // services may write only if chosen
)

// Category is how citizens come to be served.
type Category string

const (
	Standard Category = ""        // the citizen's choice decides
	Special  Category = "special" // the service's activation of the citizen decides
)

// Activation is whether a [Special] service serves a citizen.
type Activation string

const (
	Inactive Activation = ""        // it does not, or no longer
	Pending  Activation = "PENDING" // counts as active for a day
	Active   Activation = "ACTIVE"  // until it says otherwise
)

// PendingFor is how long a [Pending] activation counts.
const PendingFor = 24 * time.Hour

// Facts is all that [Decide] looks at: flat, small enough to store with every decision, without codes, addresses or texts of messages.
type Facts struct {
	Known           bool // there is a profile
	Mode            Mode
	Inbox           bool // the profile's master switch
	HasPreference   bool // for the service, under the current settings
	InboxPreference bool // what it says
	Category        Category
	Activation      Activation     // by a Special service
	Age             time.Duration  // of the activation
	Secure          bool           // by the service or the message
	QuietBasis      string         `json:",omitzero"` // the service's; empty: it has none
	Due             time.Duration  `json:",omitzero"` // until Message.Due, where a digest was chosen; below 0: it has passed; 0: there is none
	Channels        []ChannelFacts // in the order of Options.Channels
}

// ChannelFacts is what [Decide] knows of one channel.
type ChannelFacts struct {
	Name       string
	Switch     Content // the profile's
	Preference Content // the service preference's; looked at if there is one
	Secure     Content // the route's
	Address    bool    // there is one, or the route needs none
	Validated  bool    // one is proved, or the route asks for no proof

	Quiet    time.Duration `json:",omitzero"` // how long the citizen's quiet hours go on, by a route that interrupts; 0: it is not in them
	Digest   time.Duration `json:",omitzero"` // until the citizen's next digest, by a route that may wait for it; 0: there is none
	Fallback Fallback      `json:",omitzero"` // the route's
}

// A Decision is what [Decide] says.
type Decision struct {
	Status   Status            // Processed or Rejected
	Rule     Rule              // that decided it
	Channels []ChannelDecision // as Facts.Channels; none if rejected
}

// A ChannelDecision is how much of the message one channel may show.
type ChannelDecision struct {
	Name    string
	Content Content
	Digest  bool `json:",omitzero"` // it goes with others of the service, as one delivery
	Rule    Rule // that lowered it; empty: Full

	After time.Duration // it goes so long after the decision: 0, or when quiet hours end, or what it stands in for had its time
	For   string        // the channel that it stands in for: it goes if the message is not read by then; empty: in any case
}

// Equal reports whether two decisions are the same.
func (d Decision) Equal(o Decision) bool {
	return d.Status == o.Status && d.Rule == o.Rule && slices.Equal(d.Channels, o.Channels)
}

// Content is how much the named channel may show.
func (d Decision) Content(channel string) Content {
	for _, c := range d.Channels {
		if c.Name == channel {
			return c.Content
		}
	}
	return None
}

// A Rule names a line of [Decide]. The names are stored and printed: they never change.
type Rule string

// Rules on the message.
const (
	RuleUnknown        Rule = "unknown"         // rejected: no profile
	RuleUndecided      Rule = "undecided"       // rejected: no mode chosen
	RuleInboxOff       Rule = "inbox-off"       // rejected: master switch
	RuleServiceRefused Rule = "service-refused" // rejected: preference
	RuleServiceChosen  Rule = "service-chosen"  // processed: preference
	RuleModeAuto       Rule = "mode-auto"       // processed: no preference
	RuleModeManual     Rule = "mode-manual"     // rejected: no preference
	RuleActivated      Rule = "activated"       // processed: Special
	RuleNotActivated   Rule = "not-activated"   // rejected: Special
)

// Rules on a channel, in the order in which they are applied.
const (
	RuleChannelOff     Rule = "channel-off"     // master switch, or its Generic
	RuleChannelRefused Rule = "channel-refused" // preference, or its Generic
	RuleNoAddress      Rule = "no-address"
	RuleNotValidated   Rule = "not-validated"
	RuleSecure         Rule = "secure-channels"
)

// RuleSet numbers the lines of [Decide]. It is stored with each decision and grows when a line changes. Facts of an earlier set have
// nothing of what came later, and lead to the same decision by this one: 2 has quiet hours and fallbacks, 3 has digests.
const RuleSet = 3

// Decide is THE rule: who may be contacted, and by what. It is pure: the same facts give the same decision, for ever, so a
// stored decision can be replayed. Nothing else in the module decides about consent.
func Decide(f Facts) Decision {
	status, rule := decideMessage(&f)
	d := Decision{Status: status, Rule: rule}
	if status != Processed || len(f.Channels) == 0 {
		return d
	}
	d.Channels = make([]ChannelDecision, len(f.Channels))
	for i := range f.Channels {
		d.Channels[i] = decideChannel(&f, &f.Channels[i])
	}
	for i := range d.Channels {
		if d.Channels[i].Content != None {
			decideTime(&f, d.Channels, i)
		}
	}
	return d
}

func decideMessage(f *Facts) (Status, Rule) {
	switch {
	case !f.Known:
		return Rejected, RuleUnknown
	case f.Mode != Auto && f.Mode != Manual:
		return Rejected, RuleUndecided
	case !f.Inbox:
		return Rejected, RuleInboxOff
	case f.Category == Special: // the activation stands in the place of the citizen's inbox choice
		if f.Activation == Active || f.Activation == Pending && f.Age < PendingFor {
			return Processed, RuleActivated
		}
		return Rejected, RuleNotActivated
	case f.HasPreference && !f.InboxPreference:
		return Rejected, RuleServiceRefused
	case f.HasPreference:
		return Processed, RuleServiceChosen
	case f.Mode == Auto:
		return Processed, RuleModeAuto
	}
	return Rejected, RuleModeManual
}

func decideChannel(f *Facts, c *ChannelFacts) ChannelDecision {
	d := ChannelDecision{Name: c.Name, Content: Full}
	lower := func(to Content, rule Rule) {
		if to < d.Content {
			d.Content, d.Rule = to, rule
		}
	}
	lower(c.Switch, RuleChannelOff)
	if f.HasPreference {
		lower(c.Preference, RuleChannelRefused)
	}
	if !c.Address {
		lower(None, RuleNoAddress)
	}
	if !c.Validated {
		lower(None, RuleNotValidated)
	}
	if f.Secure {
		lower(c.Secure, RuleSecure)
	}
	return d
}

// decideTime sets when a channel goes, once it is known what each may show: after quiet hours, with the next digest, and a fallback so
// long after what it stands in for. What may show nothing is passed over: its fallback goes in its place.
func decideTime(f *Facts, ds []ChannelDecision, i int) {
	d, c, first := &ds[i], &f.Channels[i], &f.Channels[i]
	for range f.Channels { // no further, whatever the facts say
		of := -1
		if c.Fallback.Of != "" {
			of = slices.IndexFunc(f.Channels, func(o ChannelFacts) bool { return o.Name == c.Fallback.Of })
		}
		if of < 0 {
			break
		}
		if ds[of].Content != None {
			d.After += c.Fallback.After
			if first = &f.Channels[of]; d.For == "" {
				d.For = first.Name
			}
		}
		c = &f.Channels[of]
	}
	if f.QuietBasis == "" {
		d.After += first.Quiet
	}
	if f.gathers(first) {
		d.After += first.Digest
		d.Digest = first == &f.Channels[i]
	}
}

// gathers reports whether a channel's delivery waits for the citizen's digest. What is due less than a day after that does not: who learns
// of it then has hardly time to act.
func (f *Facts) gathers(c *ChannelFacts) bool {
	urgent := f.Due != 0 && f.Due < c.Digest+oneDay && planted != "digest-urgent"
	return c.Digest > 0 && c.Fallback.Of == "" && !urgent
}
