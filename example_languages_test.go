package appio_test

import (
	"context"
	"fmt"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/template"
)

const closure = `template mensa-chiusa 1
placeholder scuola text 1..40
placeholder data date

== it
La mensa resta chiusa {data}

La mensa della scuola {scuola} resta chiusa **{data}**. Per quel giorno non paghi nulla.

== de
Die Mensa bleibt am {data} geschlossen

Die Mensa der Schule {scuola} bleibt am **{data}** geschlossen. Für diesen Tag zahlen Sie nichts.
`

// A message in several languages, made from a template: its citizen has it in the language that suits them best.
func ExampleMessage_Use() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	citizen := enrol(eng, mario, "mario@example.org")
	check(citizen.UpdateProfile(ctx, func(p *appio.Profile) error { p.Languages = []string{"fr", "de-AT"}; return nil }))

	t, err := template.Parse("mensa-chiusa.txt", closure)
	check(err)
	r, err := t.Render(template.Values{"scuola": "Dante *Alighieri*", "data": time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC)})
	check(err)
	m := appio.Message{To: mario}
	m.Use(r)
	sent, err := eng.Sender("mensa").Send(ctx, m)
	check(err)

	got, err := citizen.Message(ctx, sent.ID)
	check(err)
	fmt.Println(got.Template, "in", got.Language)
	fmt.Println(got.Subject)
	fmt.Println(got.Markdown)
	fmt.Println("and also:", got.Translations[0].Subject)
	// Output:
	// mensa-chiusa@1 in de
	// Die Mensa bleibt am Montag, 9. März 2026 geschlossen
	// Die Mensa der Schule Dante \*Alighieri\* bleibt am **Montag, 9. März 2026** geschlossen. Für diesen Tag zahlen Sie nichts.
	// and also: La mensa resta chiusa lunedì 9 marzo 2026
}
