package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store/boltstore"
)

var explainCommand = &command{
	name: "explain", args: "FILE -keys FILE (-message ID | -service ID <CODE) [-json]", what: "says why a message was, or would be, accepted or refused",
	about: `With -message, explain shows how that message was decided: the facts, the rule in words, what became of its
deliveries, and the choices of the citizen up to then. It finds the message by its id alone.

With -service it reads a fiscal code from the standard input, in one line, and shows how a message of that service
would be decided now. Which channels there are only the embedding program knows, so none are shown.

It needs the engine keys, shows no code, address or text, and changes nothing.`,
	flags: func(f *flag.FlagSet, c *call) {
		keyFlags(f, c)
		f.BoolVar(&c.plain, "plain", false, "the store has no keys: it was made with Options.Plain")
		f.StringVar(&c.message, "message", "", "`id` of a message")
		f.StringVar(&c.service, "service", "", "`id` of a service; the citizen's code is read from the standard input")
		jsonFlag(f, c)
	},
	run: explain,
}

func explain(ctx context.Context, c *call) error {
	switch {
	case (c.message == "") == (c.service == ""):
		return c.wrong("-message or -service is needed, and not both")
	case (c.keys == "") == !c.plain:
		return c.wrong("-keys is needed, or -plain for a store without keys")
	}
	var code fiscalcode.Person
	if c.service != "" {
		text, err := bufio.NewReader(io.LimitReader(os.Stdin, 100)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return c.told(err)
		}
		if code, err = fiscalcode.ParsePerson(strings.ToUpper(strings.TrimSpace(text))); err != nil {
			return errors.New("explain: the standard input has no fiscal code in its first line")
		}
	}
	ring, err := c.ring()
	if err != nil {
		return err
	}
	s, err := boltstore.Open(c.file, &boltstore.Options{ReadOnly: true})
	if err != nil {
		return c.told(err)
	}
	defer s.Close()
	eng, err := appio.New(s, &appio.Options{Keys: ring, Plain: c.plain})
	if err != nil {
		return c.told(err)
	}
	defer eng.Close()
	var x appio.Explanation
	if c.message != "" {
		x, err = eng.ExplainMessage(ctx, appio.MessageID(c.message))
	} else {
		x, err = eng.ExplainService(ctx, code, appio.ServiceID(c.service))
	}
	if err != nil {
		return c.told(err)
	}
	if c.json {
		return printJSON(newExplained(&x))
	}
	show(&x)
	return nil
}

// words says what each rule means.
var words = map[appio.Rule]string{
	appio.RuleUnknown:        "nobody with this code has come to the platform",
	appio.RuleUndecided:      "the citizen had not chosen a mode",
	appio.RuleInboxOff:       "the citizen had closed the inbox to all services",
	appio.RuleServiceRefused: "the citizen had refused this service",
	appio.RuleServiceChosen:  "the citizen had chosen this service",
	appio.RuleModeAuto:       "the citizen had made no choice for this service, and the mode AUTO lets services write",
	appio.RuleModeManual:     "the citizen had made no choice for this service, and in the mode MANUAL that refuses it",
	appio.RuleActivated:      "the service, a special one, had activated the citizen",
	appio.RuleNotActivated:   "the service, a special one, had not activated the citizen",
	appio.RuleChannelOff:     "the citizen's switch for this channel",
	appio.RuleChannelRefused: "the citizen's choice of channels for this service",
	appio.RuleNoAddress:      "there was no address for it",
	appio.RuleNotValidated:   "no address for it was proved to be the citizen's",
	appio.RuleSecure:         "the service or the message asked for secure channels",
}

