package appio_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/appio-go/appio"
)

// Many messages are sent at once: results[i] is of messages[i], each decided for itself. The error is that of the first that
// could not be decided on, so that looking at it alone misses nothing.
func ExampleSender_SendBatch() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	enrol(eng, mario, "mario@example.org")

	messages := []appio.Message{fee(mario), fee(anna), fee(mario)}
	messages[2].Subject = "Mensa"
	results, err := eng.Sender("mensa").SendBatch(ctx, messages)
	for i, r := range results {
		var field *appio.FieldError
		switch {
		case errors.As(r.Err, &field):
			fmt.Println(i, "to be mended:", field.Field, "has", field.Rule)
		case r.Err != nil:
			fmt.Println(i, "to be sent again:", r.Err)
		default:
			fmt.Println(i, r.Status)
		}
	}
	fmt.Println(err)
	// Output:
	// 0 PROCESSED
	// 1 REJECTED
	// 2 to be mended: Subject has 10 to 120 UTF-16 units
	// message 2: appio: invalid Subject: 10 to 120 UTF-16 units
}

// A key makes it safe to send again when the answer was lost: the same key and the same message is the same message.
func ExampleSender_Send_key() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	enrol(eng, mario, "mario@example.org")
	mensa := eng.Sender("mensa")

	m := fee(mario)
	m.Key = "october-4711"
	first, err := mensa.Send(ctx, m)
	check(err)
	again, err := mensa.Send(ctx, m)
	check(err)
	fmt.Println("the same message:", again.ID == first.ID, "repeated:", again.Repeated)

	m.Subject = "Mensa: retta di novembre"
	_, err = mensa.Send(ctx, m)
	fmt.Println(errors.Is(err, appio.ErrConflict))
	// Output:
	// the same message: true repeated: true
	// true
}

// A service outside the process proves who it is with a key, which is shown once and kept hashed. It has two, so that one can be
// changed while the other is in use; an old one ends at once, for senders made before too.
func ExampleEngine_SenderByKey() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	enrol(eng, mario, "mario@example.org")
	caller := netip.MustParseAddr("192.0.2.7")

	key, err := eng.NewKey(ctx, "mensa", appio.Primary)
	check(err)
	mensa, err := eng.SenderByKey(ctx, key, caller)
	check(err)
	res, err := mensa.Send(ctx, fee(mario))
	check(err)
	fmt.Println(mensa.ID(), res.Status)

	_, err = eng.NewKey(ctx, "mensa", appio.Primary)
	check(err)
	_, err = mensa.Send(ctx, fee(mario))
	fmt.Println(err)
	_, err = eng.SenderByKey(ctx, key, caller)
	fmt.Println(err)
	// Output:
	// mensa PROCESSED
	// appio: unauthorized
	// appio: unauthorized
}

// A service may ask beforehand whether a message would be processed. Unknown and unwilling look alike.
func ExampleSender_CanContact() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	enrol(eng, mario, "mario@example.org")
	mensa := eng.Sender("mensa")

	for _, to := range []struct {
		name string
		may  func() (bool, error)
	}{
		{"Mario", func() (bool, error) { return mensa.CanContact(ctx, mario) }},
		{"Anna", func() (bool, error) { return mensa.CanContact(ctx, anna) }},
	} {
		may, err := to.may()
		check(err)
		fmt.Println(to.name, may)
	}
	// Output:
	// Mario true
	// Anna false
}
