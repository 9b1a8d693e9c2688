package template

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/appio-go/appio/internal/rome"
	"github.com/appio-go/appio/internal/text"
	"github.com/appio-go/appio/pagopa"
)

// Values are the values of a template's placeholders, by name. Each must be of the Go type that [Type] names.
type Values map[string]any

// A Type is what a placeholder's values are, and what its bounds count. Dates and times are Italian time.
type Type string

const (
	TypeText     Type = "text"     // string: one line, of 1 to 2,000 UTF-16 units; bounds needed
	TypeInteger  Type = "integer"  // int or int64, from -10^15 to 10^15, as it is: "2026"; bounds needed
	TypeEuro     Type = "euro"     // pagopa.Amount: "1.234,50 €"; bounds in euros with two decimals, needed
	TypeDate     Type = "date"     // time.Time: "domenica 1 marzo 2026"; bounds are days, 2000-01-01..2099-12-31 if left out
	TypeDatetime Type = "datetime" // time.Time: "domenica 1 marzo 2026, ore 13:05"; bounds as those of a date
	TypeURL      Type = "url"      // string: https, with a host and without a user, in ASCII; of 10 to 500 bytes if left out
	TypeEmail    Type = "email"    // string: an e-mail address in ASCII; of 6 to 100 bytes if left out
	TypeNotice   Type = "notice"   // pagopa.NoticeNumber: "3020 3200 2700 0002 51"; without bounds
)

// A Placeholder is a template's.
type Placeholder struct {
	Name string
	Type Type

	// Min and Max are the least and the most that a value may be: the UTF-16 units of a text, the bytes of a url or an email, the euro
	// cents, the number, the days since 1970-01-01 of a date. 0 and 0 for a notice.
	Min, Max int64
}

// A bound is what a type says of bounds.
type bound struct {
	least, most int64 // that a file may ask for
	min, max    int64 // where it says nothing; 0, 0: it must say
	read        func(string) (int64, bool)
	rule        string
}

var bounds = map[Type]bound{
	TypeText:     {1, 2000, 0, 0, number, "1 to 2000 UTF-16 units"},
	TypeInteger:  {-1e15, 1e15, 0, 0, number, "-10^15 to 10^15"},
	TypeEuro:     {0, int64(pagopa.MaxAmount), 0, 0, cents, "0.00 to 99999999.99 euros"},
	TypeDate:     {dayOf(1900, 1, 1), dayOf(2199, 12, 31), dayOf(2000, 1, 1), dayOf(2099, 12, 31), day, "1900-01-01 to 2199-12-31"},
	TypeDatetime: {dayOf(1900, 1, 1), dayOf(2199, 12, 31), dayOf(2000, 1, 1), dayOf(2099, 12, 31), day, "1900-01-01 to 2199-12-31"},
	TypeURL:      {10, 2000, 10, 500, number, "10 to 2000 bytes"},
	TypeEmail:    {6, 254, 6, 100, number, "6 to 254 bytes"},
	TypeNotice:   {},
}

func number(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == s
}

func cents(s string) (int64, bool) {
	a, err := pagopa.ParseAmount(s)
	return int64(a), err == nil && a.String() == s
}

func day(s string) (int64, bool) {
	t, err := time.Parse(time.DateOnly, s)
	return t.Unix() / secondsOfDay, err == nil
}

const secondsOfDay = 24 * 60 * 60

func dayOf(y int, m time.Month, d int) int64 {
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / secondsOfDay
}

// check reports what is wrong with a value, and returns it as it is written from. "": nothing.
func (p *Placeholder) check(v any) (checked any, rule string) {
	switch p.Type {
	case TypeText, TypeURL, TypeEmail:
		s, ok := v.(string)
		if !ok {
			return nil, "takes a string"
		}
		return s, p.checkString(s)
	case TypeInteger:
		n, ok := v.(int64)
		if i, isInt := v.(int); isInt {
			n, ok = int64(i), true
		}
		if !ok {
			return nil, "takes an int or an int64"
		}
		return n, p.within(n)
	case TypeEuro:
		a, ok := v.(pagopa.Amount)
		if !ok {
			return nil, "takes a pagopa.Amount"
		}
		return a, p.within(int64(a))
	case TypeDate, TypeDatetime:
		t, ok := v.(time.Time)
		if !ok {
			return nil, "takes a time.Time"
		}
		return t, p.within(dayOf(t.In(rome.Location()).Date()))
	}
	n, ok := v.(pagopa.NoticeNumber)
	if !ok {
		return nil, "takes a pagopa.NoticeNumber"
	}
	if !n.Valid() {
		return nil, "18 digits, the first of them 0 to 3"
	}
	return n, ""
}

