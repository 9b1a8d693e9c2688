package appio_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

func TestQuality(t *testing.T) {
	t.Parallel()
	sound := appio.Service{Name: "Mensa", Description: "Pasti a scuola", Privacy: "https://example.it/privacy", Phone: "+39 02 0202"}
	require.Empty(t, sound.Quality("Anagrafe", "Mensa scolastica"))
	for name, c := range map[string]struct {
		change func(*appio.Service)
		names  []string
		want   []appio.QualityFinding
	}{
		"the same name":          {func(*appio.Service) {}, []string{"Anagrafe", " MENSA "}, []appio.QualityFinding{appio.NameDuplicate}},
		"no description":         {func(s *appio.Service) { s.Description = "" }, nil, []appio.QualityFinding{appio.DescriptionMissing}},
		"no privacy notice":      {func(s *appio.Service) { s.Privacy = "" }, nil, []appio.QualityFinding{appio.PrivacyMissing}},
		"no contact":             {func(s *appio.Service) { s.Phone = "" }, nil, []appio.QualityFinding{appio.ContactMissing}},
		"a site is no contact":   {func(s *appio.Service) { s.Phone, s.Web = "", "https://example.it" }, nil, []appio.QualityFinding{appio.ContactMissing}},
		"an e-mail is one":       {func(s *appio.Service) { s.Phone, s.Email = "", "a@example.it" }, nil, nil},
		"a PEC is one":           {func(s *appio.Service) { s.Phone, s.PEC = "", "a@pec.example.it" }, nil, nil},
		"a help page is one":     {func(s *appio.Service) { s.Phone, s.Support = "", "http://example.it/aiuto" }, nil, nil},
		"no URL":                 {func(s *appio.Service) { s.Privacy = "privacy" }, nil, []appio.QualityFinding{appio.LinkMalformed}},
		"a script":               {func(s *appio.Service) { s.Web = "javascript:alert(1)" }, nil, []appio.QualityFinding{appio.LinkMalformed}},
		"a URL with a blank":     {func(s *appio.Service) { s.Support = "https://example.it/a b" }, nil, []appio.QualityFinding{appio.LinkMalformed}},
		"terms that are no link": {func(s *appio.Service) { s.Terms = "condizioni" }, nil, []appio.QualityFinding{appio.LinkMalformed}},
		"an app that is none":    {func(s *appio.Service) { s.AndroidApp = "ftp://example.it" }, nil, []appio.QualityFinding{appio.LinkMalformed}},
		"no address":             {func(s *appio.Service) { s.Email = "Mensa <a@example.it>" }, nil, []appio.QualityFinding{appio.EmailMalformed}},
		"no address of a PEC":    {func(s *appio.Service) { s.PEC = "example.it" }, nil, []appio.QualityFinding{appio.EmailMalformed}},
		"nothing at all": {func(s *appio.Service) { *s = appio.Service{Name: "Mensa"} }, []string{"mensa"},
			[]appio.QualityFinding{appio.NameDuplicate, appio.DescriptionMissing, appio.PrivacyMissing, appio.ContactMissing}},
	} {
		s := sound
		c.change(&s)
		require.Equal(t, c.want, s.Quality(c.names...), name)
	}
}

func TestNeedsReview(t *testing.T) {
	t.Parallel()
	live := appio.Service{Name: "Mensa", Organization: comune, Description: "Pasti a scuola", MaxPayment: 10, OtherPayees: true}
	for name, c := range map[string]struct {
		change func(*appio.Service)
		needs  bool
	}{
		"nothing": {func(*appio.Service) {}, false},
		"contacts": {func(s *appio.Service) {
			s.Phone, s.Email, s.Privacy, s.Topic = "1", "a@example.it", "https://a.it", "2"
		}, false},
		"smaller notices":   {func(s *appio.Service) { s.MaxPayment = 9 }, false},
		"its own notices":   {func(s *appio.Service) { s.OtherPayees = false }, false},
		"secure channels":   {func(s *appio.Service) { s.SecureChannels = true }, false},
		"the name":          {func(s *appio.Service) { s.Name = "Tributi" }, true},
		"the description":   {func(s *appio.Service) { s.Description = "Multe" }, true},
		"the organization":  {func(s *appio.Service) { s.Organization = "80078750587" }, true},
		"greater notices":   {func(s *appio.Service) { s.MaxPayment = 11 }, true},
		"the basis":         {func(s *appio.Service) { s.Basis = appio.PublicTask }, true},
		"the reach":         {func(s *appio.Service) { s.Reach = appio.National }, true},
		"disturbs at night": {func(s *appio.Service) { s.QuietBasis = "d.lgs. 1/2018, art. 17" }, true},
	} {
		s := live
		c.change(&s)
		require.Equal(t, c.needs, s.NeedsReview(live), name)
	}
	secure := live
	secure.SecureChannels = true
	require.True(t, live.NeedsReview(secure))
	own := live
	own.OtherPayees = false
	require.True(t, live.NeedsReview(own))
}
