package appio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

const day = 24 * time.Hour

func (w *town) status(c *appio.Citizen, choice appio.DataChoice) appio.RequestStatus {
	w.t.Helper()
	r, err := c.DataRequest(w.t.Context(), choice)
	require.NoError(w.t, err)
	return r.Status
}

func (w *town) isSound() {
	w.t.Helper()
	_, err := w.Check(w.t.Context(), func(f appio.Finding) { w.t.Errorf("%s", f) })
	require.NoError(w.t, err)
	_, err = appio.Inspect(w.t.Context(), w.store, townKeys, func(f appio.Finding) { w.t.Errorf("%s", f) })
	require.NoError(w.t, err)
}

// spoil changes a byte of a citizen's record, by its key.
func (w *town) spoil(key store.Key) {
	w.t.Helper()
	spoilt := 0
	owners, err := w.store.Owners(w.t.Context(), "", store.MaxRange)
	require.NoError(w.t, err)
	for _, o := range owners {
		snaps, err := w.store.View(w.t.Context(), []store.Read{{Owner: o, Keys: []store.Key{key}}})
		require.NoError(w.t, err)
		if len(snaps[0].Records) == 0 || !strings.HasPrefix(string(o), "c/") {
			continue
		}
		r := snaps[0].Records[0]
		r.Value = slices.Clone(r.Value)
		r.Value[len(r.Value)-1] ^= 1
		_, err = w.store.Commit(w.t.Context(), []store.Change{{Owner: o, Rev: snaps[0].Rev, Put: []store.Record{r}}})
		require.NoError(w.t, err)
		spoilt++
	}
	require.Equal(w.t, 1, spoilt)
}

