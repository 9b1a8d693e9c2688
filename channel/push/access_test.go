package push

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// roundTrip answers requests in the place of a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestCallsThatWaitForATokenShareItsFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		release := make(chan struct{})
		a := &access{now: time.Now, turn: make(chan struct{}, 1), client: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			asked++
			<-release
			return nil, errors.New("no network")
		})}, account: account{tokenURL: "https://oauth2.example.org/token", key: RSAKey()}}
		const calls = 8
		errs := make(chan error, calls)
		for range calls {
			go func() {
				_, err := a.token(t.Context())
				errs <- err
			}()
		}
		synctest.Wait()
		close(release)
		for range calls {
			require.EqualError(t, <-errs, "push: Google's token: the request failed, or the answer is not HTTP")
		}
		require.Equal(t, 1, asked)

		_, err := a.token(t.Context())
		require.Error(t, err)
		require.Equal(t, 2, asked, "a call that comes later asks again")
	})
}

func TestTheEndOfACallThatFetchesATokenIsNotThatOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		a := &access{now: time.Now, turn: make(chan struct{}, 1), client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if asked++; asked == 1 {
				<-r.Context().Done() // a service that hangs
				return nil, r.Context().Err()
			}
			return &http.Response{StatusCode: http.StatusOK, Request: r,
				Body: io.NopCloser(strings.NewReader(`{"access_token": "good", "token_type": "Bearer", "expires_in": 3600}`))}, nil
		})}, account: account{tokenURL: "https://oauth2.example.org/token", key: RSAKey()}}
		withdrawn := errors.New("the citizen has withdrawn")
		call := func(ctx context.Context) chan error {
			ended := make(chan error, 1)
			go func() {
				token, err := a.token(ctx)
				if err == nil && token != "good" {
					err = errors.New("another token")
				}
				ended <- err
			}()
			synctest.Wait()
			return ended
		}
		fetching, stopFetching := context.WithCancelCause(t.Context())
		waiting, stopWaiting := context.WithCancelCause(t.Context())
		first, second, third := call(fetching), call(waiting), call(t.Context())
		stopWaiting(withdrawn)
		require.ErrorIs(t, <-second, withdrawn)
		stopFetching(withdrawn)
		require.ErrorIs(t, <-first, withdrawn)
		require.NoError(t, <-third)
		require.Equal(t, 2, asked)
	})
}
