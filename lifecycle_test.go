package appio

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Every stage with every change: where it leads, or "-".
func TestStages(t *testing.T) {
	t.Parallel()
	changes := []ServiceChange{
		ServiceEdited, ServiceSubmitted, ServiceRecalled, ServiceApproved, ServiceRejected, ServiceDeleted, ServicePublished, ServiceUnpublished, ServiceHandedOver}
	for stage, want := range map[Stage][9]Stage{
		absent:    {Editing, "-", "-", "-", "-", "-", "-", "-", "-"},
		Editing:   {Editing, Submitted, "-", "-", "-", Deleted, "-", "-", Editing},
		Submitted: {"-", "-", Editing, Approved, Refused, "-", "-", "-", "-"},
		Approved:  {Editing, "-", "-", "-", "-", Deleted, "-", "-", "-"},
		Refused:   {Editing, "-", "-", "-", "-", Deleted, "-", "-", Editing},
		Deleted:   {"-", "-", "-", "-", "-", "-", "-", "-", "-"},
	} {
		for i, c := range changes {
			got, err := stage.after(c)
			if want[i] == "-" {
				require.ErrorIs(t, err, ErrConflict, "%s %s", stage, c)
				continue
			}
			require.NoError(t, err, "%s %s", stage, c)
			require.Equal(t, want[i], got, "%s %s", stage, c)
		}
	}
	require.Len(t, stages, 6)
}

func TestPublications(t *testing.T) {
	t.Parallel()
	changes := []ServiceChange{
		ServiceApproved, ServicePublished, ServiceUnpublished, ServiceDeleted, ServiceEdited, ServiceSubmitted, ServiceRecalled, ServiceRejected, ServiceHandedOver}
	for p, want := range map[Publication][9]Publication{
		Unreleased:  {Released, "-", "-", Unpublished, "-", "-", "-", "-", Unreleased},
		Released:    {Released, Published, Unpublished, Unpublished, "-", "-", "-", "-", "-"},
		Published:   {Published, Published, Unpublished, Unpublished, "-", "-", "-", "-", "-"},
		Unpublished: {Unpublished, Published, Unpublished, Unpublished, "-", "-", "-", "-", "-"},
	} {
		for i, c := range changes {
			got, err := p.after(c)
			if want[i] == "-" {
				require.ErrorIs(t, err, ErrConflict, "%s %s", p, c)
				continue
			}
			require.NoError(t, err, "%s %s", p, c)
			require.Equal(t, want[i], got, "%s %s", p, c)
		}
		released := p != Unreleased
		require.Equal(t, p, publicationOf(p.state(), released), "it follows from the state")
	}
	require.Len(t, publications, 4)
	for state, want := range map[ServiceState][2]Publication{
		Trial: {Unreleased, Released}, Live: {Published, Published}, Stopped: {Unpublished, Unpublished}} {
		require.Equal(t, want, [2]Publication{publicationOf(state, false), publicationOf(state, true)})
		require.Equal(t, state, want[0].state())
		require.Equal(t, state, want[1].state())
	}
}
