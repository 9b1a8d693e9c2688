package appio_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/template"
)

var inEnglish = []appio.Translation{{Language: "en", Subject: "School meals are back on Monday", Markdown: strings.Repeat("Pasta. ", 20)}}

// in is a translation whose subject says which language it is.
func in(language string) appio.Translation {
	return appio.Translation{Language: language, Subject: "La mensa, in " + language, Markdown: language + strings.Repeat(" pasta", 20)}
}

// translated makes a message of texts in these languages, the first its main one.
func translated(languages ...string) func(*appio.Message) {
	return func(m *appio.Message) {
		first := in(languages[0])
		m.Language, m.Subject, m.Markdown, m.Translations = first.Language, first.Subject, first.Markdown, nil
		for _, l := range languages[1:] {
			m.Translations = append(m.Translations, in(l))
		}
	}
}

func TestMessageInALanguage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ has, preferred, shown string }{
		{"it en", "", "it"},
		{"it en", "it", "it"},
		{"it en", "en", "en"},
		{"it en", "EN", "en"},
		{"it en", "fr", "it"},
		{"it en", "fr en", "en"},
		{"it en", "it en", "it"},
		{"it en", "en it", "en"},
		{"it en de", "de-AT", "de"},
		{"it de-CH de", "de-AT", "de"},
		{"it de de-AT", "de-AT", "de-AT"},
		{"it de-CH de-DE", "de-AT", "de-CH"},
		{"it de-AT", "de", "de-AT"},
		{"it zh zh-Hant", "zh-Hant-TW", "zh-Hant"},
		{"it en de", "de-AT en", "de"}, // the base of the first comes before the second
		{"de-IT it", "de it", "de-IT"}, // the main text too
		{"it ita", "ita", "ita"},
		{"it ita", "i", "it"},
		{"it en", "english", "it"}, // no tag that "en" is the begin of
		{"it en", "- --- -en", "it"},
		{"it", "en", "it"},
	} {
		var m appio.Message
		translated(strings.Fields(c.has)...)(&m)
		before := m
		shown := m.In(strings.Fields(c.preferred)...)
		require.Equal(t, in(c.shown), appio.Translation{Language: shown.Language, Subject: shown.Subject, Markdown: shown.Markdown}, c)
		require.Equal(t, before, m, "m itself stays")
		texts := map[appio.Translation]bool{in(c.shown): true}
		for _, other := range shown.Translations {
			texts[other] = true
		}
		require.Len(t, texts, len(strings.Fields(c.has)), "no text is lost: %v", c)
		m.Translations = nil
		require.Equal(t, m, m.In(strings.Fields(c.preferred)...), "there is nothing to choose")
	}
}

