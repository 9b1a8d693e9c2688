package pagopa_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/pagopa"
)

func TestFault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		category string
		status   int
		details  string
	}{
		{"PAYMENT_UNKNOWN", 404, "PAA_PAGAMENTO_SCONOSCIUTO"},
		{"PAYMENT_DATA_ERROR", 404, "PPT_SINTASSI_EXTRAXSD PPT_SINTASSI_XSD PPT_DOMINIO_SCONOSCIUTO PPT_STAZIONE_INT_PA_SCONOSCIUTA"},
		{"PAYMENT_ONGOING", 409, "PPT_PAGAMENTO_IN_CORSO PAA_PAGAMENTO_IN_CORSO"},
		{"PAYMENT_EXPIRED", 409, "PAA_PAGAMENTO_SCADUTO"},
		{"PAYMENT_CANCELED", 409, "PAA_PAGAMENTO_ANNULLATO"},
		{"PAYMENT_DUPLICATED", 409, "PAA_PAGAMENTO_DUPLICATO PPT_PAGAMENTO_DUPLICATO"},
		{"PAYMENT_UNAVAILABLE", 502, "PPT_PSP_SCONOSCIUTO PPT_PSP_DISABILITATO PPT_INTERMEDIARIO_PSP_SCONOSCIUTO PPT_INTERMEDIARIO_PSP_DISABILITATO " +
			"PPT_CANALE_SCONOSCIUTO PPT_CANALE_DISABILITATO PPT_AUTENTICAZIONE PPT_AUTORIZZAZIONE PPT_DOMINIO_DISABILITATO PPT_INTERMEDIARIO_PA_DISABILITATO " +
			"PPT_STAZIONE_INT_PA_DISABILITATA PPT_CODIFICA_PSP_SCONOSCIUTA PPT_SEMANTICA PPT_SYSTEM_ERROR PAA_SEMANTICA"},
		{"DOMAIN_UNKNOWN", 503, "PPT_STAZIONE_INT_PA_IRRAGGIUNGIBILE PPT_STAZIONE_INT_PA_TIMEOUT PPT_STAZIONE_INT_PA_ERRORE_RESPONSE PPT_IBAN_NON_CENSITO " +
			"PAA_SINTASSI_EXTRAXSD PAA_SINTASSI_XSD PAA_ID_DOMINIO_ERRATO PAA_ID_INTERMEDIARIO_ERRATO PAA_STAZIONE_INT_ERRATA " +
			"PAA_ATTIVA_RPT_IMPORTO_NON_VALIDO PPT_ERRORE_EMESSO_DA_PAA PAA_SYSTEM_ERROR"},
	} {
		for detail := range strings.FieldsSeq(c.details) {
			f := pagopa.NewFault(detail)
			require.Equal(t, &pagopa.Fault{Category: c.category, Detail: detail}, f)
			require.True(t, f.Valid(), detail)
			require.Equal(t, c.status, f.Status(), detail)
			require.Equal(t, c.category == "PAYMENT_DUPLICATED", f.Paid(), detail)
			require.EqualError(t, f, "pagopa: "+c.category+" ("+detail+")")
		}
	}
	for _, detail := range []string{"", "PPT_RPT_DUPLICATA", "paa_pagamento_duplicato", "PAA_PAGAMENTO_DUPLICATO ", "GENERIC_ERROR", "RSSMRA85M10H501S"} {
		f := pagopa.NewFault(detail)
		require.Equal(t, &pagopa.Fault{Category: pagopa.GenericError, Detail: detail}, f)
		require.True(t, f.Valid())
		require.Equal(t, 502, f.Status())
		require.False(t, f.Paid())
		require.EqualError(t, f, "pagopa: GENERIC_ERROR", "a text from outside is not printed")
	}

	strange := &pagopa.Fault{Category: "RSSMRA85M10H501S"}
	require.EqualError(t, strange, "pagopa: another category of fault")
	require.False(t, strange.Valid())
	require.Equal(t, 502, strange.Status())
	require.False(t, strange.Paid())

	var f *pagopa.Fault
	require.True(t, errors.As(fmt.Errorf("verify: %w", pagopa.NewFault("PPT_PAGAMENTO_DUPLICATO")), &f))
	require.True(t, f.Paid())
}

func FuzzNewFault(f *testing.F) {
	for _, s := range []string{"", "PAA_PAGAMENTO_DUPLICATO", "PPT_SEMANTICA", "PAYMENT_DUPLICATED", "%s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, detail string) {
		fault := pagopa.NewFault(detail)
		if fault.Detail != detail {
			t.Fatalf("%q is kept as %q", detail, fault.Detail)
		}
		if known := fault.Category != pagopa.GenericError; known != strings.HasSuffix(fault.Error(), "("+detail+")") {
			t.Fatalf("%q is %q", detail, fault)
		}
		if s := fault.Status(); s != 404 && s != 409 && s != 502 && s != 503 {
			t.Fatalf("%q has the status %d", detail, s)
		}
	})
}
