package template_test

import (
	"fmt"
	"time"

	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/template"
)

const instalment = `template tari-rata 1
label kind payment
placeholder anno integer 2020..2099
placeholder importo euro 1.00..5000.00
placeholder scadenza date
placeholder immobile text 1..100
placeholder pagamento url

== it
TARI {anno}: rata in scadenza

La rata della TARI {anno} per {immobile} è di **{importo}**. Paga entro **{scadenza}**: [come pagare]({pagamento}).

== en
TARI {anno}: instalment due

Your {anno} TARI waste tax instalment for {immobile} is **{importo}**. Please pay by **{scadenza}**: [how to pay]({pagamento}).
`

// A template is checked when it is read; then only values can be wrong. They are text, whatever they hold.
func Example() {
	t, err := template.Parse("tari-rata.txt", instalment)
	if err != nil {
		fmt.Println(err)
		return
	}
	values := template.Values{
		"anno": 2026, "importo": pagopa.Amount(1_250_50), "scadenza": time.Date(2026, 12, 16, 22, 59, 0, 0, time.UTC),
		"immobile": "Via Roma 1 **[gratis](#)**", "pagamento": "https://comune.example/tari?anno=2026&rata=1",
	}
	r, err := t.Render(values)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Template)
	for _, text := range r.Texts {
		fmt.Printf("%s: %s\n%s\n", text.Language, text.Subject, text.Markdown)
	}

	values["importo"] = pagopa.Amount(9_000_00)
	_, err = t.Render(values)
	fmt.Println(err)
	// Output:
	// tari-rata@1
	// it: TARI 2026: rata in scadenza
	// La rata della TARI 2026 per Via Roma 1 \*\*\[gratis\]\(\#\)\*\* è di **1.250,50 €**. Paga entro **mercoledì 16 dicembre 2026**: [come pagare](https://comune.example/tari?anno=2026\&rata=1).
	// en: TARI 2026: instalment due
	// Your 2026 TARI waste tax instalment for Via Roma 1 \*\*\[gratis\]\(\#\)\*\* is **€1,250.50**. Please pay by **Wednesday 16 December 2026**: [how to pay](https://comune.example/tari?anno=2026\&rata=1).
	// template: tari-rata@1: placeholder importo: 1.00 to 5000.00 euros
}

// What is wrong with a file is said with its line.
func ExampleParse() {
	_, err := template.Parse("avviso.txt", `template avviso 1
placeholder nome text 1..200

== it
Un avviso per {nome}

Gentile {nome}, ti scriviamo per dirti che la biblioteca resta chiusa per lavori fino alla fine del mese.
`)
	fmt.Println(err)
	// Output:
	// template: avviso.txt:5: the subject takes 15 to 214 UTF-16 units with the values that its bounds allow; it may have 10 to 120
}
