package appio

import "slices"

var topics = []string{
	"Altro", "Ambiente e animali", "Attività produttive e commercio", "Benessere sociale", "Casa e utenze", "Cultura, tempo libero e sport",
	"Educazione e formazione", "Giustizia e legge", "Lavori edilizi, catasto e urbanistica", "Mobilità e trasporti",
	"Redditi, patrimoni e fisco", "Servizi anagrafici e civici", "Servizi elettorali", "Sicurezza e Protezione Civile",
	"Suolo, spazi e beni pubblici", "Viaggi e turismo", "Vita lavorativa", "Salute",
}

// Topics are the names that IO groups services by, each at the number that it has there, from 0.
func Topics() []string { return slices.Clone(topics) }
