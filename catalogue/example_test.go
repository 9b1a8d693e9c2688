package catalogue_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/catalogue"
	"github.com/appio-go/appio/template"
)

// An instalment of the waste tax, as an Italian and as an English citizen read it.
func Example() {
	tari, _ := catalogue.Lookup("tari")
	due := time.Date(2026, 12, 16, 22, 59, 0, 0, time.UTC)
	notice := appio.Notice{Number: "302032002700000251", Amount: 150_00}
	r, err := tari.Message("tari-rata").Render(template.Values{
		"anno": 2026, "rata": 1, "importo": notice.Amount, "scadenza": due, "immobile": "via Roma 1", "avviso": notice.Number,
		"contatti": "Ufficio tributi, tel. 0123 456789, lunedì-venerdì 9-13",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	m := appio.Message{To: "RSSMRA85M10H501S", Due: due, Payment: &notice, Key: "tari-2026-1"}
	m.Use(r) // and now Send
	for _, language := range []string{"it", "en"} {
		shown := m.In(language)
		fmt.Println(shown.Subject)
		fmt.Println(strings.ReplaceAll(shown.Markdown, "\u00a0", " ")) // which keeps amount and sign together
	}
	fmt.Println(m.Template)
	// Output:
	// TARI 2026: rata 1 da pagare entro mercoledì 16 dicembre 2026
	// La rata 1 della TARI 2026 è di **150,00 €**. Riguarda l’immobile in via Roma 1.
	//
	// **Cosa devi fare:** paga entro **mercoledì 16 dicembre 2026**. Paga da questo messaggio, oppure con il numero di avviso 3020 3200 2700 0002 51 in banca, alle poste, in tabaccheria o online.
	//
	// Se hai già pagato, non devi fare altro. Per informazioni: Ufficio tributi, tel. 0123 456789, lunedì-venerdì 9-13.
	// TARI 2026: instalment 1 due by Wednesday 16 December 2026
	// Instalment 1 of your 2026 TARI waste tax is **€150.00**. It is for the property at via Roma 1.
	//
	// **What to do:** pay by **Wednesday 16 December 2026**. Pay from this message, or use notice number 3020 3200 2700 0002 51 at a bank, post office or tobacconist, or online.
	//
	// If you have already paid, you do not need to do anything else. For information: Ufficio tributi, tel. 0123 456789, lunedì-venerdì 9-13.
	// tari-rata@1
}

// Some of what there is.
func ExampleServices() {
	for _, s := range catalogue.Services() {
		if s.Area == catalogue.Culture {
			fmt.Println(s.Texts[0].Subject)
			for _, m := range s.Messages {
				fmt.Printf("- %s, %s\n", m.Ref(), m.Kind)
			}
		}
	}
	// Output:
	// Biblioteche e prestiti
	// - biblioteche-chiusura@1, notice
	// - biblioteche-in-scadenza@1, deadline
	// - biblioteche-prenotazione@1, deadline
	// - biblioteche-scaduto@1, deadline
	// Eventi, corsi e attività culturali
	// - eventi-annullato@1, notice
	// - eventi-iscrizione@1, notice
	// - eventi-quota@1, payment
}
