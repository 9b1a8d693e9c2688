package paymentinfo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/appio-go/appio/pagopa"
)

// maxAnswer is the most of a body that is read, and of headers. A debt takes less than 2 KiB.
const maxAnswer = 64 << 10

// answer reads what the service said.
func answer(ctx context.Context, method string, resp *http.Response) ([]byte, error) {
	status := resp.StatusCode
	switch status {
	case http.StatusOK:
		return content(ctx, resp, "application/json")
	case http.StatusCreated:
		if method == http.MethodPost {
			return content(ctx, resp, "application/json")
		}
	case http.StatusNotFound, http.StatusConflict, http.StatusBadGateway, http.StatusServiceUnavailable:
		body, err := content(ctx, resp, "application/json", "application/problem+json")
		if err != nil {
			return nil, fmt.Errorf("%w; the status is %d", err, status)
		}
		return nil, faultOf(status, body)
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fmt.Errorf("paymentinfo: the service does not accept the credentials: %d", status)
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return nil, fmt.Errorf("paymentinfo: the service answered %d, a redirect, and these are not followed", status)
	}
	return nil, fmt.Errorf("paymentinfo: the service answered %d", status)
}

// content reads a body of one of these types.
func content(ctx context.Context, resp *http.Response, types ...string) ([]byte, error) {
	media, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if charset, ok := params["charset"]; err != nil || !slices.Contains(types, media) || ok && !strings.EqualFold(charset, "utf-8") {
		return nil, errors.New("paymentinfo: the answer is not called JSON")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, unanswered(ctx, err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("paymentinfo: the answer is longer than %d bytes", maxAnswer)
	}
	return body, nil
}

// unanswered says why there is no answer, in words that have nothing of the URL, and nothing that the service wrote: errors of net/http
// quote both.
func unanswered(ctx context.Context, err error) error {
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("paymentinfo: %w", context.Cause(ctx))
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("paymentinfo: %w", errSlow)
	case errors.As(err, &network):
		return fmt.Errorf("paymentinfo: %w", network)
	case errors.As(err, &certificate):
		return fmt.Errorf("paymentinfo: %w", certificate)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("paymentinfo: the answer breaks off: %w", io.ErrUnexpectedEOF)
	}
	return errors.New("paymentinfo: the request failed, or the answer is not HTTP")
}

// faultOf reads why a debt cannot be paid. Only a whole fault whose category belongs to the status is one.
func faultOf(status int, body []byte) error {
	o, err := parse(body)
	if err != nil {
		return fmt.Errorf("%w; the status is %d", err, status)
	}
	category, err := o.text("faultCodeCategory", 0)
	if err != nil {
		return err
	}
	detail, err := o.text("faultCodeDetail", 0)
	if err != nil {
		return err
	}
	f := &pagopa.Fault{Category: category, Detail: detail}
	switch {
	case category == "":
		return fmt.Errorf("paymentinfo: the service answered %d, without a fault", status)
	case !f.Valid():
		f.Category = pagopa.GenericError // a new one: it cannot be known what it means
	case f.Status() != status:
		return fmt.Errorf("paymentinfo: the service answered %d, with %s, which belongs to %d", status, category, f.Status())
	}
	if !code(detail) {
		f.Detail = ""
	}
	return f
}

// code reports whether a detail looks like those of pagoPA and of creditors. Others may hold anything.
func code(detail string) bool {
	for i := range len(detail) {
		c := detail[i]
		if c != '_' && (c < 'A' || c > 'Z') && (c < '0' || c > '9' || i == 0) {
			return false
		}
	}
	return len(detail) <= 64
}
