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
	months    [12]string
	weekdays  [7]string // from Sunday
	day       string    // of day, month and year
	weekday   string    // between a day of the week and the day
	at        string    // between a day and its time
	zone      string
	thousands string
	decimals  string
	before    string // of an amount
	after     string
}

var forms = map[string]*Form{
	"it": {
		months:   [12]string{"gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno", "luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre"},
		weekdays: [7]string{"domenica", "lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato"}, weekday: " ",
		day: "%d %s %d", at: ", ore ", zone: "ora italiana", thousands: ".", decimals: ",", after: "\u00a0€",
	},
	"en": {
		months:   [12]string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"},
		weekdays: [7]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}, weekday: " ",
		day: "%d %s %d", at: ", ", zone: "Italian time", thousands: ",", decimals: ".", before: "€",
	},
	"de": {
		months:   [12]string{"Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"},
		weekdays: [7]string{"Sonntag", "Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag"}, weekday: ", ",
		day: "%d. %s %d", at: ", ", zone: "italienische Zeit", thousands: ".", decimals: ",", after: "\u00a0€",
	},
	"fr": {
		months:   [12]string{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"},
		weekdays: [7]string{"dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"}, weekday: " ",
		day: "%d %s %d", at: ", ", zone: "heure italienne", thousands: "\u202f", decimals: ",", after: "\u00a0€",
	},
	"sl": {
		months:   [12]string{"januar", "februar", "marec", "april", "maj", "junij", "julij", "avgust", "september", "oktober", "november", "december"},
		weekdays: [7]string{"nedelja", "ponedeljek", "torek", "sreda", "četrtek", "petek", "sobota"}, weekday: ", ",
		day: "%d. %s %d", at: ", ", zone: "italijanski čas", thousands: ".", decimals: ",", after: "\u00a0€",
	},
}

// FormOf is how the language of a tag writes; nil: it is not known here. Italian, English, German, French and Slovene are: the first
// two, and the languages of Italy's minorities that laws are published in.
func FormOf(tag string) *Form { return forms[strings.ToLower(Primary(tag))] }

// Day is "1 marzo 2026": the day that it is in Italy.
func (f *Form) Day(t time.Time) string {
	y, m, d := t.In(rome.Location()).Date()
	return fmt.Sprintf(f.day, d, f.months[m-1], y)
}

// Weekday is "domenica 1 marzo 2026". In Italian it goes with any day: "entro" is followed by "il" for some days alone, and by "l'" for
// others.
func (f *Form) Weekday(t time.Time) string {
	return f.weekdays[t.In(rome.Location()).Weekday()] + f.weekday + f.Day(t)
}

// Weekdays are the fewest and the most UTF-16 units of what Weekday says of years of four digits.
func (f *Form) Weekdays() (least, most int) {
	for _, of := range [][]string{f.weekdays[:], f.months[:]} {
		shortest, longest := Units(of[0]), Units(of[0])
		for _, s := range of {
			shortest, longest = min(shortest, Units(s)), max(longest, Units(s))
		}
		least, most = least+shortest, most+longest
	}
	rest := Units(f.weekday + fmt.Sprintf(f.day, 1, "", 2026))
	return least + rest, most + rest + 1
}

// At is ", ore 13:05", in Italian time: what follows the day.
func (f *Form) At(t time.Time) string { return f.at + t.In(rome.Location()).Format("15:04") }

// MomentInZone is "1 marzo 2026, ore 13:05 (ora italiana)".
func (f *Form) MomentInZone(t time.Time) string { return f.Day(t) + f.At(t) + " (" + f.zone + ")" }

// Euros is "1.234,50 €", with a blank that does not break.
func (f *Form) Euros(a pagopa.Amount) string {
	euros, cents, _ := strings.Cut(a.String(), ".")
	sign, euros := euros[:len(euros)-len(strings.TrimPrefix(euros, "-"))], strings.TrimPrefix(euros, "-")
	for i := len(euros) - 3; i > 0; i -= 3 {
		euros = euros[:i] + f.thousands + euros[i:]
	}
	return f.before + sign + euros + f.decimals + cents + f.after
}