// An explained is what -json prints. Its names are a stable format.
type explained struct {
	Message   appio.MessageID   `json:"message,omitempty"`
	Service   appio.ServiceID   `json:"service"`
	At        time.Time         `json:"at"`
	Status    appio.Status      `json:"status"`
	Rule      appio.Rule        `json:"rule"`
	Because   string            `json:"because"`
	RuleSet   int               `json:"rule_set"`
	Facts     appio.Facts       `json:"facts"`
	Channels  []explainedRoute  `json:"channels"`
	Outcomes  []explainedResult `json:"outcomes"`
	Consents  []explainedChoice `json:"consents"`
	Replayed  bool              `json:"replayed"` // the facts lead to this decision, by the rules of this version
	ruleKnown bool
}

type explainedRoute struct {
	Name    string     `json:"name"`
	Content string     `json:"content"`
	Rule    appio.Rule `json:"rule,omitempty"`
	Because string     `json:"because,omitempty"`
	After   string     `json:"after,omitempty"` // how long it waits
	For     string     `json:"for,omitempty"`   // the channel that it stands in for
	Digest  bool       `json:"digest,omitempty"`
}

type explainedResult struct {
	Delivery appio.DeliveryID    `json:"delivery"`
	Channel  string              `json:"channel"`
	Result   appio.OutcomeResult `json:"result"`
	At       time.Time           `json:"at"`
	Attempts int                 `json:"attempts"`
	Cause    string              `json:"cause,omitempty"`
	Late     bool                `json:"late,omitempty"`
	Basis    string              `json:"quiet_basis,omitempty"` // by which it was delivered in quiet hours
	Digest   appio.MessageID     `json:"digest,omitempty"`      // that it was of
}

type explainedChoice struct {
	Number   uint64              `json:"number"`
	At       time.Time           `json:"at"`
	What     appio.ConsentChange `json:"what"`
	By       appio.ConsentActor  `json:"by"`
	Service  appio.ServiceID     `json:"service,omitempty"`
	Mode     appio.Mode          `json:"mode,omitempty"`
	Inbox    [2]bool             `json:"inbox"` // before, after
	Channels [2]appio.Channels   `json:"channels"`
	Text     string              `json:"text,omitempty"`
	Quiet    string              `json:"quiet,omitempty"`  // hours, after
	Digest   bool                `json:"digest,omitempty"` // after
}

func newExplained(x *appio.Explanation) *explained {
	d := &x.Decision
	e := &explained{
		Message: d.Message, Service: d.Service, At: d.At, Status: d.Decision.Status, Rule: d.Decision.Rule,
		Because: words[d.Decision.Rule], RuleSet: d.RuleSet, Facts: d.Facts,
		Replayed: d.RuleSet <= appio.RuleSet && appio.Decide(d.Facts).Equal(d.Decision), ruleKnown: d.RuleSet <= appio.RuleSet,
		Channels: []explainedRoute{}, Outcomes: []explainedResult{}, Consents: []explainedChoice{},
	}
	for _, c := range d.Decision.Channels {
		after := ""
		if c.After > 0 {
			after = c.After.String()
		}
		e.Channels = append(e.Channels, explainedRoute{c.Name, c.Content.String(), c.Rule, words[c.Rule], after, c.For, c.Digest})
	}
	for _, o := range d.Outcomes {
		e.Outcomes = append(e.Outcomes, explainedResult{o.ID, o.Channel, o.Result, o.At, o.Attempts, o.Cause, o.Late, o.QuietBasis, o.Digest})
	}
	for _, c := range x.Consents {
		e.Consents = append(e.Consents, explainedChoice{
			c.Number, c.At, c.What, c.By, c.Service, c.Mode, [2]bool{c.Before.Inbox, c.After.Inbox},
			[2]appio.Channels{c.Before.Channels, c.After.Channels}, c.Text, quiet(c.Quiet), c.After.Digest,
		})
	}
	return e
}

