package paymentinfo_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/gateway/paymentinfo"
	"github.com/appio-go/appio/pagopa"
)

// answered asks a server that gives this answer to everything, and returns the errors of Verify and Start.
func answered(t *testing.T, status int, media, body string) (appio.Debt, []error) {
	t.Helper()
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		if media != "" {
			w.Header().Set("Content-Type", media)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	g := open(t, server.URL, &paymentinfo.Options{CheckoutURL: server.URL})
	d, err := g.Verify(t.Context(), id)
	_, started := g.Start(t.Context(), debt, "k")
	return d, []error{err, started}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status           int
		category, detail string
	}{
		{404, "PAYMENT_UNKNOWN", "PAA_PAGAMENTO_SCONOSCIUTO"},
		{404, "PAYMENT_DATA_ERROR", "PPT_SINTASSI_EXTRAXSD"},
		{404, "PAYMENT_DATA_ERROR", "PPT_SINTASSI_XSD"},
		{404, "PAYMENT_DATA_ERROR", "PPT_DOMINIO_SCONOSCIUTO"},
		{404, "PAYMENT_DATA_ERROR", "PPT_STAZIONE_INT_PA_SCONOSCIUTA"},
		{409, "PAYMENT_ONGOING", "PPT_PAGAMENTO_IN_CORSO"},
		{409, "PAYMENT_ONGOING", "PAA_PAGAMENTO_IN_CORSO"},
		{409, "PAYMENT_EXPIRED", "PAA_PAGAMENTO_SCADUTO"},
		{409, "PAYMENT_CANCELED", "PAA_PAGAMENTO_ANNULLATO"},
		{409, "PAYMENT_DUPLICATED", "PAA_PAGAMENTO_DUPLICATO"},
		{409, "PAYMENT_DUPLICATED", "PPT_PAGAMENTO_DUPLICATO"},
		{502, "PAYMENT_UNAVAILABLE", "PPT_PSP_SCONOSCIUTO"},
		{502, "PAYMENT_UNAVAILABLE", "PPT_SYSTEM_ERROR"},
		{502, "GENERIC_ERROR", "PPT_RPT_DUPLICATA"},
		{502, "GENERIC_ERROR", "CANALE_TIMEOUT_2"},
		{503, "DOMAIN_UNKNOWN", "PPT_STAZIONE_INT_PA_IRRAGGIUNGIBILE"},
		{503, "DOMAIN_UNKNOWN", "PAA_SYSTEM_ERROR"},
		// What is in no document: a detail that moved to another category, or is new.
		{404, "PAYMENT_UNKNOWN", "PPT_DOMINIO_SCONOSCIUTO"},
		{409, "PAYMENT_DUPLICATED", "PAA_NUOVO"},
	} {
		for _, media := range []string{"application/json", "application/problem+json; charset=UTF-8"} {
			body := fmt.Sprintf(`{"title": "about %v", "faultCodeCategory": %q, "faultCodeDetail": %q, "x": null}`, id, c.category, c.detail)
			_, errs := answered(t, c.status, media, body)
			for _, err := range errs {
				var f *pagopa.Fault
				require.ErrorAs(t, err, &f, c.detail)
				require.Equal(t, &pagopa.Fault{Category: c.category, Detail: c.detail}, f)
				require.Equal(t, c.status, f.Status())
				require.Equal(t, c.category == "PAYMENT_DUPLICATED", f.Paid())
				silent(t, err)
			}
		}
	}
}

func TestDetailsFromOutsideAreDroppedUnlessTheyAreCodes(t *testing.T) {
	t.Parallel()
	for _, detail := range []string{
		`""`, `null`, `"notice ` + id.String() + `"`, `"` + id.String() + `"`, `"paa_pagamento"`, `"PAA-PAGAMENTO"`, `"PAÀ"`,
		`"PAA\n"`, `"` + strings.Repeat("P", 65) + `"`,
	} {
		_, errs := answered(t, 404, "application/json", `{"faultCodeCategory": "PAYMENT_UNKNOWN", "faultCodeDetail": `+detail+`}`)
		for _, err := range errs {
			require.Equal(t, &pagopa.Fault{Category: pagopa.PaymentUnknown}, err, detail)
		}
	}
}

