package push

import (
	"errors"
	"net/http"
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
