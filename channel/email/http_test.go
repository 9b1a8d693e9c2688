package email_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/email"
)

const oneClick = "List-Unsubscribe=One-Click"

// ask sends a request as a mail program would, and returns its answer.
func ask(t testing.TB, h http.Handler, method, target, body string) (int, http.Header, string) {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Header(), w.Body.String()
}

func TestOneClickWithdraws(t *testing.T) {
	t.Parallel()
	s := newMailServer(t, false)
	w := newPlatform(t, open(t, s.options(func(o *email.Options) { o.DKIM = &email.DKIM{Domain: "example.org", Selector: "a", Key: newKey(t)} })))
	h := email.WithdrawHandler(w)
	w.send()
	w.flush()
	link := strings.Trim(s.last(t).header.Get("List-Unsubscribe"), "<>")
	require.Contains(t, s.last(t).html, `href="`+link+`"`)

	for _, method := range []string{http.MethodGet, http.MethodHead} { // as scanners do
		code, header, page := ask(t, h, method, link, "")
		require.Equal(t, http.StatusOK, code)
		require.Equal(t, "no-store", header.Get("Cache-Control"))
		require.Equal(t, "no-referrer", header.Get("Referrer-Policy"))
		require.NotContains(t, page, link[strings.Index(link, "t=")+2:])
		form := find(parseHTML(t, page), "form")
		require.Len(t, form, 1)
		require.Equal(t, "post", attr(form[0], "method"))
		input := find(form[0], "input")[0]
		require.Equal(t, oneClick, attr(input, "name")+"="+attr(input, "value"))
	}
	for _, body := range []string{"", "a=b", "List-Unsubscribe=No", strings.Repeat("x", 10_000) + "&" + oneClick} {
		code, _, _ := ask(t, h, http.MethodPost, link, body)
		require.Equal(t, http.StatusBadRequest, code)
	}
	code, header, _ := ask(t, h, http.MethodPut, link, oneClick)
	require.Equal(t, http.StatusMethodNotAllowed, code)
	require.Equal(t, "GET, HEAD, POST", header.Get("Allow"))
	for _, target := range []string{link + "x", "/email/stop", "/email/stop?t=", "/email/stop?u=" + link} {
		code, _, page := ask(t, h, http.MethodPost, target, oneClick)
		require.Equal(t, http.StatusBadRequest, code)
		require.Empty(t, find(parseHTML(t, page), "form"))
	}
	w.send()
	w.flush()
	require.Len(t, s.messages(t), 2, "none of these withdraws")

	var form bytes.Buffer // RFC 8058 permits both encodings
	m := multipart.NewWriter(&form)
	require.NoError(t, m.WriteField("List-Unsubscribe", "One-Click"))
	require.NoError(t, m.Close())
	r := httptest.NewRequest(http.MethodPost, link, &form)
	r.Header.Set("Content-Type", m.FormDataContentType())
	r.Header.Set("Accept-Language", "en-GB,en;q=0.9")
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	require.Equal(t, http.StatusOK, rec.Code)
	require.Contains(t, rec.Body.String(), "no more e-mail will be sent")
	w.send()
	w.flush()
	require.Len(t, s.messages(t), 2)
	code, _, page := ask(t, h, http.MethodPost, link, oneClick)
	require.Equal(t, http.StatusOK, code, "again")
	require.Contains(t, page, "non partiranno più e-mail")
}

func TestAnswersOfTheLinks(t *testing.T) {
	t.Parallel()
	var answer error
	withdraw := email.WithdrawHandler(engine(func(context.Context, string) error { return answer }))
	confirm := email.ValidationHandler(engine(func(context.Context, string) error { return answer }))
	for _, c := range []struct {
		err               error
		withdraw, confirm int
	}{
		{nil, 200, 200}, {appio.ErrUnauthorized, 400, 400}, {appio.ErrExpired, 503, 400}, {appio.ErrTaken, 503, 409}, {appio.ErrBusy, 503, 503}, {errors.New("secret"), 503, 503},
		{&appio.InFlightError{}, 202, 503}, {context.Canceled, 503, 503},
	} {
		answer = c.err
		for i, h := range []http.Handler{withdraw, confirm} {
			code, header, page := ask(t, h, http.MethodPost, "/?t=token", oneClick)
			require.Equal(t, []int{c.withdraw, c.confirm}[i], code, c.err)
			require.Equal(t, code == 503, header.Get("Retry-After") != "")
			require.NotContains(t, page, "secret")
			require.NotContains(t, page, "token")
		}
	}
}