func TestAnUnknownCategoryIsAGenericError(t *testing.T) {
	t.Parallel()
	for _, status := range []int{404, 409, 502, 503} {
		_, errs := answered(t, status, "application/json", `{"faultCodeCategory": "PAYMENT_FROZEN", "faultCodeDetail": "PAA_CONGELATO"}`)
		for _, err := range errs {
			require.Equal(t, &pagopa.Fault{Category: pagopa.GenericError, Detail: "PAA_CONGELATO"}, err)
		}
	}
}

func TestWhatIsNoFaultSaysNothingOfTheDebt(t *testing.T) {
	t.Parallel()
	fault := `{"faultCodeCategory": "PAYMENT_DUPLICATED", "faultCodeDetail": "PAA_PAGAMENTO_DUPLICATO"}`
	for name, c := range map[string]struct {
		status            int
		media, body, says string
	}{
		"a category of another status":         {404, "application/json", fault, "answered 404, with PAYMENT_DUPLICATED, which belongs to 409"},
		"a category of another status, failed": {502, "application/json", fault, "answered 502, with PAYMENT_DUPLICATED, which belongs to 409"},
		"a fault with a status of no fault":    {500, "application/json", fault, "the service answered 500"},
		"a fault with success":                 {200, "application/json", fault, "is not a"},
		"a page that is not there":             {404, "text/html", "<h1>" + id.String() + "</h1>", "not called JSON; the status is 404"},
		"a page of a proxy":                    {502, "text/html", "Bad Gateway", "not called JSON; the status is 502"},
		"a fault called text":                  {409, "text/plain", fault, "not called JSON; the status is 409"},
		"a fault called nothing":               {409, "", fault, "not called JSON; the status is 409"},
		"a fault in another alphabet":          {409, "application/json; charset=latin1", fault, "not called JSON"},
		"an empty body":                        {404, "application/json", "", "not a JSON object; the status is 404"},
		"no category":                          {404, "application/json", "{}", "answered 404, without a fault"},
		"a category that is null":              {404, "application/json", `{"faultCodeCategory": null}`, "without a fault"},
		"a category that is a number":          {404, "application/json", `{"faultCodeCategory": 404}`, "faultCodeCategory is not a string"},
		"a detail that is an object":           {404, "application/json", `{"faultCodeCategory": "PAYMENT_UNKNOWN", "faultCodeDetail": {}}`, "faultCodeDetail is not a string"},
		"a category in other letters":          {404, "application/json", `{"FaultCodeCategory": "PAYMENT_UNKNOWN"}`, "without a fault"},
		"a category twice":                     {409, "application/json", fault[:len(fault)-1] + `, "faultCodeCategory": "PAYMENT_ONGOING"}`, "a member twice"},
		"half a fault":                         {409, "application/json", fault[:len(fault)-1], "not a JSON object"},
		"a list of faults":                     {409, "application/json", "[" + fault + "]", "not a JSON object"},
		"names of an older API":                {404, "application/json", `{"detail": "PAYMENT_UNKNOWN", "detail_v2": "PAA_PAGAMENTO_SCONOSCIUTO"}`, "without a fault"},
		"credentials":                          {401, "application/json", fault, "does not accept the credentials: 401"},
		"permission":                           {403, "application/json", fault, "does not accept the credentials: 403"},
		"a request that is refused":            {400, "application/json", fault, "the service answered 400"},
		"too many requests":                    {429, "", "", "the service answered 429"},
		"an error":                             {500, "text/plain", "no " + id.String(), "the service answered 500"},
		"a timeout":                            {504, "", "", "the service answered 504"},
		"no content":                           {204, "", "", "the service answered 204"},
		"part of it":                           {206, "application/json", `{"amount": 1}`, "the service answered 206"},
		"a status of nobody":                   {599, "", "", "the service answered 599"},
	} {
		_, errs := answered(t, c.status, c.media, c.body)
		for _, err := range errs {
			noFault(t, err)
			require.Contains(t, err.Error(), c.says, name)
		}
	}
	_, errs := answered(t, 201, "application/json", `{"amount": 1, "url": "https://x.example"}`)
	require.EqualError(t, errs[0], "paymentinfo: the service answered 201", "a question creates nothing")
	require.NoError(t, errs[1])
}

