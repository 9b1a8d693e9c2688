package catalogue

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/internal/text"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/template"
)

// glossary is what placeholders are called in the whole catalogue, and their type.
var glossary = map[string]template.Type{
	"al": template.TypeDate, "alunno": template.TypeText, "anno": template.TypeInteger, "appuntamento": template.TypeDatetime,
	"avviso": template.TypeNotice, "contatti": template.TypeText, "contributo": template.TypeText, "dal": template.TypeDate,
	"data": template.TypeDate, "immobile": template.TypeText, "importo": template.TypeEuro, "linea": template.TypeText,
	"luogo": template.TypeText, "pagina": template.TypeURL, "posti": template.TypeInteger, "pratica": template.TypeText,
	"prestazione": template.TypeText, "rata": template.TypeInteger, "saldo": template.TypeEuro, "scadenza": template.TypeDate,
	"scuola": template.TypeText, "servizio": template.TypeText, "struttura": template.TypeText, "targa": template.TypeText,
	"titolo": template.TypeText, "vaccinazione": template.TypeText, "verbale": template.TypeText, "zona": template.TypeText,
}

// values are the least, or the most, that placeholders may be.
func values(m Message, most bool) template.Values {
	v := template.Values{}
	for _, p := range m.Placeholders() {
		n := p.Min
		if most {
			n = p.Max
		}
		switch p.Type {
		case template.TypeText:
			v[p.Name] = strings.Repeat("[", int(n))
		case template.TypeInteger:
			v[p.Name] = n
		case template.TypeEuro:
			v[p.Name] = pagopa.Amount(n)
		case template.TypeDate, template.TypeDatetime:
			v[p.Name] = time.Date(2026, 9, 30, 10, 0, 0, 0, time.UTC) // mercoledì 30 settembre
		case template.TypeURL:
			v[p.Name] = "https://a" + strings.Repeat("b", int(n)-9)
		case template.TypeNotice:
			v[p.Name] = pagopa.NoticeNumber("302032002700000251")
		}
	}
	return v
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	all, err := read(files)
	require.NoError(t, err)
	messages, areas, kinds := 0, map[Area]int{}, map[Kind]int{}
	names, used := map[string]bool{}, map[string]bool{}
	for _, s := range all {
		areas[s.Area]++
		require.NotEmpty(t, s.Messages, s.ID)
		require.NoError(t, s.Suggest("x", appiotest.Organization).Validate(), s.ID)
		require.Equal(t, appio.PublicTask, s.Basis)
		require.Equal(t, s.Area == Health || s.Area == Social, s.SecureChannels, s.ID)
		require.Len(t, s.Texts, 2)
		for i, language := range []string{"it", "en"} {
			require.Equal(t, language, s.Texts[i].Language)
			require.NotRegexp(t, `[*_\[\]#|\\]|\n`, s.Texts[i].Markdown, "%s: a description is one paragraph without marks", s.ID)
			require.LessOrEqual(t, text.Units(s.Texts[i].Markdown), 1000)
			require.False(t, names[s.Texts[i].Subject], "a name twice")
			names[s.Texts[i].Subject] = true
		}
		for _, m := range s.Messages {
			messages++
			kinds[m.Kind]++
			id := m.Ref().String()
			require.Equal(t, []string{"it", "en"}, m.Languages(), id)
			has := map[string]bool{}
			for _, p := range m.Placeholders() {
				require.Equal(t, glossary[p.Name], p.Type, "%s: placeholder %s", id, p.Name)
				has[p.Name], used[p.Name] = true, true
			}
			require.True(t, has["contatti"], "%s says whom to ask", id)
			switch m.Kind {
			case Payment:
				require.True(t, has["importo"] && has["scadenza"] && has["avviso"], "%s says what to pay, until when, and by which notice", id)
			case Deadline:
				require.True(t, has["scadenza"], "%s says until when", id)
			}
			for _, most := range []bool{false, true} {
				r, err := m.Render(values(m, most))
				require.NoError(t, err, id)
				for _, w := range r.Texts {
					require.True(t, text.Units(w.Subject) >= text.MinSubject && text.Units(w.Subject) <= text.MaxSubject, id)
					require.True(t, text.Units(w.Markdown) >= text.MinMarkdown && text.Units(w.Markdown) <= text.MaxMarkdown, id)
					require.NotContains(t, w.Subject+w.Markdown, "'", "%s: an apostrophe is ’", id)
					require.NotRegexp(t, `\b(?:il|al|dal|del|nel|sul) (?:\*\*)?(?:luned|marted|mercoled|gioved|venerd|sabato|domenica)`, w.Subject+w.Markdown, "%s: a weekday has no article", id)
				}
				var message appio.Message
				message.To = appiotest.Mario
				message.Use(r)
				require.NoError(t, message.Validate(), id)
			}
		}
	}
	require.GreaterOrEqual(t, len(all), 12)
	require.GreaterOrEqual(t, messages, 40)
	require.Len(t, areas, 7)
	require.Len(t, kinds, 3)
	require.Equal(t, slices.Sorted(maps.Keys(glossary)), slices.Sorted(maps.Keys(used)), "the glossary has what is used")
}

