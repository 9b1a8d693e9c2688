package email

import (
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/rome"
	"github.com/appio-go/appio/internal/text"
)

// words are a language's. Those with a capital are the templates'.
type words struct {
	Lang, NoReply, Leave string

	generic, genericFrom, enter, waiting, reminder, read, because, linkRemoved string
	payment, deadline, amount, notice, payee, due, invalidAfter                string
	validation, asked, validUntil, notAsked, confirm                           string
	reminders                                                                  map[appio.ReminderKind]string

	withdrawTitle, withdrawAsk, withdrawButton, withdrawn, withdrawnLate         string
	confirmTitle, confirmAsk, confirmed, badLink, oldLink, taken, later, tooLong string
}

// wordsOf is English for "en" and its variants (BCP 47), Italian for every other language.
func wordsOf(lang string) *words {
	if text.Primary(strings.ToLower(lang)) == "en" {
		return &english
	}
	return &italian
}

var italian = words{
	Lang: "it", NoReply: "Questa e-mail è inviata automaticamente: non rispondere.", Leave: "Non voglio più e-mail da questo servizio",
	generic: "Hai un nuovo messaggio", genericFrom: "Hai un nuovo messaggio da %s", enter: "Per leggerlo, entra in %s.",
	waiting: "Ti ricordiamo che c’è un messaggio per te.", reminder: "Promemoria: ", read: "Leggi il messaggio",
	because:     "Ricevi questa e-mail perché nelle preferenze di %s hai scelto di ricevere i messaggi di questo servizio anche per e-mail.",
	linkRemoved: "[link rimosso]",
	payment:     "Avviso di pagamento", deadline: "Scadenza", amount: "Importo", notice: "Codice avviso", payee: "Codice fiscale dell’ente",
	due: "Entro il", invalidAfter: "Dopo la scadenza l’avviso non si può più pagare.",
	validation: "Conferma il tuo indirizzo e-mail",
	asked:      "Qualcuno, forse tu, ha chiesto di ricevere i messaggi di %s a questo indirizzo. Se sei tu, confermalo.",
	validUntil: "Puoi confermare fino al %s.",
	notAsked:   "Se non l’hai chiesto tu, non fare nulla: senza conferma a questo indirizzo non arriveranno messaggi.",
	confirm:    "Conferma l’indirizzo",
	reminders: map[appio.ReminderKind]string{
		appio.RemindUnread:   "Ti ricordiamo questo messaggio, che non hai ancora letto.",
		appio.RemindDeadline: "Ti ricordiamo che si avvicina la scadenza di questo messaggio.",
		appio.RemindUnpaid:   "Ti ricordiamo questo avviso, che non risulta ancora pagato.",
	},
	withdrawTitle: "E-mail da questo servizio", withdrawAsk: "Non vuoi più ricevere e-mail da questo servizio? I messaggi restano nella tua casella.",
	withdrawButton: "Non inviare più e-mail", withdrawn: "Fatto: da questo servizio non partiranno più e-mail per te.",
	withdrawnLate: "Fatto: da questo servizio non partiranno più e-mail per te. Una che era già in viaggio potrebbe ancora arrivare.",
	confirmTitle:  "Conferma del tuo indirizzo e-mail", confirmAsk: "Premi il pulsante per confermare che l’indirizzo è tuo.",
	confirmed: "Fatto: il tuo indirizzo è confermato.",
	badLink:   "Questo collegamento non è valido. Forse l’indirizzo è cambiato, o hai ricevuto un collegamento più recente.",
	oldLink:   "Questo collegamento è scaduto. Chiedine un altro dalle tue preferenze.",
	taken:     "Questo indirizzo è già di un’altra persona. Indicane un altro nelle tue preferenze.",
	later:     "Non è stato possibile. Riprova tra qualche minuto.", tooLong: "La richiesta non è valida.",
}

var english = words{
	Lang: "en", NoReply: "This e-mail was sent automatically: please do not reply.", Leave: "I no longer want e-mail from this service",
	generic: "You have a new message", genericFrom: "You have a new message from %s", enter: "To read it, log in to %s.",
	waiting: "This is a reminder that there is a message for you.", reminder: "Reminder: ", read: "Read the message",
	because:     "You receive this e-mail because in your preferences on %s you chose to get this service’s messages by e-mail too.",
	linkRemoved: "[link removed]",
	payment:     "Payment notice", deadline: "Deadline", amount: "Amount", notice: "Notice number", payee: "Creditor’s tax code",
	due: "By", invalidAfter: "The notice cannot be paid after the deadline.",
	validation: "Confirm your e-mail address",
	asked:      "Somebody, perhaps you, asked to receive the messages of %s at this address. If it was you, please confirm it.",
	validUntil: "You can confirm until %s.",
	notAsked:   "If it was not you, do nothing: without a confirmation no messages will come to this address.",
	confirm:    "Confirm the address",
	reminders: map[appio.ReminderKind]string{
		appio.RemindUnread:   "This is a reminder of a message that you have not read yet.",
		appio.RemindDeadline: "This is a reminder that the deadline of this message is near.",
		appio.RemindUnpaid:   "This is a reminder of a notice that is not known to be paid yet.",
	},
	withdrawTitle: "E-mail from this service", withdrawAsk: "Do you no longer want e-mail from this service? Its messages stay in your inbox.",
	withdrawButton: "Send no more e-mail", withdrawn: "Done: no more e-mail will be sent to you by this service.",
	withdrawnLate: "Done: no more e-mail will be sent to you by this service. One that was already under way may still arrive.",
	confirmTitle:  "Confirmation of your e-mail address", confirmAsk: "Press the button to confirm that the address is yours.",
	confirmed: "Done: your address is confirmed.",
	badLink:   "This link is not valid. Perhaps the address has changed, or you were sent a newer link.",
	oldLink:   "This link has expired. Please ask for another one in your preferences.",
	taken:     "This address is somebody else's already. Please enter another one in your preferences.",
	later:     "This did not work. Please try again in a few minutes.", tooLong: "The request is not valid.",
}

// moment is "30 novembre 2026", or "30 novembre 2026, ore 13:05 (ora italiana)" where it is not the end of the day.
func (w *words) moment(t time.Time) string {
	if in := t.In(rome.Location()); in.Hour() == 23 && in.Minute() == 59 {
		return w.form().Day(t)
	}
	return w.form().MomentInZone(t)
}

// form is how the language writes days and amounts.
func (w *words) form() *text.Form { return text.FormOf(w.Lang) }