func TestSuccessMustBeCalledJSON(t *testing.T) {
	t.Parallel()
	body := `{"amount": 1, "url": "https://x.example"}`
	for media, good := range map[string]bool{
		"application/json": true, "Application/JSON;charset=utf-8": true, `application/json; charset="UTF-8"; x=y`: true,
		"": false, "text/json": false, "application/problem+json": false, "application/json; charset=utf-16": false,
		"application/json;": true, "application/json; charset": false, "application/jsonp": false, "application/json, text/html": false,
	} {
		_, errs := answered(t, 200, media, body)
		for _, err := range errs {
			if good {
				require.NoError(t, err, media)
			} else {
				noFault(t, err)
			}
		}
	}
}

func TestBodiesHaveAnEnd(t *testing.T) {
	t.Parallel()
	// Blanks after an object are JSON, so that only the size can be wrong.
	full := func(n int) string { return `{"amount": 1, "url": "https://x.example"}` + strings.Repeat(" ", n-41) }
	for n, good := range map[int]bool{64 << 10: true, 64<<10 + 1: false, 1 << 20: false} {
		require.Len(t, full(n), n)
		for _, status := range []int{200, 404} {
			_, errs := answered(t, status, "application/json", full(n))
			for _, err := range errs {
				switch {
				case good && status == 200:
					require.NoError(t, err)
				case good:
					noFault(t, err)
				default:
					noFault(t, err)
					require.Contains(t, err.Error(), "longer than 65536 bytes")
				}
			}
		}
	}
}

func TestEndlessBodyIsNotRead(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	done := make(chan struct{})
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(done)
		w.Header().Set("Content-Type", "application/json")
		for chunk := bytes.Repeat([]byte(" "), 32<<10); ; {
			n, err := w.Write(chunk)
			if written.Add(int64(n)); err != nil || written.Load() > 1<<30 {
				return
			}
		}
	}))
	_, err := open(t, server.URL, nil).Verify(t.Context(), id)
	noFault(t, err)
	<-done
	require.Less(t, written.Load(), int64(64<<20), "what is in the buffers of the connection, at most")
}

func TestBombIsNotUnpacked(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, err := io.CopyN(z, zeros{}, 64<<20)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	}))
	_, err = open(t, server.URL, nil).Verify(t.Context(), id)
	require.EqualError(t, err, "paymentinfo: the answer is longer than 65536 bytes")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestTruncatedBody(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"shorter than its length":     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"amount\": 1",
		"a whole object, too short":   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"amount\": 1}",
		"a chunk that breaks off":     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"amount\": 1}",
		"no last chunk":               "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{\"amount\": 1}\r\n",
		"headers that break off":      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
		"a status line":               "HTTP/1.1 404",
		"nothing":                     "",
		"a fault that breaks off":     "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"faultCodeCategory\":\"PAYMENT_DUPLICATED\"}",
		"the end is that of the line": "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"amount\": 1",
	} {
		g := open(t, raw(t, text), nil)
		_, err := g.Verify(t.Context(), id)
		noFault(t, err)
		if name != "the end is that of the line" {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, name)
		}
	}
}

