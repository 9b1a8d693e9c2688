package appio_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

// Each call by a key needs its scope; who has the service in-process needs none.
func TestScopes(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	w.enrol(giuseppe, appio.Auto)
	w.put()
	key, err := w.NewKey(ctx, mensa, appio.Primary)
	require.NoError(t, err)
	sent := w.send(w.Sender(mensa), messageTo(giuseppe))
	atHome, err := w.Authority(comune).PutRemoteConfiguration(ctx, remoteConfiguration())
	require.NoError(t, err)
	all := []appio.Scope{appio.WriteMessages, appio.ReadMessages, appio.ReadProfiles, appio.ReadFeed, appio.WriteRemote, appio.ReadAdvanced}
	for _, without := range append([]appio.Scope{""}, all...) {
		var with []appio.Scope
		for _, c := range all {
			if c != without && without != "" { // "": none is said, so all are
				with = append(with, c)
			}
		}
		w.put(func(s *appio.Service) { s.Scopes = with })
		byKey, err := w.SenderByKey(ctx, key, netip.Addr{})
		require.NoError(t, err)
		for _, s := range []*appio.Sender{byKey, w.Sender(mensa)} {
			may := func(c appio.Scope, err error) {
				t.Helper()
				if s == byKey && c == without {
					require.ErrorIs(t, err, appio.ErrForbidden, "%s without %s", c, without)
				} else {
					require.NoError(t, err, "%s without %s", c, without)
				}
			}
			for _, c := range all {
				may(c, s.Allowed(ctx, c))
			}
			_, err := s.Send(ctx, messageTo(giuseppe))
			may(appio.WriteMessages, err)
			if without != appio.WriteMessages {
				_, err = s.Send(ctx, messageTo(giuseppe, func(m *appio.Message) {
					m.Remote = &appio.RemoteContent{ID: "1", Configuration: atHome.ID, Text: true}
				}))
				may(appio.WriteRemote, err)
			}
			_, err = s.CanContact(ctx, giuseppe)
			may(appio.ReadProfiles, err)
			_, err = s.Recipient(ctx, giuseppe)
			may(appio.ReadProfiles, err)
			st, err := s.Status(ctx, giuseppe, sent)
			may(appio.ReadMessages, err)
			if err == nil {
				require.Equal(t, s == byKey && without == appio.ReadAdvanced, st.Read == nil, without)
			}
		}
	}
	s, err := w.Service(ctx, mensa)
	require.NoError(t, err)
	s.Scopes = []appio.Scope{"ApiEverything"}
	requireField(t, w.PutService(ctx, s), "Scopes[0]", "")

	w.put(func(s *appio.Service) { s.Scopes = all[:2] })
	d, err := w.Authority(comune).PutDraft(ctx, prepared(func(s *appio.Service) { s.Scopes = all }))
	require.NoError(t, err)
	require.Equal(t, all[:2], d.Scopes, "an authority does not give itself any")
	d, err = w.Authority(comune).PutDraft(ctx, prepared(func(s *appio.Service) { s.ID, s.Scopes = "nuovo", all[:1] }))
	require.NoError(t, err)
	require.Empty(t, d.Scopes)
}

func TestTopics(t *testing.T) {
	t.Parallel()
	topics := appio.Topics()
	require.Len(t, topics, 18)
	require.Equal(t, []string{"Altro", "Benessere sociale", "Salute"}, []string{topics[0], topics[3], topics[17]})
	topics[0] = ""
	require.Equal(t, "Altro", appio.Topics()[0], "a copy")
}