func TestDeletionRequest(t *testing.T) {
	t.Parallel()
	asked := func(t *testing.T, changes ...func(*appio.Options)) (*town, *appio.Sender, *appio.Citizen) {
		w := newTown(t, changes...)
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		w.flush()
		r, err := c.RequestData(t.Context(), appio.DeleteData)
		require.NoError(t, err)
		require.Equal(t, appio.RequestPending, r.Status)
		return w, s, c
	}

	t.Run("can be made though an earlier one is damaged", func(t *testing.T) {
		t.Parallel()
		w, _, c := asked(t)
		ctx := t.Context()
		_, err := c.AbortDeletion(ctx)
		require.NoError(t, err)
		w.spoil("u/delete")
		_, err = c.DataRequest(ctx, appio.DeleteData)
		require.ErrorIs(t, err, store.ErrCorrupt, "it is not served")
		_, err = c.AbortDeletion(ctx)
		require.ErrorIs(t, err, store.ErrCorrupt)
		_, err = c.RequestData(ctx, appio.DeleteData)
		require.NoError(t, err)
		w.advance(7 * day)
		w.flush()
		require.Equal(t, appio.RequestClosed, w.status(c, appio.DeleteData))
		w.isSound()
	})

	t.Run("begins by itself after the grace, and leaves the proof and the request", func(t *testing.T) {
		t.Parallel()
		w, s, c := asked(t)
		ctx := t.Context()
		r, err := c.DataRequest(ctx, appio.DeleteData)
		require.NoError(t, err)
		require.Equal(t, 6*day, r.Due.Sub(r.AskedAt))
		require.Equal(t, r.AskedAt, r.ChangedAt)
		require.Equal(t, 1, r.Version)
		w.isSound()

		// Until then all is as ever.
		w.advance(6*day - time.Minute)
		w.send(s, messageTo(giuseppe))
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true}))
		w.flush()
		require.Len(t, collect(t, c.Inbox(nil)), 2)
		require.Equal(t, appio.RequestPending, w.status(c, appio.DeleteData))
		require.Equal(t, "PENDING", takeOut(t, c).of("request")[0]["status"])

		w.advance(2 * time.Minute)
		w.flush()
		r, err = c.DataRequest(ctx, appio.DeleteData)
		require.NoError(t, err)
		require.Equal(t, appio.RequestClosed, r.Status)
		require.Equal(t, 3, r.Version)
		require.Zero(t, r.Due)
		require.Empty(t, collect(t, c.Inbox(nil)))
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Zero(t, p)
		last := collect(t, c.Consents())[0]
		require.Equal(t, appio.Erased, last.What)
		require.Equal(t, appio.ByCitizen, last.By)
		require.Equal(t, appio.L2, last.Level)
		require.Equal(t, "cie", last.Provider)
		require.Len(t, takeOut(t, c).of("decision"), 2)
		res, err := s.Send(ctx, messageTo(giuseppe))
		require.NoError(t, err)
		require.Equal(t, appio.Rejected, res.Status)
		w.isSound()

		// Another life, with another request.
		w.enrol(giuseppe, appio.Auto)
		w.advance(30 * day)
		w.flush()
		w.send(s, messageTo(giuseppe))
		r, err = c.RequestData(ctx, appio.DeleteData)
		require.NoError(t, err)
		require.Equal(t, 4, r.Version)
	})

	t.Run("taken back leaves all as it was", func(t *testing.T) {
		t.Parallel()
		w, s, c := asked(t)
		ctx := t.Context()
		others := func() []store.Record {
			return slices.DeleteFunc(recordsOf(t, w.store, citizens), func(r store.Record) bool { return r.Key == "u/delete" })
		}
		before := others()
		_, err := c.RequestData(ctx, appio.DeleteData)
		require.ErrorIs(t, err, appio.ErrConflict)
		w.advance(5 * day)
		r, err := w.Citizen(appio.Identity{Code: giuseppe, Level: appio.L1}).AbortDeletion(ctx)
		require.NoError(t, err)
		require.Equal(t, appio.RequestAborted, r.Status)
		require.Zero(t, r.Due)
		w.advance(20 * day)
		w.flush()
		require.Equal(t, before, others())
		require.Equal(t, appio.RequestAborted, w.status(c, appio.DeleteData))
		w.send(s, messageTo(giuseppe))
		_, err = c.AbortDeletion(ctx)
		require.ErrorIs(t, err, appio.ErrConflict)
		w.isSound()
		r, err = c.RequestData(ctx, appio.DeleteData)
		require.NoError(t, err)
		require.Equal(t, 3, r.Version)
	})

	t.Run("is refused where there is nothing, or too low a login", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.person(giuseppe)
		for _, choice := range []appio.DataChoice{appio.DeleteData, appio.DownloadData} {
			_, err := c.RequestData(ctx, choice)
			require.ErrorIs(t, err, appio.ErrNotFound)
			_, err = c.DataRequest(ctx, choice)
			require.ErrorIs(t, err, appio.ErrNotFound)
			_, err = w.Citizen(appio.Identity{Code: giuseppe, Level: appio.L1}).RequestData(ctx, choice)
			require.ErrorIs(t, err, appio.ErrForbidden)
		}
		_, err := c.AbortDeletion(ctx)
		require.ErrorIs(t, err, appio.ErrNotFound)
		_, err = c.RequestData(ctx, "RENAME")
		require.ErrorIs(t, err, appio.ErrInvalid)
		_, err = c.DataRequest(ctx, "")
		require.ErrorIs(t, err, appio.ErrInvalid)
		require.Empty(t, recordsOf(t, w.store, citizens), "nothing was kept of a person who never came")
	})

	t.Run("is done by an erasure without grace, too", func(t *testing.T) {
		t.Parallel()
		w, _, c := asked(t)
		ctx := t.Context()
		_, err := c.RequestData(ctx, appio.DownloadData)
		require.NoError(t, err)
		require.NoError(t, c.Erase(ctx))
		require.Equal(t, appio.RequestWIP, w.status(c, appio.DeleteData))
		_, err = c.AbortDeletion(ctx)
		require.ErrorIs(t, err, appio.ErrConflict)
		_, err = c.RequestData(ctx, appio.DeleteData)
		require.ErrorIs(t, err, appio.ErrErasing)
		_, err = c.DataRequest(ctx, appio.DownloadData)
		require.ErrorIs(t, err, appio.ErrErasing)
		found, err := w.ServeDownload(ctx, func(context.Context, *appio.Citizen) error { return errors.New("not to be called") })
		require.NoError(t, err)
		require.False(t, found)
		w.flush()
		require.Equal(t, appio.RequestClosed, w.status(c, appio.DeleteData))
		_, err = c.DataRequest(ctx, appio.DownloadData)
		require.ErrorIs(t, err, appio.ErrNotFound)
		w.isSound()
	})

	t.Run("waits for a download, and not for ever", func(t *testing.T) {
		t.Parallel()
		for _, served := range []bool{true, false} {
			w, _, c := asked(t)
			_, err := c.RequestData(t.Context(), appio.DownloadData)
			require.NoError(t, err)
			w.advance(6*day + time.Hour)
			w.flush()
			require.Equal(t, appio.RequestPending, w.status(c, appio.DeleteData))
			waited := time.Duration(0)
			if served {
				_, err = w.ServeDownload(t.Context(), func(ctx context.Context, c *appio.Citizen) error { return c.Export(ctx, io.Discard) })
				require.NoError(t, err)
			}
			for w.status(c, appio.DeleteData) == appio.RequestPending && waited < 30*day {
				w.advance(time.Hour)
				waited += time.Hour
				w.flush()
				w.isSound()
			}
			require.Equal(t, appio.RequestClosed, w.status(c, appio.DeleteData))
			if served {
				require.Equal(t, 12*time.Hour, waited)
			} else {
				require.InDelta(t, 7*day, waited, float64(12*time.Hour))
			}
		}
	})

	t.Run("comes when the clock says so, also one that was put back", func(t *testing.T) {
		t.Parallel()
		w, _, c := asked(t)
		w.advance(-30 * day)
		w.flush()
		require.Equal(t, appio.RequestPending, w.status(c, appio.DeleteData))
		w.advance(30*day + 6*day + time.Second)
		w.flush()
		require.Equal(t, appio.RequestClosed, w.status(c, appio.DeleteData))
		w.advance(-30 * day)
		w.flush()
		w.isSound()
		require.Equal(t, appio.RequestClosed, w.status(c, appio.DeleteData))
	})

	t.Run("begins in Run, at once without a grace", func(t *testing.T) {
		t.Parallel()
		w, _, c := asked(t, func(o *appio.Options) { o.DeletionGrace = -1 })
		end := w.run()
		defer end()
		require.Eventually(t, func() bool { return w.status(c, appio.DeleteData) == appio.RequestClosed }, 10*time.Second, time.Millisecond)
	})

	t.Run("of a restored backup waits for a day, in which what was taken back can be again", func(t *testing.T) {
		t.Parallel()
		for _, abort := range []bool{true, false} {
			w, _, _ := asked(t)
			ctx := t.Context()
			w.advance(10 * day)
			require.NoError(t, appio.MarkRestored(ctx, w.store))
			e, err := appio.New(w.store, &appio.Options{Keys: townKeys, Now: w.now})
			require.NoError(t, err)
			c := e.Citizen(appio.Identity{Code: giuseppe, Level: appio.L2})
			flush := func() {
				_, err := e.Flush(ctx)
				require.NoError(t, err)
			}
			flush()
			w.advance(23 * time.Hour)
			flush()
			require.Equal(t, appio.RequestPending, w.status(c, appio.DeleteData))
			want := appio.RequestClosed
			if abort {
				want = appio.RequestAborted
				_, err := c.AbortDeletion(ctx)
				require.NoError(t, err)
			}
			w.advance(2 * time.Hour)
			flush()
			require.Equal(t, want, w.status(c, appio.DeleteData))
			w.isSound()
			require.NoError(t, e.Close())
		}
	})
}