func TestWhatIsNotHTTPIsNotQuoted(t *testing.T) {
	t.Parallel()
	secret := id.String()
	for name, text := range map[string]string{
		"a greeting":                "SSH-2.0-" + secret + "\r\n",
		"a status":                  "HTTP/1.1 " + secret + " OK\r\n\r\n",
		"a version":                 "HTTP/" + secret + " 200 OK\r\n\r\n",
		"a header":                  "HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n",
		"a length":                  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + secret + "x\r\n\r\n",
		"two lengths":               "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6" + secret + "\r\n\r\n",
		"a transfer encoding":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + secret + "\r\n\r\n",
		"a chunk":                   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + secret + "\r\n",
		"a reason":                  "HTTP/1.1 500 " + secret + "\r\nContent-Length: 0\r\n\r\n",
		"a redirect to no address":  "HTTP/1.1 302 Found\r\nLocation: http://[" + secret + "\r\nContent-Length: 0\r\n\r\n",
		"a redirect to a scheme":    "HTTP/1.1 302 Found\r\nLocation: " + secret + ":x\r\nContent-Length: 0\r\n\r\n",
		"a type":                    "HTTP/1.1 200 OK\r\nContent-Type: " + secret + "; x\r\nContent-Length: 0\r\n\r\n",
		"an encoding that is not":   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 29\r\n\r\n" + secret,
		"another answer before":     "HTTP/1.1 103 Early Hints\r\nLink: " + secret + "\r\n\r\n",
		"an upgrade":                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + secret + "\r\nConnection: Upgrade\r\n\r\n",
		"a member":                  object(`{"` + secret + `": 1, "` + secret + `": 2}`),
		"a text that is no object":  object(`"` + secret + `"`),
		"a number where none may":   object(`{"amount": "` + secret + `"}`),
		"a day":                     object(`{"amount": 1, "dueDate": "` + secret + `"}`),
		"an id":                     object(`{"amount": 1, "rptId": "1` + secret[1:] + `"}`),
		"no JSON from the id on":    object(`{"amount": 1, ` + secret),
		"an amount that is too big": object(`{"amount": ` + secret[1:] + `}`),
	} {
		_, err := open(t, raw(t, text), nil).Verify(t.Context(), id)
		noFault(t, err)
		t.Log(name+":", err)
	}
}

// object is an answer with this body.
func object(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// raw starts a server that writes these bytes to each connection that has got a request, and closes it.
func raw(t *testing.T, bytes string) (address string) {
	return speaking(t, func(c net.Conn) { _, _ = io.WriteString(c, bytes) })
}

// speaking starts a server that does something with each connection that has got a request, and closes it.
func speaking(t *testing.T, do func(c net.Conn)) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var conns sync.Map
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, nil)
			all.Go(func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					do(c)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Range(func(c, _ any) bool {
			_ = c.(net.Conn).Close() // most of them are closed
			return true
		})
		all.Wait()
	})
	return "http://" + l.Addr().String()
}

func TestSlowAnswers(t *testing.T) {
	t.Parallel()
	drip := func(start, drop string) func(net.Conn) {
		return func(c net.Conn) {
			_, err := io.WriteString(c, start)
			for n := 0; n < 1000 && err == nil; n++ {
				time.Sleep(5 * time.Millisecond)
				_, err = io.WriteString(c, drop)
			}
		}
	}
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for name, do := range map[string]func(net.Conn){
		"a body, byte by byte":      drip(head+"Content-Length: 9999\r\n\r\n{", " "),
		"a body without end":        drip(head+"\r\n{", " "),
		"chunks of one byte":        drip(head+"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "1\r\n \r\n"),
		"headers, byte by byte":     drip("HTTP/1.1 200 OK\r\nX: ", "x"),
		"headers without end":       drip("HTTP/1.1 200 OK\r\n", "X: x\r\n"),
		"answers before the answer": drip("", "HTTP/1.1 103 Early Hints\r\nX: x\r\n\r\n"),
		"nothing":                   drip("", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := speaking(t, do)
			_, err := open(t, address, &paymentinfo.Options{Timeout: 100 * time.Millisecond}).Verify(t.Context(), id)
			require.EqualError(t, err, "paymentinfo: no answer in time: context deadline exceeded")
			require.ErrorIs(t, err, context.DeadlineExceeded)

			why := errors.New("the citizen has gone")
			ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, why)
			defer cancel()
			_, err = open(t, address, nil).Verify(ctx, id)
			require.ErrorIs(t, err, why)

			client := &http.Client{Timeout: 100 * time.Millisecond, Transport: http.DefaultTransport.(*http.Transport).Clone()}
			_, err = open(t, address, &paymentinfo.Options{Client: client}).Verify(t.Context(), id)
			require.EqualError(t, err, "paymentinfo: no answer in time: context deadline exceeded")
			client.CloseIdleConnections()
		})
	}
}

