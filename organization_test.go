package appio_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

func TestOrganization(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	signed := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

	_, err := w.Organization(ctx, comune)
	require.ErrorIs(t, err, appio.ErrNotFound)

	require.NoError(t, w.PutOrganization(ctx, appio.Organization{Code: comune, Name: "Comune di Milano", SignedAt: signed}))
	got, err := w.Organization(ctx, comune)
	require.NoError(t, err)
	require.Equal(t, "Comune di Milano", got.Name)
	require.Equal(t, signed, got.SignedAt)
	require.WithinDuration(t, w.now(), got.UpdatedAt, time.Minute)

	requireField(t, w.PutOrganization(ctx, appio.Organization{Code: "1", Name: "Comune"}), "Code", "")
	requireField(t, w.PutOrganization(ctx, appio.Organization{Code: comune}), "Name", "")
	requireField(t, w.PutOrganization(ctx, appio.Organization{Code: comune, Name: strings.Repeat("a", 201)}), "Name", "aaa")

	w.put()
	w.enrol(giuseppe, appio.Auto)
	w.send(w.Sender(mensa), messageTo(giuseppe))
	w.flush()
	require.Equal(t, "Comune di Milano", w.email.deliveries()[0].OrganizationName)
	require.Equal(t, "Mensa scolastica", w.email.deliveries()[0].ServiceName)
}