// show prints an explanation to a person.
func show(x *appio.Explanation) {
	e := newExplained(x)
	if e.Message != "" {
		fmt.Printf("message %s of service %s, of %s: %s\n", e.Message, e.Service, stamp(e.At), e.Status)
	} else {
		fmt.Printf("a message of service %s, if it were sent now: %s\n", e.Service, e.Status)
	}
	fmt.Printf("  %s: %s\n", e.Rule, e.Because)
	switch {
	case e.Replayed:
		fmt.Println("  decided again by the facts below: the same")
	case e.ruleKnown:
		fmt.Println("  decided again by the facts below: NOT the same")
	default:
		fmt.Printf("  decided by rule set %d, which this version does not have\n", e.RuleSet)
	}
	for _, c := range e.Channels {
		fmt.Printf("  %s: %s", c.Name, c.Content)
		if c.Rule != "" {
			fmt.Printf(", by %s: %s", c.Rule, c.Because)
		}
		switch {
		case c.For != "":
			fmt.Printf(", after %s if it is not read by then, in the place of %s", c.After, c.For)
		case c.Digest:
			fmt.Printf(", after %s, in the citizen's digest", c.After)
		case c.After != "":
			fmt.Printf(", after %s, when quiet hours end", c.After)
		}
		fmt.Println()
	}
	f := &e.Facts
	fmt.Printf("facts\n  known %t, mode %s, inbox %t, own choice %t", f.Known, named(string(f.Mode)), f.Inbox, f.HasPreference)
	if f.HasPreference {
		fmt.Printf(" (%t)", f.InboxPreference)
	}
	if f.Category == appio.Special {
		fmt.Printf(", activation %s since %s before", named(string(f.Activation)), f.Age.Round(time.Second))
	}
	fmt.Printf(", secure %t", f.Secure)
	if f.Due != 0 {
		fmt.Printf(", due in %s", f.Due.Round(time.Second))
	}
	if f.QuietBasis != "" {
		fmt.Printf(", in quiet hours too by %s", f.QuietBasis)
	}
	fmt.Println()
	for _, c := range f.Channels {
		fmt.Printf("  %s: switch %s, choice %s, secure %s, address %t, proved %t", c.Name, c.Switch, c.Preference, c.Secure, c.Address, c.Validated)
		if c.Quiet > 0 {
			fmt.Printf(", in quiet hours for another %s", c.Quiet)
		}
		if c.Digest > 0 {
			fmt.Printf(", a digest in %s", c.Digest.Round(time.Second))
		}
		if c.Fallback.Of != "" {
			fmt.Printf(", stands in for %s after %s", c.Fallback.Of, c.Fallback.After)
		}
		fmt.Println()
	}
	fmt.Println("deliveries that are over")
	for _, o := range e.Outcomes {
		fmt.Printf("  %s %s %s, attempts %d", stamp(o.At), o.Channel, o.Result, o.Attempts)
		if o.Cause != "" {
			fmt.Printf(": %s", o.Cause)
		}
		if o.Basis != "" {
			fmt.Printf(", in quiet hours by %s", o.Basis)
		}
		if o.Digest != "" {
			fmt.Printf(", in digest %s", o.Digest)
		}
		fmt.Println()
	}
	fmt.Println("choices up to then, newest first")
	for _, c := range e.Consents {
		about := "all services"
		if c.Service != "" {
			about = string(c.Service)
		}
		fmt.Printf("  %d  %s  %s of %s by %s: mode %s, inbox %t to %t, channels %s to %s", c.Number, stamp(c.At), c.What, about, c.By,
			named(string(c.Mode)), c.Inbox[0], c.Inbox[1], channels(c.Channels[0]), channels(c.Channels[1]))
		if c.Quiet != "" {
			fmt.Printf(", quiet hours %s", c.Quiet)
		}
		if c.Digest {
			fmt.Print(", in a digest")
		}
		fmt.Println()
	}
}

// quiet is quiet hours as a person reads them; empty: none.
func quiet(q appio.QuietHours) string {
	if q.From == q.To {
		return ""
	}
	clock := func(d time.Duration) string { return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60) }
	if q.Zone == "" {
		q.Zone = "Europe/Rome"
	}
	return clock(q.From) + " to " + clock(q.To) + " in " + q.Zone
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

func named(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func channels(c appio.Channels) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, name+" "+c[name].String())
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
