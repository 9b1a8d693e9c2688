// Package owntest is code of the host's own that uses appio, and its test with appiotest.
package owntest

import (
	"context"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

// Remind writes to all families whose fee is open, and says who must get a letter instead: those who do not want the message,
// or do not use the platform. An error is about messages that could not be decided on; they are in neither.
func Remind(ctx context.Context, school *appio.Sender, open []appio.Message) (letters []fiscalcode.Person, err error) {
	results, err := school.SendBatch(ctx, open)
	for i, r := range results {
		if r.Status == appio.Rejected {
			letters = append(letters, open[i].To)
		}
	}
	return letters, err
}
