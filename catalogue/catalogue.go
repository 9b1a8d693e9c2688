// Package catalogue is a start for authorities: services that many of them have, and the messages of these services as templates, in
// Italian and in English.
//
//	tari, _ := catalogue.Lookup("tari")
//	eng.PutService(ctx, tari.Suggest("comune-tari", organization)) // as it is suggested; change what differs
//
//	r, err := tari.Message("tari-rata").Render(template.Values{
//		"anno": 2026, "rata": 1, "importo": pagopa.Amount(150_00), "scadenza": due, "immobile": "Via Roma 1",
//		"avviso": notice.Number, "contatti": "Ufficio tributi, tel. 0123 456789, lunedì-venerdì 9-13",
//	})
//	m := appio.Message{To: to, Due: due, Payment: &notice, Key: "tari-2026-1"}
//	m.Use(r)
//	res, err := eng.Sender("comune-tari").Send(ctx, m)
//
// The texts name no authority, speak to the citizen as "tu", and say what has happened, what to do, by when, and whom to ask. They are no
// legal advice: an authority reads them before it uses them, and keeps what it changes as templates of its own ids. Where they say what
// is so in most places, as what to bring to an appointment, it checks that it is so with itself.
//
// Placeholders mean the same wherever they are: contatti is whom to ask, as it is printed; pagina leads to where the citizen can read or
// do more; scadenza is the day by which to act, of a payment that of the notice; avviso is the notice's number; luogo and immobile
// follow an "in", as "via Roma 1" does. Texts such as these are the same in all languages of a message.
//
// The files are in data, in the format of package template: a folder for each service, with its name and description in service.txt
// and a file for each message. A text that changes gets a new version.
package catalogue

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/template"
)

//go:embed data
var files embed.FS

// An Area is what a service is about.
type Area string

const (
	Taxes    Area = "taxes"
	School   Area = "school"
	Mobility Area = "mobility"
	Registry Area = "registry"
	Health   Area = "health"
	Culture  Area = "culture"
	Social   Area = "social"
)

// A Kind is what a message wants.
type Kind string

const (
	Payment  Kind = "payment"  // to be paid: it goes with a Notice
	Deadline Kind = "deadline" // to be acted upon: it goes with a Due
	Notice   Kind = "notice"   // to be known
)

// A Service is one that many authorities have.
type Service struct {
	ID   string
	Area Area

	// Texts are its name, as Subject, and its description, as Markdown without any mark, in each language; Italian first.
	Texts []template.Text

	SecureChannels bool // suggested: its messages say something of health or need
	Basis          appio.LegalBasis
	Messages       []Message // by id
}

// A Message is one that a service sends.
type Message struct {
	*template.Template
	Kind Kind
}

// Message is the service's message whose template has this id. An id that is none of its is a mistake of the program: it panics.
func (s Service) Message(id string) Message {
	for _, m := range s.Messages {
		if m.Ref().ID == id {
			return m
		}
	}
	panic(fmt.Sprintf("catalogue: service %s has no message %q", s.ID, id))
}

// Suggest is the service as an authority could begin with it: on trial, with the Italian name and description, without contacts, and
// without payments, until MaxPayment is set.
func (s Service) Suggest(id appio.ServiceID, of fiscalcode.Organization) appio.Service {
	return appio.Service{
		ID: id, Organization: of, Name: s.Texts[0].Subject, Description: s.Texts[0].Markdown, Basis: s.Basis,
		SecureChannels: s.SecureChannels, Topic: string(s.Area),
	}
}

// Services are all of the catalogue, by id.
func Services() []Service {
	all := slices.Clone(load())
	for i := range all {
		all[i].Texts, all[i].Messages = slices.Clone(all[i].Texts), slices.Clone(all[i].Messages)
	}
	return all
}

// Lookup is the service of this id; false: there is none.
func Lookup(id string) (Service, bool) {
	for _, s := range Services() {
		if s.ID == id {
			return s, true
		}
	}
	return Service{}, false
}

// load reads the files, which the package's tests have read.
var load = sync.OnceValue(func() []Service {
	services, err := read(files)
	if err != nil {
		panic(err)
	}
	return services
})

func read(fsys fs.FS) (all []Service, err error) {
	folders, err := fs.ReadDir(fsys, "data")
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		s, err := readService(fsys, path.Join("data", folder.Name()), folder.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func readService(fsys fs.FS, folder, id string) (s Service, err error) {
	set, err := template.ParseFS(fsys, folder+"/*.txt")
	if err != nil {
		return s, err
	}
	about := set.Latest(id)
	if about == nil {
		return s, fmt.Errorf("catalogue: %s: no template of this name", folder)
	}
	r, err := about.Render(nil)
	if err != nil {
		return s, err
	}
	s = Service{
		ID: id, Area: Area(about.Label("area")), Texts: r.Texts, Basis: appio.LegalBasis(about.Label("basis")),
		SecureChannels: about.Label("channels") == "secure",
	}
	switch s.Area {
	case Taxes, School, Mobility, Registry, Health, Culture, Social:
	default:
		return s, fmt.Errorf("catalogue: %s: label area is none of those known", folder)
	}
	for _, t := range set.Templates() {
		if t == about {
			continue
		}
		m := Message{t, Kind(t.Label("kind"))}
		if !strings.HasPrefix(t.Ref().ID, id+"-") || m.Kind != Payment && m.Kind != Deadline && m.Kind != Notice {
			return s, fmt.Errorf("catalogue: %s: %s is not of this service, or of no kind", folder, t.Ref())
		}
		s.Messages = append(s.Messages, m)
	}
	return s, nil
}