func (p *Placeholder) checkString(s string) string {
	size := len(s)
	if p.Type == TypeText {
		size = text.Units(s)
	}
	if rule := p.within(int64(size)); rule != "" {
		return rule
	}
	switch p.Type {
	case TypeURL:
		if !validURL(s) {
			return "an https address with a host and without a user, in ASCII"
		}
	case TypeEmail:
		if !validEmail.MatchString(s) {
			return "an e-mail address, in ASCII"
		}
	default:
		if !validText(s) {
			return "one line of UTF-8 without control and formatting characters, and without blanks at its ends"
		}
	}
	return ""
}

// within reports what is wrong with a number by the bounds. "": nothing.
func (p *Placeholder) within(n int64) string {
	if n >= p.Min && n <= p.Max {
		return ""
	}
	switch p.Type {
	case TypeText:
		return fmt.Sprintf("%d to %d UTF-16 units", p.Min, p.Max)
	case TypeURL, TypeEmail:
		return fmt.Sprintf("%d to %d bytes", p.Min, p.Max)
	case TypeEuro:
		return fmt.Sprintf("%s to %s euros", pagopa.Amount(p.Min), pagopa.Amount(p.Max))
	case TypeDate, TypeDatetime:
		return fmt.Sprintf("%s to %s", isoDay(p.Min), isoDay(p.Max))
	}
	return fmt.Sprintf("%d to %d", p.Min, p.Max)
}

func isoDay(n int64) string { return time.Unix(n*secondsOfDay, 0).UTC().Format(time.DateOnly) }

// validText reports whether s is one line without what is not seen: it could turn the direction of what follows, or hide. The joiners
// that scripts and emoji need are no such thing.
func validText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r != '\u200c' && r != '\u200d' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) || r&0xfffe == 0xfffe {
			return false
		}
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	return !unicode.IsSpace(first) && !unicode.IsSpace(last)
}

var (
	urlBytes   = regexp.MustCompile(`^https://[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%]+$`)
	urlHost    = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?$`)
	validEmail = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9.+_-]{0,62}[A-Za-z0-9])?(?:@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+$`)
)

func validURL(s string) bool {
	if !urlBytes.MatchString(s) {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && urlHost.MatchString(u.Host) && u.User == nil
}

// write is a checked value as a language writes it, not escaped. form may be nil where no type of the template needs one.
func (p *Placeholder) write(v any, form *text.Form) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case pagopa.Amount:
		return form.Euros(v)
	case pagopa.NoticeNumber:
		return string(v[:4] + " " + v[4:8] + " " + v[8:12] + " " + v[12:16] + " " + v[16:])
	case time.Time:
		if p.Type == TypeDate {
			return form.Weekday(v)
		}
		return form.Weekday(v) + form.At(v)
	}
	panic("template: a value that was not checked")
}

// needsForm reports whether the values of a type are written as a language has it.
func (t Type) needsForm() bool { return t == TypeEuro || t == TypeDate || t == TypeDatetime }

// lengths are the fewest and the most UTF-16 units that a value takes in a language, before it is escaped.
func (p *Placeholder) lengths(form *text.Form) (least, most int) {
	var values []any
	switch p.Type {
	case TypeText, TypeURL, TypeEmail:
		return int(p.Min), int(p.Max)
	case TypeInteger:
		values = []any{p.Min, p.Max, min(max(0, p.Min), p.Max)}
	case TypeEuro:
		values = []any{pagopa.Amount(p.Min), pagopa.Amount(p.Max)}
	case TypeNotice:
		values = []any{pagopa.NoticeNumber("302032002700000251")}
	default: // which days the bounds leave out is not looked at
		least, most = form.Weekdays()
		if p.Type == TypeDatetime {
			at := text.Units(form.At(time.Time{}))
			least, most = least+at, most+at
		}
		return least, most
	}
	for i, v := range values {
		n := text.Units(p.write(v, form))
		if i == 0 {
			least = n
		}
		least, most = min(least, n), max(most, n)
	}
	return least, most
}
