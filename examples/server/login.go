package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/httpapi"
)

// This file stands for what a host has of its own: a login, here one that asks for nothing but a token that is written in a file, and mail.

// login says which citizen makes a request: the one whose token the seed has, as Authorization: Bearer TOKEN.
func (s seed) login(r *http.Request) (appio.Identity, error) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	code, ok := s.tokens[token]
	if !ok {
		return appio.Identity{}, appio.ErrUnauthorized
	}
	return appio.Identity{Code: code, Level: appio.L2, Provider: "example"}, nil
}

// translated puts the engine's key in the place of the seed's, so that a seed may have any text as a key. Every other key goes on as it is.
func translated(keys map[string]string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if key, ok := keys[r.Header.Get(httpapi.KeyHeader)]; ok {
			own := *r
			own.Header = maps.Clone(r.Header)
			own.Header.Set(httpapi.KeyHeader, key)
			r = &own
		}
		next.ServeHTTP(w, r)
	})
}

// A mailbox is where every mail goes that validates an address: the link in it is printed.
type mailbox struct {
	link string
	out  io.Writer
}

func (m mailbox) validate(_ context.Context, v appio.Validation) error {
	_, err := fmt.Fprintf(m.out, "an e-mail address is to be confirmed: open %s%s\n", m.link, v.Token)
	return err
}

// confirm is what is behind the link. A program that looks at links would confirm it, too: a real one asks with a page first, as
// channel/email does.
func confirm(eng *appio.Engine) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := eng.ConfirmAddress(r.Context(), r.PathValue("token")); err != nil {
			http.Error(w, "this link is not, or no longer, good", http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, "confirmed")
	}
}