func TestEndlessHeadersAreNotRead(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]string{
		"headers": "X-A: " + strings.Repeat("x", 1000) + "\r\n",
		"answers": "HTTP/1.1 103 Early Hints\r\nX-A: " + strings.Repeat("x", 1000) + "\r\n\r\n",
	} {
		var written atomic.Int64
		address := speaking(t, func(c net.Conn) {
			start := "HTTP/1.1 200 OK\r\n"
			if name == "answers" {
				start = ""
			}
			_, err := io.WriteString(c, start)
			for err == nil && written.Load() < 1<<30 {
				var n int
				n, err = io.WriteString(c, part)
				written.Add(int64(n))
			}
		})
		g, err := paymentinfo.New(address, nil) // the limit is its own client's
		require.NoError(t, err)
		_, err = g.Verify(t.Context(), id)
		noFault(t, err)
		require.Less(t, written.Load(), int64(64<<20), name)
	}

	long := raw(t, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\nX-A: "+strings.Repeat("x", 100_000)+"\r\n\r\n{\"amount\": 1}")
	_, err := open(t, long, nil).Verify(t.Context(), id)
	require.NoError(t, err, "where the host's client takes it")
	g, err := paymentinfo.New(long, nil)
	require.NoError(t, err)
	_, err = g.Verify(t.Context(), id)
	noFault(t, err)
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := "http://" + l.Addr().String()
	require.NoError(t, l.Close())
	_, err = open(t, address, nil).Verify(t.Context(), id)
	noFault(t, err)
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "the operator can see why")
	require.Contains(t, err.Error(), l.Addr().String())
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		write(w, 200, map[string]any{"amount": 1})
	}))
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(server.Close)
	_, err := open(t, server.URL, &paymentinfo.Options{Client: server.Client()}).Verify(t.Context(), id)
	require.NoError(t, err)
	_, err = open(t, server.URL, nil).Verify(t.Context(), id)
	noFault(t, err)
	var certificate *tls.CertificateVerificationError
	require.ErrorAs(t, err, &certificate, "the operator can see why")
}

func TestErrorsOfOtherTransportsAreNotQuoted(t *testing.T) {
	t.Parallel()
	broken := &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		return nil, &url.Error{Op: "Get", URL: r.URL.String(), Err: errors.New("cannot get " + r.URL.String())}
	})}
	g := open(t, "https://x.example", &paymentinfo.Options{Client: broken, CheckoutURL: "https://x.example"})
	_, err := g.Verify(t.Context(), id)
	noFault(t, err)
	_, err = g.Start(t.Context(), debt, "k")
	noFault(t, err)
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func TestNothingIsTriedTwice(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	address := speaking(t, func(net.Conn) { asked.Add(1) }) // and it hangs up
	g := open(t, address, &paymentinfo.Options{CheckoutURL: address})
	_, err := g.Verify(t.Context(), id)
	noFault(t, err)
	_, err = g.Start(t.Context(), debt, "k")
	noFault(t, err)
	require.EqualValues(t, 2, asked.Load())
}