// Subjects of health services are shown where others may see them: they say nothing of what it is.
func TestHealthSubjectsAreDiscreet(t *testing.T) {
	t.Parallel()
	for _, s := range Services() {
		for _, m := range s.Messages {
			if s.Area != Health {
				continue
			}
			v := values(m, false)
			for _, secret := range []string{"prestazione", "struttura", "vaccinazione"} {
				if _, ok := v[secret]; ok {
					v[secret] = "Oncologia"
				}
			}
			r, err := m.Render(v)
			require.NoError(t, err)
			for _, w := range r.Texts {
				require.NotContains(t, w.Subject, "Oncologia", m.Ref())
			}
		}
	}
}

// What texts say, as written: they speak to a "tu", name nobody, and lead nowhere but to what the authority gives.
func TestTexts(t *testing.T) {
	t.Parallel()
	require.NoError(t, fs.WalkDir(files, "data", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		source, err := fs.ReadFile(files, name)
		require.NoError(t, err)
		head, texts, _ := strings.Cut(string(source), "\n== it\n")
		italian, english, ok := strings.Cut(texts, "\n== en\n")
		require.True(t, ok, name)
		require.NotRegexp(t, `https?:|www\.|@|\.it\b|\.gov\b`, texts, "%s has an address of its own", name)
		require.NotRegexp(t, `\b(?i:comune di|città di|regione|provincia|asl|ats|ausl|inps|agenzia delle|municipality of|city of)\b`, texts, "%s names an authority", name)
		require.NotRegexp(t, `\b(?:Lei|Suo|Sua|Suoi|Sue|La preghiamo|Le ricordiamo|voi|vostr[aoei]|Gentile|La informiamo|si prega)\b|\b(?i:cittadino)\b`, italian, "%s does not say tu", name)
		require.Regexp(t, `\b(?i:tu|ti|tuo|tua|tuoi|tue|te|puoi|devi|hai|ricevi|paga|leggi|riportalo|controlla|comunica|presenta|rinnova|vuoi)\b`, italian, name)
		require.NotRegexp(t, `\b(?i:colour|color|apologize|authorization|enrollment|zip code|please be advised|kindly|hereby)\b`, english, "%s is British and plain", name)
		require.NotRegexp(t, ` {2}|\.\.|,,| [.,;:]|\?\?|!`, strings.ReplaceAll(texts, "\n- ", "\n"), name)
		require.NotRegexp(t, `\b(?:il il|la la|di di|che che|per per|the the|to to|of of|and and|a a)\b`, texts, name)
		for _, sentence := range regexp.MustCompile(`[.:?]\s`).Split(texts, -1) {
			require.LessOrEqual(t, len(strings.Fields(sentence)), 35, "%s: a long sentence: %s", name, sentence)
		}
		if !strings.HasSuffix(name, "/service.txt") {
			require.Contains(t, head, "label kind ")
			require.Contains(t, italian, "Per informazioni: {contatti}.", name)
			require.Contains(t, english, "For information: {contatti}.", name)
		}
		return nil
	}))
}

var update = flag.Bool("update", false, "write the sums of versions that are new")

// TestVersions: a text that is changed gets a new version, since messages are stored with the version that they are of.
func TestVersions(t *testing.T) {
	t.Parallel()
	const list = "testdata/versions.txt"
	sums := map[string]string{}
	require.NoError(t, fs.WalkDir(files, "data", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		source, err := fs.ReadFile(files, name)
		require.NoError(t, err)
		tpl, err := template.Parse(name, string(source))
		require.NoError(t, err)
		sum := sha256.Sum256([]byte(strings.ReplaceAll(string(source), "\r\n", "\n")))
		sums[tpl.Ref().String()] = hex.EncodeToString(sum[:8])
		return nil
	}))
	known := map[string]string{}
	lines, err := os.ReadFile(list)
	if err != nil {
		require.True(t, *update, "%s is missing: -update", list)
	}
	for line := range strings.Lines(string(lines)) {
		ref, sum, ok := strings.Cut(strings.TrimSpace(line), " ")
		require.True(t, ok)
		known[ref] = sum
		if now, ok := sums[ref]; ok {
			require.Equal(t, sum, now, "%s was changed: give it a new version, and run with -update", ref)
		}
	}
	for ref, sum := range sums {
		if known[ref] == "" {
			require.True(t, *update, "%s is new: run with -update", ref)
			known[ref] = sum
		}
	}
	if !*update {
		return
	}
	var b strings.Builder
	for _, ref := range slices.Sorted(maps.Keys(known)) {
		fmt.Fprintf(&b, "%s %s\n", ref, known[ref])
	}
	require.NoError(t, os.MkdirAll("testdata", 0o777))
	require.NoError(t, os.WriteFile(list, []byte(b.String()), 0o666))
}

