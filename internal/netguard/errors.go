package netguard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// ErrRefused is returned for a URL that may not be asked, or a name that leads to an address that may not be reached.
var ErrRefused = errors.New("not an address that may be reached")

// ErrTooLong is returned by an answer's body that goes on beyond Options.MaxBody.
var ErrTooLong = errors.New("the answer is too long")

// Clean says why there is no answer, without a text from elsewhere: those of package net and of TLS name the host, and those of HTTP
// quote the peer. What it wraps is as for [Client.Do].
func Clean(ctx context.Context, err error) error {
	var timeout net.Error
	var name *net.DNSError
	var number syscall.Errno
	var certificate *tls.CertificateVerificationError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrRefused):
		return ErrRefused
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	case errors.As(err, &name):
		return errors.New("the name of the host could not be resolved")
	case errors.As(err, &certificate):
		return errors.New("the certificate of the host is not valid")
	case errors.As(err, &number):
		return fmt.Errorf("the connection failed: %w", number)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the answer breaks off: %w", io.ErrUnexpectedEOF)
	}
	return errors.New("the request failed, or the answer is not HTTP")
}
