package appio_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/appio-go/appio"
)

// A citizen enters an e-mail address, gets a link there, and follows it: from then on the address is written to.
func ExampleCitizen_ValidateAddress() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	citizen := eng.Citizen(appio.Identity{Code: mario, Level: appio.L2})
	check(citizen.SetMode(ctx, appio.Auto))
	check(citizen.UpdateProfile(ctx, func(p *appio.Profile) error {
		p.Channels = appio.On(appio.Email)
		p.Addresses = []appio.Address{{ID: "home", Channel: appio.Email, Value: "mario@example.it"}}
		return nil
	}))

	v, err := citizen.ValidateAddress(ctx, "home")
	check(err)
	fmt.Println("a link with the token goes to", v.Address.Value)
	_, err = citizen.ValidateAddress(ctx, "home")
	fmt.Println(errors.Is(err, appio.ErrLimited)) // one a minute

	fmt.Println(eng.ConfirmAddress(ctx, v.Token)) // by whoever follows the link: it asks for no login
	fmt.Println(eng.ConfirmAddress(ctx, "made up"))
	p, err := citizen.Profile(ctx)
	fmt.Println(!p.Addresses[0].ValidatedAt.IsZero(), err)
	// Output:
	// a link with the token goes to mario@example.it
	// true
	// <nil>
	// appio: unauthorized
	// true <nil>
}