func TestServeDownload(t *testing.T) {
	t.Parallel()
	asked := func(t *testing.T) (*town, *appio.Citizen) {
		w := newTown(t)
		c := w.enrol(giuseppe, appio.Auto)
		r, err := c.RequestData(t.Context(), appio.DownloadData)
		require.NoError(t, err)
		require.Zero(t, r.Due)
		_, err = c.RequestData(t.Context(), appio.DownloadData)
		require.ErrorIs(t, err, appio.ErrConflict)
		return w, c
	}

	t.Run("serves the oldest first, until there is none", func(t *testing.T) {
		t.Parallel()
		w, c := asked(t)
		ctx := t.Context()
		w.advance(time.Minute)
		_, err := w.enrol(matteo, appio.Auto).RequestData(ctx, appio.DownloadData)
		require.NoError(t, err)
		w.isSound()
		var served []string
		for {
			found, err := w.ServeDownload(ctx, func(ctx context.Context, who *appio.Citizen) error {
				require.Equal(t, appio.RequestWIP, w.status(who, appio.DownloadData))
				_, err := who.RequestData(ctx, appio.DownloadData)
				require.ErrorIs(t, err, appio.ErrConflict)
				w.isSound()
				served = append(served, takeOut(t, who).Code)
				return nil
			})
			require.NoError(t, err)
			if !found {
				break
			}
		}
		require.Equal(t, []string{string(giuseppe), string(matteo)}, served)
		require.Equal(t, appio.RequestClosed, w.status(c, appio.DownloadData))
		w.isSound()
		_, err = c.RequestData(ctx, appio.DownloadData)
		require.NoError(t, err)
	})

	t.Run("fails with a reason that names nobody", func(t *testing.T) {
		t.Parallel()
		w, c := asked(t)
		ctx := t.Context()
		found, err := w.ServeDownload(ctx, func(context.Context, *appio.Citizen) error {
			return fmt.Errorf("no room for %s, casa@example.it", string(giuseppe))
		})
		require.Error(t, err)
		require.True(t, found)
		r, err := c.DataRequest(ctx, appio.DownloadData)
		require.NoError(t, err)
		require.Equal(t, appio.RequestFailed, r.Status)
		require.Equal(t, "no room for ***, ***", r.Reason)

		_, err = c.RequestData(ctx, appio.DownloadData)
		require.NoError(t, err)
		require.Panics(t, func() { _, _ = w.ServeDownload(ctx, func(context.Context, *appio.Citizen) error { panic("oh") }) })
		require.Equal(t, appio.RequestFailed, w.status(c, appio.DownloadData))
		w.isSound()
	})

	t.Run("is taken again where who had it stops, or is no more", func(t *testing.T) {
		t.Parallel()
		w, c := asked(t)
		ctx, stop := context.WithCancel(t.Context())
		_, err := w.ServeDownload(ctx, func(ctx context.Context, _ *appio.Citizen) error {
			stop()
			return ctx.Err()
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, appio.RequestPending, w.status(c, appio.DownloadData))

		ctx = t.Context()
		found, err := w.ServeDownload(ctx, func(ctx context.Context, _ *appio.Citizen) error {
			again := func() bool {
				found, err := w.ServeDownload(ctx, func(context.Context, *appio.Citizen) error { return errors.New("the second") })
				return found && err != nil
			}
			require.False(t, again())
			w.advance(time.Hour + time.Second)
			require.True(t, again())
			return nil
		})
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, appio.RequestFailed, w.status(c, appio.DownloadData), "what the first says counts no longer")
		w.isSound()

		_, err = c.RequestData(ctx, appio.DownloadData)
		require.NoError(t, err)
		taken, over, second := make(chan bool), make(chan bool), make(chan error)
		_, err = w.ServeDownload(ctx, func(ctx context.Context, _ *appio.Citizen) error {
			w.advance(time.Hour + time.Second)
			go func() {
				_, err := w.ServeDownload(ctx, func(context.Context, *appio.Citizen) error {
					close(taken)
					<-over
					return errors.New("the second")
				})
				second <- err
			}()
			<-taken
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, appio.RequestWIP, w.status(c, appio.DownloadData), "while the second is at it")
		close(over)
		require.Error(t, <-second)
		require.Equal(t, appio.RequestFailed, w.status(c, appio.DownloadData))
	})

	t.Run("of a person who is erased meanwhile leaves nothing", func(t *testing.T) {
		t.Parallel()
		w, c := asked(t)
		ctx := t.Context()
		_, err := w.ServeDownload(ctx, func(ctx context.Context, who *appio.Citizen) error {
			require.NoError(t, who.Erase(ctx))
			require.ErrorIs(t, who.Export(ctx, io.Discard), appio.ErrErasing)
			w.flush()
			return nil
		})
		require.NoError(t, err)
		_, err = c.DataRequest(ctx, appio.DownloadData)
		require.ErrorIs(t, err, appio.ErrNotFound)
		w.isSound()
	})
}

// TestRequestsSurviveACrashAtEachStep lets the engine die at its n-th commit, for every n, before it is made and after. Another goes on;
// the caller repeats what was not answered.
func TestRequestsSurviveACrashAtEachStep(t *testing.T) {
	t.Parallel()
	dieAtEachCommit(t, 15, requestCrash)
}

func requestCrash(t *testing.T, n int, made bool) bool {
	ctx := t.Context()
	disk, clock := memstore.New(), at("2026-03-02 10:00")
	e := newLives(t, fmt.Sprintf("commit %d, made %t", n, made), dieOnce(disk, n, made), func(*mortal) *appio.Options {
		return &appio.Options{Keys: townKeys, Now: func() time.Time { return clock }}
	})
	do := func(step func(c *appio.Citizen) error, done ...error) {
		t.Helper()
		e.do(func() error { return step(e.Citizen(appio.Identity{Code: giuseppe, Level: appio.L2})) }, done...)
	}
	ask := func() {
		do(func(c *appio.Citizen) error { _, err := c.RequestData(ctx, appio.DeleteData); return err }, appio.ErrConflict)
	}
	e.do(func() error { return e.PutService(ctx, newService()) })
	do(func(c *appio.Citizen) error { return c.SetMode(ctx, appio.Auto) })
	e.do(func() error {
		_, err := e.Sender(mensa).Send(ctx, messageTo(giuseppe, withKey("1")))
		return err
	})
	ask()
	clock = clock.Add(5 * day)
	e.flush()
	do(func(c *appio.Citizen) error { _, err := c.AbortDeletion(ctx); return err }, appio.ErrConflict)
	clock = clock.Add(5 * day)
	e.flush()
	status := func() appio.DataRequest {
		t.Helper()
		var r appio.DataRequest
		do(func(c *appio.Citizen) (err error) { r, err = c.DataRequest(ctx, appio.DeleteData); return err })
		return r
	}
	require.Equal(t, appio.RequestAborted, status().Status, "commit %d, made %t", n, made)
	do(func(c *appio.Citizen) error {
		all, err := c.Inbox(nil).Page(ctx, "", 0)
		if err == nil {
			require.Len(t, all.Items, 1)
		}
		return err
	})
	ask()
	clock = clock.Add(6*day + time.Second)
	e.flush()
	clock = clock.Add(time.Minute)
	e.flush()
	r := status()
	require.Equal(t, appio.RequestClosed, r.Status, "commit %d, made %t", n, made)
	require.Equal(t, 5, r.Version, "commit %d, made %t: each change was made once", n, made)
	do(func(c *appio.Citizen) error {
		erasures := 0
		for ev, err := range c.Consents().All(ctx) {
			if err != nil {
				return err
			}
			if ev.What == appio.Erased {
				erasures++
			}
		}
		require.Equal(t, 1, erasures)
		return nil
	})
	for _, k := range keysOf(t, disk, citizens) {
		require.Contains(t, []string{"d/", "h/", "i/", "o/", "u/"}, string(k[:2]), "commit %d, made %t", n, made)
	}
	_, err := appio.Inspect(ctx, disk, townKeys, func(f appio.Finding) { t.Errorf("commit %d, made %t: %s", n, made, f) })
	require.NoError(t, err)
	require.NoError(t, e.Close())
	return e.crashes > 0
}

// Two engines come to a deletion, and its citizen takes it back, at the same moment: it is one or the other.
func TestDeletionByTwoEngines(t *testing.T) {
	t.Parallel()
	aborted := 0
	for i := range 50 {
		w := newTown(t, func(o *appio.Options) { o.DeletionGrace = -1 })
		ctx := t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		_, err := c.RequestData(ctx, appio.DeleteData)
		require.NoError(t, err)
		other, err := appio.New(w.store, &appio.Options{Keys: townKeys, Now: w.now})
		require.NoError(t, err)
		done := make(chan error, 2)
		for _, e := range []*appio.Engine{w.Engine, other} {
			go func() {
				_, err := e.Flush(ctx)
				done <- err
			}()
		}
		time.Sleep(time.Duration(i) * 10 * time.Microsecond)
		_, abort := c.AbortDeletion(ctx)
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		w.flush()
		if abort == nil {
			aborted++
			require.Equal(t, appio.RequestAborted, w.status(c, appio.DeleteData))
			require.Len(t, collect(t, c.Inbox(nil)), 1)
		} else {
			require.ErrorIs(t, abort, appio.ErrConflict)
			require.Equal(t, appio.RequestClosed, w.status(c, appio.DeleteData))
			require.Empty(t, collect(t, c.Inbox(nil)))
		}
		w.isSound()
		require.NoError(t, other.Close())
	}
	t.Logf("%d of 50 taken back", aborted)
}