func TestDamagedCatalogue(t *testing.T) {
	t.Parallel()
	const rest = "\n== it\nUn servizio di prova\n\nUn testo di prova che è lungo abbastanza per essere una descrizione, e dice che cosa si riceve.\n"
	for name, c := range map[string]struct{ service, message string }{
		"no area":         {"template a 1\n" + rest, ""},
		"another name":    {"template b 1\nlabel area taxes\n" + rest, ""},
		"a placeholder":   {"template a 1\nlabel area taxes\nplaceholder x date\n" + rest + "{x}", ""},
		"no template":     {"niente", ""},
		"no kind":         {"template a 1\nlabel area taxes\n" + rest, "template a-x 1\n" + rest},
		"another service": {"template a 1\nlabel area taxes\n" + rest, "template b-x 1\nlabel kind notice\n" + rest},
	} {
		fsys := fstest.MapFS{"data/a/service.txt": &fstest.MapFile{Data: []byte(c.service)}}
		if c.message != "" {
			fsys["data/a/x.txt"] = &fstest.MapFile{Data: []byte(c.message)}
		}
		_, err := read(fsys)
		require.Error(t, err, name)
	}
	_, err := read(fstest.MapFS{})
	require.Error(t, err)
}

func TestLookup(t *testing.T) {
	t.Parallel()
	_, ok := Lookup("nessuno")
	require.False(t, ok)
	s, ok := Lookup("referti")
	require.True(t, ok)
	require.PanicsWithValue(t, `catalogue: service referti has no message "referti"`, func() { s.Message("referti") })
	s.Messages[0], s.Texts[0].Subject = Message{}, "altro"
	again, _ := Lookup("referti")
	require.NotNil(t, again.Messages[0].Template, "nobody else's is changed")
	require.NotEqual(t, "altro", again.Texts[0].Subject)
}

// A message from the catalogue, from its template to the citizen's inbox and mailbox.
func TestThroughAnEngine(t *testing.T) {
	t.Parallel()
	kit, ctx := appiotest.New(t, nil), t.Context()
	s, _ := Lookup("tari")
	service := s.Suggest("tari", appiotest.Organization)
	service.State, service.MaxPayment = appio.Live, 5000_00
	require.NoError(t, kit.PutService(ctx, service))
	mario := kit.Person(appiotest.Mario, appio.Auto)
	require.NoError(t, mario.UpdateProfile(ctx, func(p *appio.Profile) error { p.Languages = []string{"en-GB"}; return nil }))

	message := s.Message("tari-rata")
	v := values(message, false)
	v["importo"], v["anno"], v["immobile"] = pagopa.Amount(150_00), 2026, "Via Roma 1 <b>"
	r, err := message.Render(v)
	require.NoError(t, err)
	m := appio.Message{
		To: appiotest.Mario, Due: v["scadenza"].(time.Time),
		Payment: &appio.Notice{Number: v["avviso"].(pagopa.NoticeNumber), Amount: v["importo"].(pagopa.Amount)},
	}
	m.Use(r)
	sent, err := kit.Sender("tari").Send(ctx, m)
	require.NoError(t, err)
	require.Equal(t, appio.Processed, sent.Status)
	_, err = kit.Flush(ctx)
	require.NoError(t, err)

	got, err := mario.Message(ctx, sent.ID)
	require.NoError(t, err)
	require.Equal(t, "TARI 2026: instalment 1 due by Wednesday 30 September 2026", got.Subject)
	require.Contains(t, got.Markdown, `Instalment 1 of your 2026 TARI waste tax is **€150.00**. It is for the property at Via Roma 1 \<b\>.`)
	require.Equal(t, template.Ref{ID: "tari-rata", Version: 1}, got.Template)
	require.Equal(t, "TARI 2026: rata 1 da pagare entro mercoledì 30 settembre 2026", got.Translations[0].Subject)
	mails := kit.Email.Deliveries()
	require.Len(t, mails, 1)
	require.Equal(t, got.Subject, mails[0].Subject)
	require.Equal(t, "en", mails[0].TextLanguage)
}
