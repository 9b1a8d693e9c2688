package httpapi

import "strings"

// ioLanguages are the languages that IO's app offers, as IO writes them, by the tag that the engine has.
var ioLanguages = map[string]string{"it": "it_IT", "en": "en_GB", "es": "es_ES", "de": "de_DE", "fr": "fr_FR", "sl": "sl_SI"}

// wireLanguages are language tags in the form of IO: language and country, with an underscore between. A language without a country that IO
// does not offer is left out.
func wireLanguages(tags []string) (wire []string) {
	for _, tag := range tags {
		language, country, found := strings.Cut(tag, "-")
		switch w := ioLanguages[strings.ToLower(tag)]; {
		case w != "":
			wire = append(wire, w)
		case found && len(language) == 2 && len(country) == 2:
			wire = append(wire, strings.ToLower(language)+"_"+strings.ToUpper(country))
		}
	}
	return wire
}

// engineLanguage is the tag of a language in the form of IO; empty: it is none.
func engineLanguage(wire string) string {
	for tag, w := range ioLanguages {
		if w == wire {
			return tag
		}
	}
	language, country, found := strings.Cut(wire, "_")
	if !found || len(language) != 2 || len(country) != 2 || strings.Trim(language, "abcdefghijklmnopqrstuvwxyz") != "" ||
		strings.Trim(country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return ""
	}
	return language + "-" + country
}
