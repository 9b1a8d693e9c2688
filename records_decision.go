package appio

import "time"

type decisionRecord struct {
	Service  ServiceID          `msgpack:"n"`
	At       int64              `msgpack:"t"`
	RuleSet  int                `msgpack:"v"`
	Facts    factsRecord        `msgpack:"f"`
	Status   Status             `msgpack:"s"`
	Rule     Rule               `msgpack:"r"`
	Channels []channelRuleEntry `msgpack:"c,omitempty"`
	Digest   MessageID          `msgpack:"g,omitempty"` // in whose open work it was gathered; empty: in none
	Premium  bool               `msgpack:"e,omitempty"` // the message was; for its sender, also where there is no message
}

type channelRuleEntry struct {
	Name    string  `msgpack:"n"`
	Content Content `msgpack:"c,omitempty"`
	Digest  bool    `msgpack:"d,omitempty"`
	Rule    Rule    `msgpack:"r,omitempty"`

	After time.Duration `msgpack:"a,omitempty"`
	For   string        `msgpack:"f,omitempty"`
}

type factsRecord struct {
	Flags      uint8             `msgpack:"f,omitempty"`
	Mode       Mode              `msgpack:"m,omitempty"`
	Category   Category          `msgpack:"c,omitempty"`
	Activation Activation        `msgpack:"a,omitempty"`
	Age        time.Duration     `msgpack:"g,omitempty"`
	QuietBasis string            `msgpack:"q,omitempty"`
	Due        time.Duration     `msgpack:"u,omitempty"`
	Channels   []channelFactsRec `msgpack:"n,omitempty"`
}

type channelFactsRec struct {
	Name       string  `msgpack:"n"`
	Switch     Content `msgpack:"w,omitempty"`
	Preference Content `msgpack:"p,omitempty"`
	Secure     Content `msgpack:"s,omitempty"`
	Flags      uint8   `msgpack:"f,omitempty"`

	Quiet  time.Duration `msgpack:"q,omitempty"`
	Digest time.Duration `msgpack:"d,omitempty"`
	Of     string        `msgpack:"o,omitempty"`
	After  time.Duration `msgpack:"a,omitempty"`
}

func newDecisionRecord(service ServiceID, at int64, f *Facts, d *Decision) *decisionRecord {
	r := &decisionRecord{Service: service, At: at, RuleSet: RuleSet, Status: d.Status, Rule: d.Rule, Facts: factsRecord{
		Flags: bits(f.Known, f.Inbox, f.HasPreference, f.InboxPreference, f.Secure),
		Mode:  f.Mode, Category: f.Category, Activation: f.Activation, Age: f.Age, QuietBasis: f.QuietBasis, Due: f.Due,
	}}
	r.Facts.Channels = make([]channelFactsRec, len(f.Channels))
	for i, c := range f.Channels {
		r.Facts.Channels[i] = channelFactsRec{c.Name, c.Switch, c.Preference, c.Secure, bits(c.Address, c.Validated), c.Quiet, c.Digest, c.Fallback.Of, c.Fallback.After}
	}
	r.Channels = make([]channelRuleEntry, len(d.Channels))
	for i, c := range d.Channels {
		r.Channels[i] = channelRuleEntry(c)
	}
	return r
}

func (r *decisionRecord) facts() Facts {
	f := Facts{Mode: r.Facts.Mode, Category: r.Facts.Category, Activation: r.Facts.Activation, Age: r.Facts.Age, QuietBasis: r.Facts.QuietBasis, Due: r.Facts.Due}
	unbits(r.Facts.Flags, &f.Known, &f.Inbox, &f.HasPreference, &f.InboxPreference, &f.Secure)
	for _, c := range r.Facts.Channels {
		e := ChannelFacts{Name: c.Name, Switch: c.Switch, Preference: c.Preference, Secure: c.Secure, Quiet: c.Quiet, Digest: c.Digest, Fallback: Fallback{c.Of, c.After}}
		unbits(c.Flags, &e.Address, &e.Validated)
		f.Channels = append(f.Channels, e)
	}
	return f
}

func (r *decisionRecord) decision() Decision {
	d := Decision{Status: r.Status, Rule: r.Rule}
	for _, c := range r.Channels {
		d.Channels = append(d.Channels, ChannelDecision(c))
	}
	return d
}