func TestTranslations(t *testing.T) {
	t.Parallel()

	t.Run("the citizen sees the message in their language, and so does what is delivered", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		w.enrol(matteo, appio.Auto)
		prefer := func(languages ...string) {
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
				p.Languages, p.Channels[appio.Push] = languages, appio.Generic
				return nil
			}))
		}
		prefer("fr", "de-AT")
		id := w.send(s, messageTo(giuseppe, translated("it", "en", "de"), func(m *appio.Message) { m.Due = w.now().Add(time.Hour) }))
		w.send(s, messageTo(matteo, translated("it", "en", "de")))
		require.Equal(t, 4, w.flush())
		for _, d := range w.email.deliveries() {
			want, language := in("it"), ""
			if d.Message == id {
				want, language = in("de"), "fr"
			}
			require.Equal(t, want, appio.Translation{Language: d.TextLanguage, Subject: d.Subject, Markdown: d.Markdown})
			require.Equal(t, language, d.Language)
		}
		for _, d := range w.push.deliveries() {
			if d.Message == id {
				require.Equal(t, appio.Generic, d.Content)
				require.Empty(t, d.TextLanguage+d.Subject+d.Markdown)
			}
		}
		var calendar strings.Builder
		require.NoError(t, c.Calendar(ctx, id, &calendar, nil))
		require.Contains(t, calendar.String(), `SUMMARY:La mensa\, in de`)
		for preferred, shown := range map[string]string{"de": "de", "en-GB": "en", "it": "it", "sl": "it"} {
			prefer(preferred)
			m, err := c.Message(ctx, id)
			require.NoError(t, err)
			require.Equal(t, in(shown), appio.Translation{Language: m.Language, Subject: m.Subject, Markdown: m.Markdown})
			require.Len(t, m.Translations, 2)
			require.Equal(t, m, collect(t, c.Inbox(nil))[0])
		}
	})

	t.Run("a long one is read again when it is delivered", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		require.NoError(t, c.UpdateProfile(t.Context(), func(p *appio.Profile) error { p.Languages = []string{"en"}; return nil }))
		w.send(s, messageTo(giuseppe, func(m *appio.Message) {
			m.Language, m.Translations = "it", []appio.Translation{{Language: "en", Subject: subject, Markdown: strings.Repeat("long ", 2000)}}
		}))
		w.flush()
		require.Len(t, w.email.deliveries()[0].Markdown, 10_000)
	})

	t.Run("are within the limits of the main text", func(t *testing.T) {
		t.Parallel()
		ten := strings.Fields("it en de fr sl es pt ro sq ar")
		require.NoError(t, messageTo(giuseppe, translated(ten...)).Validate())
		for _, c := range []struct {
			field  string
			change func(*appio.Message)
		}{
			{"Language", func(m *appio.Message) { m.Language = "" }},
			{"Language", func(m *appio.Message) { m.Language = "it_IT" }},
			{"Language", func(m *appio.Message) { m.Language, m.Translations = "i", nil }},
			{"Translations", func(m *appio.Message) { translated(append(ten, "el")...)(m) }},
			{"Translations[0].Language", func(m *appio.Message) { m.Translations[0].Language = "" }},
			{"Translations[0].Language", func(m *appio.Message) { m.Translations[0].Language = "IT" }},
			{"Translations[1].Language", func(m *appio.Message) { m.Translations[1].Language = "En" }},
			{"Translations[1].Subject", func(m *appio.Message) { m.Translations[1].Subject = "too short" }},
			{"Translations[1].Subject", func(m *appio.Message) { m.Translations[1].Subject = strings.Repeat("\U0001F600", 61) }},
			{"Translations[1].Markdown", func(m *appio.Message) { m.Translations[1].Markdown = strings.Repeat("x", 79) }},
			{"Translations[1].Markdown", func(m *appio.Message) { m.Translations[1].Markdown = strings.Repeat("x", 10_001) }},
			{"Translations[1].Markdown", func(m *appio.Message) { m.Translations[1].Markdown = strings.Repeat("x", 100) + "\xff" }},
			{"Template", func(m *appio.Message) { m.Template.ID = "mensa" }},
			{"Template", func(m *appio.Message) { m.Template.Version = 1 }},
			{"Template", func(m *appio.Message) { m.Template = appio.TemplateRef{ID: "Mensa", Version: 1} }},
		} {
			m := messageTo(giuseppe, translated("it", "en", "de"))
			c.change(&m)
			requireField(t, m.Validate(), c.field, "")
		}
	})

	t.Run("their order is nobody's business", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		m := messageTo(giuseppe, translated("it", "en", "de"), withKey("k"))
		id := w.send(s, m)
		m.Translations[0], m.Translations[1] = m.Translations[1], m.Translations[0]
		r, err := s.Send(ctx, m)
		require.NoError(t, err)
		require.Equal(t, appio.Result{ID: id, Status: appio.Processed, Repeated: true}, r)
		require.Equal(t, "de", m.Translations[0].Language, "the caller's message stays as it is")
		m.Translations[1].Markdown += "!"
		_, err = s.Send(ctx, m)
		require.ErrorIs(t, err, appio.ErrConflict)
	})
}

func TestMessageFromATemplate(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	s, c := w.put(), w.enrol(giuseppe, appio.Auto)
	ref := appio.TemplateRef{ID: "mensa-riapre", Version: 3}
	m := messageTo(giuseppe, translated("fr", "sl"))
	m.Use(template.Rendering{Template: ref, Texts: []template.Text{in("it"), in("en")}})
	want := messageTo(giuseppe, translated("it", "en"), func(m *appio.Message) { m.Template = ref })
	require.Equal(t, want, m)
	id := w.send(s, m)

	got, err := c.Message(ctx, id)
	require.NoError(t, err)
	require.Equal(t, ref, got.Template)
	require.Equal(t, m.Translations, got.Translations)

	require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true}))
	st, err := s.Status(ctx, giuseppe, id)
	require.NoError(t, err)
	require.Equal(t, appio.MessageStatus{Status: appio.Processed, At: st.At}, st)
	require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, ReadStatus: true}))
	seen, err := s.Status(ctx, giuseppe, id)
	require.NoError(t, err)
	require.NotNil(t, seen.Read)
	require.Equal(t, ref, seen.Template)

	// A message that is erased is like one whose citizen does not say whether it was read.
	require.NoError(t, c.Erase(ctx))
	erased, err := s.Status(ctx, giuseppe, id)
	require.NoError(t, err)
	require.Equal(t, st, erased)
	w.flush()
	erased, err = s.Status(ctx, giuseppe, id)
	require.NoError(t, err)
	require.Equal(t, st, erased)
}
