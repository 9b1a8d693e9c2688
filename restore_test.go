package appio_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/channel/channeltest"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
	"github.com/appio-go/appio/store/memstore"
)

// peopled gives an engine one service, and citizens whom it reaches by e-mail.
func peopled(t testing.TB, e *appio.Engine, people ...fiscalcode.Person) *appio.Sender {
	t.Helper()
	ctx := context.Background()
	require.NoError(t, e.PutService(ctx, appio.Service{ID: "tari", Name: "Tari", Organization: "01199250158", State: appio.Live}))
	for _, p := range people {
		c := e.Citizen(appio.Identity{Code: p, Level: appio.L2})
		require.NoError(t, c.SetMode(ctx, appio.Auto))
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Channels = appio.On(appio.Email); return nil }))
	}
	return e.Sender("tari")
}

// copyKeys gives a restored file the keys of the one that its backup was made of.
func copyKeys(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from + ".key")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to+".key", b, 0o600))
}

func parkedOf(t testing.TB, e *appio.Engine) (all []appio.ParkedDelivery) {
	t.Helper()
	for p, err := range e.Parked().All(t.Context()) {
		require.NoError(t, err)
		all = append(all, p)
	}
	return all
}

// A host that keeps the tokens which were redeemed since a backup redeems them again in the restored store.
func TestAWithdrawalIsMadeAgainAfterARestore(t *testing.T) {
	t.Parallel()
	ctx, path, restored := t.Context(), filepath.Join(t.TempDir(), "io.db"), filepath.Join(t.TempDir(), "io.db")
	out := &channeltest.Recorder{}
	options := &appio.Options{Channels: []appio.Route{{Name: appio.Email, Channel: out, ByCode: true}}}
	e, err := appio.Open(path, options)
	require.NoError(t, err)
	tari := peopled(t, e, appiotest.Mario)
	var backup bytes.Buffer
	require.NoError(t, e.Backup(ctx, &backup))
	_, err = tari.Send(ctx, appiotest.Message(appiotest.Mario))
	require.NoError(t, err)
	_, err = e.Flush(ctx)
	require.NoError(t, err)
	token := out.Deliveries()[0].Withdraw
	require.NoError(t, e.Withdraw(ctx, token))
	require.NoError(t, e.Close())

	require.NoError(t, appio.Restore(ctx, &backup, restored))
	copyKeys(t, path, restored)
	e, err = appio.Open(restored, options)
	require.NoError(t, err)
	defer e.Close()
	mario := e.Citizen(appio.Identity{Code: appiotest.Mario})
	is, err := mario.Preference(ctx, "tari")
	require.NoError(t, err)
	require.Equal(t, appio.Full, is.Channels[appio.Email], "the backup does not know")
	require.NoError(t, e.Withdraw(ctx, token))
	is, err = mario.Preference(ctx, "tari")
	require.NoError(t, err)
	require.Equal(t, appio.None, is.Channels[appio.Email])
}