type engine func(context.Context, string) error

func (e engine) Withdraw(ctx context.Context, token string) error       { return e(ctx, token) }
func (e engine) ConfirmAddress(ctx context.Context, token string) error { return e(ctx, token) }

func TestValidation(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newMailServer(t, false)
	c := open(t, s.options())
	w := newPlatform(t, c)
	h := email.ValidationHandler(w)
	require.NoError(t, w.citizen.UpdateProfile(ctx, func(p *appio.Profile) error { p.Addresses[0].Value = "maria.nuova@example.org"; return nil }))
	v, err := w.citizen.ValidateAddress(ctx, "home")
	require.NoError(t, err)
	require.NoError(t, c.SendValidation(ctx, v))
	link := attr(find(byClass(parseHTML(t, s.last(t).html), "action")[0], "a")[0], "href")
	validated := func() bool {
		p, err := w.citizen.Profile(ctx)
		require.NoError(t, err)
		return !p.Addresses[0].ValidatedAt.IsZero()
	}
	code, _, _ := ask(t, h, http.MethodGet, link, "")
	require.Equal(t, http.StatusOK, code)
	require.False(t, validated(), "a scanner follows links")
	code, _, _ = ask(t, h, http.MethodPost, link, oneClick)
	require.Equal(t, http.StatusOK, code)
	require.True(t, validated())
	w.send()
	w.flush()
	require.Equal(t, "<maria.nuova@example.org>", s.last(t).header.Get("To"))
}

// hasty answers before it withdraws, as by way of a queue: the bug that the test below is to find.
type hasty struct{ *platform }

func (h hasty) Withdraw(_ context.Context, token string) error {
	time.AfterFunc(3*time.Millisecond, func() { _ = h.platform.Withdraw(context.Background(), token) })
	return nil
}

// rounds withdraw over HTTP while the engine delivers as fast as it can, and count the e-mails that began after the answer.
func rounds(t *testing.T, n int, handler func(*platform) http.Handler) (late, sent int) {
	t.Helper()
	for range n {
		var mu sync.Mutex
		var token string
		var answered atomic.Bool
		started, after := 0, 0
		first := make(chan struct{})
		w := newPlatform(t, appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			if answered.Load() {
				after++
			}
			if started++; started == 1 {
				token = d.Withdraw
				close(first)
			}
			return nil
		}))
		srv := httptest.NewServer(handler(w))
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() { _ = w.Run(ctx) })
		for range 2 {
			wait.Go(func() {
				for ctx.Err() == nil {
					_, _ = w.Sender("mensa").Send(ctx, appio.Message{To: maria, Subject: "Mensa: retta di ottobre", Markdown: text})
				}
			})
		}
		<-first
		mu.Lock()
		link := srv.URL + "/?t=" + url.QueryEscape(token)
		mu.Unlock()
		resp, err := http.Post(link, "application/x-www-form-urlencoded", strings.NewReader(oneClick))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		answered.Store(true)
		_, _ = io.Copy(io.Discard, resp.Body)
		require.NoError(t, resp.Body.Close())
		time.Sleep(5 * time.Millisecond)
		cancel()
		wait.Wait()
		srv.Close()
		mu.Lock()
		late, sent = late+after, sent+started
		mu.Unlock()
		http.DefaultClient.CloseIdleConnections()
	}
	return late, sent
}

func TestNothingIsSentAfterTheOneClick(t *testing.T) {
	t.Parallel()
	n := 20
	if s := os.Getenv("EMAIL_ROUNDS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	late, sent := rounds(t, n, func(w *platform) http.Handler { return email.WithdrawHandler(w) })
	require.Zero(t, late)
	t.Logf("%d rounds, %d e-mails before the answer, %d after it", n, sent, late)

	for range 10 {
		if late, _ := rounds(t, 10, func(w *platform) http.Handler { return email.WithdrawHandler(hasty{w}) }); late > 0 {
			return
		}
	}
	t.Error("a handler that answers before it withdraws is not found")
}
