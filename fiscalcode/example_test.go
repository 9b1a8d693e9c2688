package fiscalcode_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/appio-go/appio/fiscalcode"
)

// A code from a form is made upper case by the form's handler; the package corrects nothing.
func ExampleParsePerson() {
	typed := " rssmra85m10h501s"

	_, err := fiscalcode.ParsePerson(typed)
	fmt.Println(errors.Is(err, fiscalcode.ErrInvalid))

	p, err := fiscalcode.ParsePerson(strings.ToUpper(strings.TrimSpace(typed)))
	fmt.Println(p, err)
	// Output:
	// true
	// RSSM********501S <nil>
}

func ExampleParseOrganization() {
	o, err := fiscalcode.ParseOrganization("15376371009")
	fmt.Println(o, err)
	// Output: 15376371009 <nil>
}

// The check is advice to the person who types, not a condition: the sandbox's code fails it, and so do others in use.
func ExamplePerson_Check() {
	for _, p := range []fiscalcode.Person{"RSSMRA85M10H501S", "RSSMRA85M10H501U", fiscalcode.Sandbox} {
		fmt.Println(p, p.Valid(), p.Check())
	}
	// Output:
	// RSSM********501S true true
	// RSSM********501U true false
	// AAAA********000A true false
}

func ExamplePerson_Format() {
	letter := struct {
		To   fiscalcode.Person
		Text string
	}{"RSSMRA85M10H501S", "La mensa riapre."}

	fmt.Printf("%+v\n", letter)
	fmt.Println(string(letter.To))
	// Output:
	// {To:RSSM********501S Text:La mensa riapre.}
	// RSSMRA85M10H501S
}

func ExamplePerson_LogValue() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))

	log.Info("accepted", "to", fiscalcode.Person("RSSMRA85M10H501S"))
	// Output: {"level":"INFO","msg":"accepted","to":"RSSM********501S"}
}

func ExampleOrganization_Check() {
	for _, o := range []fiscalcode.Organization{"15376371009", "15376371008", "00000000000"} {
		fmt.Println(o, o.Valid(), o.Check())
	}
	// Output:
	// 15376371009 true true
	// 15376371008 true false
	// 00000000000 true false
}
