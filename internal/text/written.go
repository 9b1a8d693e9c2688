package text

import (
	"fmt"
	"strings"
	"time"

	"github.com/appio-go/appio/internal/rome"
	"github.com/appio-go/appio/pagopa"
)

// A Form is how a language writes days, moments and amounts.
type Form struct {
	Months    [12]string
	day       string // of day, month and year
	at        string // between a day and its time
	zone      string
	thousands string
	decimals  string
	before    string // of an amount
	after     string
}

var forms = map[string]*Form{
	"it": {
		Months: [12]string{"gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno", "luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre"},
		day:    "%d %s %d", at: ", ore ", zone: "ora italiana", thousands: ".", decimals: ",", after: "\u00a0€",
	},
	"en": {
		Months: [12]string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"},
		day:    "%d %s %d", at: ", ", zone: "Italian time", thousands: ",", decimals: ".", before: "€",
	},
	"de": {
		Months: [12]string{"Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"},
		day:    "%d. %s %d", at: ", ", zone: "italienische Zeit", thousands: ".", decimals: ",", after: "\u00a0€",
	},
	"fr": {
		Months: [12]string{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"},
		day:    "%d %s %d", at: ", ", zone: "heure italienne", thousands: "\u202f", decimals: ",", after: "\u00a0€",
	},
	"sl": {
		Months: [12]string{"januar", "februar", "marec", "april", "maj", "junij", "julij", "avgust", "september", "oktober", "november", "december"},
		day:    "%d. %s %d", at: ", ", zone: "italijanski čas", thousands: ".", decimals: ",", after: "\u00a0€",
	},
}

// FormOf is how the language of a tag writes; nil: it is not known here. Italian, English, German, French and Slovene are: the first
// two, and the languages of Italy's minorities that laws are published in.
func FormOf(tag string) *Form { return forms[strings.ToLower(Primary(tag))] }

// Day is "1 marzo 2026": the day that it is in Italy.
func (f *Form) Day(t time.Time) string {
	y, m, d := t.In(rome.Location()).Date()
	return fmt.Sprintf(f.day, d, f.Months[m-1], y)
}

// Moment is "1 marzo 2026, ore 13:05", in Italian time.
func (f *Form) Moment(t time.Time) string {
	return f.Day(t) + f.at + t.In(rome.Location()).Format("15:04")
}

// MomentInZone is "1 marzo 2026, ore 13:05 (ora italiana)".
func (f *Form) MomentInZone(t time.Time) string { return f.Moment(t) + " (" + f.zone + ")" }

// Euros is "1.234,50 €", with a blank that does not break.
func (f *Form) Euros(a pagopa.Amount) string {
	euros, cents, _ := strings.Cut(a.String(), ".")
	sign, euros := euros[:len(euros)-len(strings.TrimPrefix(euros, "-"))], strings.TrimPrefix(euros, "-")
	for i := len(euros) - 3; i > 0; i -= 3 {
		euros = euros[:i] + f.thousands + euros[i:]
	}
	return f.before + sign + euros + f.decimals + cents + f.after
}