func TestRestore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const anna, bruno = fiscalcode.Person("NNANNA80A41H501A"), fiscalcode.Person("BRNBRN75B15F205B")

	// A message is being delivered when the backup is made, and another waits; both go out after it.
	path := filepath.Join(t.TempDir(), "io.db")
	var mu sync.Mutex
	sent := map[appio.DeliveryID]int{}
	deliver := func(_ context.Context, d appio.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		sent[d.ID]++
		return nil
	}
	begun, goOn := make(chan struct{}), make(chan struct{})
	slow := sync.OnceFunc(func() { close(begun); <-goOn })
	routes := func(f func(context.Context, appio.Delivery) error) []appio.Route {
		return []appio.Route{{Name: appio.Email, Channel: appio.ChannelFunc(f), ByCode: true, Workers: 1}}
	}
	e, err := appio.Open(path, &appio.Options{Channels: routes(func(ctx context.Context, d appio.Delivery) error {
		slow()
		return deliver(ctx, d)
	})})
	require.NoError(t, err)
	s := peopled(t, e, anna, bruno)
	running, stop := context.WithCancel(ctx)
	ran := make(chan error)
	go func() { ran <- e.Run(running) }()
	var ids []appio.MessageID
	send := func(to fiscalcode.Person) {
		t.Helper()
		r, err := s.Send(ctx, appiotest.Message(to))
		require.NoError(t, err)
		ids = append(ids, r.ID)
	}
	send(anna)
	<-begun
	send(bruno) // the only worker is busy
	var backup bytes.Buffer
	require.NoError(t, e.Backup(ctx, &backup))
	close(goOn)
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(sent) == 2 }, 10*time.Second, time.Millisecond)
	stop()
	require.NoError(t, <-ran)
	require.NoError(t, e.Close())

	restored := filepath.Join(t.TempDir(), "io.db")
	require.NoError(t, appio.Restore(ctx, bytes.NewReader(backup.Bytes()), restored))
	copyKeys(t, path, restored)
	instance := func() (string, bool) {
		s, err := boltstore.Open(restored, &boltstore.Options{ReadOnly: true})
		require.NoError(t, err)
		defer s.Close()
		in, err := appio.Inspect(ctx, s, appio.FileKeys(restored+".key"), func(f appio.Finding) { t.Error(f) })
		require.NoError(t, err)
		return in.Instance, in.Restored
	}
	before, mark := instance()
	require.True(t, mark)

	t.Run("who only looks at it leaves the mark", func(t *testing.T) {
		r, err := boltstore.Open(restored, &boltstore.Options{ReadOnly: true})
		require.NoError(t, err)
		defer r.Close()
		e, err := appio.New(r, &appio.Options{Keys: appio.FileKeys(restored + ".key"), Channels: routes(deliver)})
		require.NoError(t, err)
		defer e.Close()
		_, err = e.Explain(ctx, anna, ids[0])
		require.NoError(t, err)
	})

	e, err = appio.Open(restored, &appio.Options{Channels: routes(deliver)})
	require.NoError(t, err)
	n, err := e.Flush(ctx)
	require.NoError(t, err)
	require.Zero(t, n, "what may have gone out does not go out again")
	parked := parkedOf(t, e)
	require.Len(t, parked, 2)
	for _, p := range parked {
		require.True(t, strings.HasPrefix(p.Cause, "outcome unknown"), p.Cause)
		require.Contains(t, ids, p.Message)
	}
	d, err := e.Explain(ctx, anna, ids[0])
	require.NoError(t, err)
	require.Equal(t, appio.OutcomeParked, d.Outcomes[0].Result)
	s = e.Sender("tari")
	send(anna) // what comes after the restore is delivered as ever
	n, err = e.Flush(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, e.Replay(ctx, parked[0].ID)) // the operator found out that this one did not arrive
	n, err = e.Flush(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, 2, sent[parked[0].ID])
	require.Equal(t, 1, sent[parked[1].ID])
	require.NoError(t, e.Close())

	after, mark := instance()
	require.False(t, mark)
	require.NotEqual(t, before, after, "a restored store is another instance")
	e, err = appio.Open(restored, &appio.Options{Channels: routes(deliver)})
	require.NoError(t, err)
	require.Len(t, parkedOf(t, e), 1, "it is parked once")
	require.NoError(t, e.Close())

	t.Run("a file that is there is left alone, and a damaged backup is refused", func(t *testing.T) {
		was, err := os.ReadFile(restored)
		require.NoError(t, err)
		require.ErrorIs(t, appio.Restore(ctx, bytes.NewReader(backup.Bytes()), restored), fs.ErrExist)
		is, err := os.ReadFile(restored)
		require.NoError(t, err)
		require.Equal(t, was, is)
		dir := t.TempDir()
		for _, n := range []int{0, 10, backup.Len() / 2} {
			require.ErrorIs(t, appio.Restore(ctx, bytes.NewReader(backup.Bytes()[:n]), filepath.Join(dir, "io.db")), store.ErrCorrupt)
		}
		damaged := bytes.Clone(backup.Bytes())
		head := []byte("\x01\x01\x00\x00\x00\x01") // of a sealed record; some are no longer in use
		for at := bytes.Index(damaged, head); at >= 0; at = bytes.Index(damaged, head) {
			damaged[at] ^= 0x80
		}
		require.ErrorIs(t, appio.Restore(ctx, bytes.NewReader(damaged), filepath.Join(dir, "io.db")), store.ErrCorrupt)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		require.ErrorIs(t, appio.Restore(gone, bytes.NewReader(backup.Bytes()), filepath.Join(dir, "io.db")), context.Canceled)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

// What was parked stays parked, and what was not yet is, when the first opening of a restored store is interrupted anywhere.
func TestRestoreIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, keys := t.Context(), appio.RandomKeys()
	people := []fiscalcode.Person{"NNANNA80A41H501A", "BRNBRN75B15F205B", "CRLCRL90C50L219C", "DRADRA60D20H501D"}
	for n := 0; ; n++ {
		mem := memstore.New()
		channel := &channeltest.Recorder{}
		opts := &appio.Options{Keys: keys, Channels: []appio.Route{{Name: appio.Email, Channel: channel, ByCode: true}}}
		e, err := appio.New(mem, opts)
		require.NoError(t, err)
		s := peopled(t, e, people...)
		for _, p := range people {
			_, err := s.Send(ctx, appiotest.Message(p))
			require.NoError(t, err)
		}
		require.NoError(t, e.Close())
		require.NoError(t, appio.MarkRestored(ctx, mem))
		require.NoError(t, appio.MarkRestored(ctx, mem), "twice is once")

		broken := &failAfter{Store: mem}
		broken.left.Store(int64(n))
		if e, err = appio.New(broken, opts); err == nil {
			_, err = e.Flush(ctx)
			require.NoError(t, e.Close())
		}
		require.Empty(t, channel.Deliveries())
		e, err2 := appio.New(mem, opts)
		require.NoError(t, err2)
		_, err2 = e.Flush(ctx)
		require.NoError(t, err2)
		require.Empty(t, channel.Deliveries())
		parked := parkedOf(t, e)
		require.Len(t, parked, len(people))
		require.Len(t, slices.CompactFunc(parked, func(a, b appio.ParkedDelivery) bool { return a.ID == b.ID }), len(people))
		require.NoError(t, e.Close())
		if err == nil {
			require.Greater(t, n, 3)
			return
		}
	}
}

// failAfter answers that many calls, and no more.
type failAfter struct {
	store.Store
	left atomic.Int64
}

func (f *failAfter) fails() bool { return f.left.Add(-1) < 0 }

func (f *failAfter) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if f.fails() {
		return nil, store.ErrClosed
	}
	return f.Store.View(ctx, reads)
}

func (f *failAfter) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	if f.fails() {
		return nil, store.ErrClosed
	}
	return f.Store.Commit(ctx, changes)
}

func (f *failAfter) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	if f.fails() {
		return nil, store.ErrClosed
	}
	return f.Store.Due(ctx, q)
}

func TestMarkRestoredOfNothing(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, appio.MarkRestored(t.Context(), memstore.New()), appio.ErrNotFound)
}
