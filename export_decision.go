package appio

import (
	"time"

	"github.com/appio-go/appio/store"
)

type exportedDecision struct {
	Kind     string            `json:"kind"`
	Message  MessageID         `json:"message_id"`
	Service  ServiceID         `json:"service"`
	At       time.Time         `json:"at"`
	Status   Status            `json:"status"`
	Rule     Rule              `json:"rule"`
	Reason   exportedWords     `json:"reason"`
	Channels []exportedChannel `json:"channels"`
	RuleSet  int               `json:"rule_set"`
	Facts    exportedFacts     `json:"facts"`
	Digest   MessageID         `json:"gathered_in,omitempty"`
	Premium  bool              `json:"premium"`
}

type exportedChannel struct {
	Name    string         `json:"name"`
	Content string         `json:"content"`
	Rule    Rule           `json:"rule,omitempty"`
	Reason  *exportedWords `json:"reason,omitempty"`
	After   float64        `json:"after_seconds,omitempty"`
	For     string         `json:"stands_in_for,omitempty"`
	Digest  bool           `json:"digest,omitempty"`
}

type exportedFacts struct {
	Known           bool                   `json:"profile"`
	Mode            Mode                   `json:"mode"`
	Inbox           bool                   `json:"inbox"`
	HasPreference   bool                   `json:"preference"`
	InboxPreference bool                   `json:"preference_inbox"`
	Category        Category               `json:"service_category"`
	Activation      Activation             `json:"activation"`
	Age             float64                `json:"activation_age_seconds"`
	Secure          bool                   `json:"secure_channels"`
	QuietBasis      string                 `json:"quiet_basis,omitempty"`
	Due             float64                `json:"due_seconds,omitempty"`
	Channels        []exportedChannelFacts `json:"channels"`
}

type exportedChannelFacts struct {
	Name          string  `json:"name"`
	Switch        string  `json:"switch"`
	Preference    string  `json:"preference"`
	Secure        string  `json:"secure"`
	Address       bool    `json:"address"`
	Validated     bool    `json:"validated"`
	Quiet         float64 `json:"quiet_seconds,omitempty"`
	FallbackOf    string  `json:"fallback_of,omitempty"`
	FallbackAfter float64 `json:"fallback_after_seconds,omitempty"`
	Digest        float64 `json:"digest_seconds,omitempty"`
}

func exportDecision(d *draft, _ *profileRecord, r, _ *store.Record) (any, error) {
	var rec decisionRecord
	if err := d.open(r, &rec); err != nil {
		return nil, err
	}
	f := rec.facts()
	x := exportedDecision{
		Kind: "decision", Message: messageIDOf(r.Key), Service: rec.Service, At: fromMicro(rec.At), Status: rec.Status, Rule: rec.Rule,
		Reason: reasons[rec.Rule], Channels: []exportedChannel{}, RuleSet: rec.RuleSet, Facts: exportedFacts{
			Known: f.Known, Mode: f.Mode, Inbox: f.Inbox, HasPreference: f.HasPreference, InboxPreference: f.InboxPreference, Category: f.Category,
			Activation: f.Activation, Age: f.Age.Seconds(), Secure: f.Secure, QuietBasis: f.QuietBasis, Due: f.Due.Seconds(), Channels: []exportedChannelFacts{},
		}, Digest: rec.Digest, Premium: rec.Premium,
	}
	for _, c := range rec.Channels {
		y := exportedChannel{Name: c.Name, Content: c.Content.String(), Rule: c.Rule, After: c.After.Seconds(), For: c.For, Digest: c.Digest}
		if words, ok := reasons[c.Rule]; ok {
			y.Reason = &words
		}
		x.Channels = append(x.Channels, y)
	}
	for _, c := range f.Channels {
		x.Facts.Channels = append(x.Facts.Channels, exportedChannelFacts{
			c.Name, c.Switch.String(), c.Preference.String(), c.Secure.String(), c.Address, c.Validated, c.Quiet.Seconds(), c.Fallback.Of, c.Fallback.After.Seconds(), c.Digest.Seconds(),
		})
	}
	return x, nil
}

type exportedWords struct {
	Italian string `json:"it"`
	English string `json:"en"`
}

// reasons are the rules of Decide in words for the person whom they were applied to.
var reasons = map[Rule]exportedWords{
	RuleUnknown:        {"Non avevi un profilo.", "You had no profile."},
	RuleUndecided:      {"Non avevi ancora scelto una modalità.", "You had not chosen a mode yet."},
	RuleInboxOff:       {"Avevi disattivato la ricezione dei messaggi di tutti i servizi.", "You had switched messages off for all services."},
	RuleServiceRefused: {"Avevi rifiutato i messaggi di questo servizio.", "You had refused this service's messages."},
	RuleServiceChosen:  {"Avevi scelto di ricevere i messaggi di questo servizio.", "You had chosen to get this service's messages."},
	RuleModeAuto:       {"In modalità automatica i servizi che non hai rifiutato possono scriverti.", "In automatic mode services that you have not refused may write to you."},
	RuleModeManual:     {"In modalità manuale ti scrivono solo i servizi che hai scelto.", "In manual mode only services that you have chosen write to you."},
	RuleActivated:      {"Questo servizio ti aveva attivato.", "This service had been activated for you."},
	RuleNotActivated:   {"Questo servizio non ti aveva attivato.", "This service had not been activated for you."},
	RuleChannelOff:     {"Avevi disattivato o limitato questo canale.", "You had switched this channel off, or limited it."},
	RuleChannelRefused: {"Avevi disattivato o limitato questo canale per questo servizio.", "You had switched this channel off for this service, or limited it."},
	RuleNoAddress:      {"Per questo canale non avevi un recapito.", "You had no address for this channel."},
	RuleNotValidated:   {"Per questo canale nessun recapito era verificato.", "None of your addresses for this channel was validated."},
	RuleSecure:         {"Il contenuto è riservato e questo canale non può mostrarlo per intero.", "The content is confidential, and this channel may not show all of it."},
}
