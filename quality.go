package appio

import (
	"net/mail"
	"regexp"
	"slices"
	"strings"
)

// A QualityFinding names a rule of quality that a service does not keep. The names never change.
type QualityFinding string

const (
	NameDuplicate      QualityFinding = "name-duplicate"      // another service of the organization has it
	DescriptionMissing QualityFinding = "description-missing" // citizens are told nothing about it
	PrivacyMissing     QualityFinding = "privacy-missing"     // no privacy notice
	ContactMissing     QualityFinding = "contact-missing"     // none of Email, PEC, Phone, Support
	LinkMalformed      QualityFinding = "link-malformed"      // Privacy, Web, Support, Terms, AppleApp or AndroidApp is no http or https URL
	EmailMalformed     QualityFinding = "email-malformed"     // Email or PEC is no address
)

var httpURL = regexp.MustCompile(`^https?://\S+$`)

// Quality says which rules a service does not keep that its organization submits, in the order of their names' declaration. names are those
// of the organization's other services, of which it may have none, whatever their case. It reads nothing else.
func (s Service) Quality(names ...string) (found []QualityFinding) {
	rule := func(kept bool, f QualityFinding) {
		if !kept {
			found = append(found, f)
		}
	}
	link := func(u string) bool { return u == "" || httpURL.MatchString(u) }
	address := func(a string) bool {
		parsed, err := mail.ParseAddress(a)
		return a == "" || err == nil && parsed.Address == a
	}
	rule(!slices.ContainsFunc(names, func(n string) bool { return sameName(n, s.Name) }), NameDuplicate)
	rule(s.Description != "", DescriptionMissing)
	rule(s.Privacy != "", PrivacyMissing)
	rule(s.Email != "" || s.PEC != "" || s.Phone != "" || s.Support != "", ContactMissing)
	rule(!slices.ContainsFunc([]string{s.Privacy, s.Web, s.Support, s.Terms, s.AppleApp, s.AndroidApp}, func(u string) bool { return !link(u) }), LinkMalformed)
	rule(address(s.Email) && address(s.PEC), EmailMalformed)
	return found
}

func sameName(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }

// NeedsReview reports whether the next version of a service must be looked at by somebody before it replaces live, its approved one: it
// has another name, organization, description or reach, is for something else by law, or may do more.
func (s Service) NeedsReview(live Service) bool {
	return s.Name != live.Name || s.Organization != live.Organization || s.Description != live.Description || s.Reach != live.Reach ||
		s.Basis != live.Basis || s.QuietBasis != live.QuietBasis || s.MaxPayment > live.MaxPayment ||
		s.OtherPayees && !live.OtherPayees || live.SecureChannels && !s.SecureChannels
}
