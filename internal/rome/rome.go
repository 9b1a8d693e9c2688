// Package rome knows Italian time.
package rome

import (
	_ "embed"
	"sync"
	"time"
)

// The zone's data of the tz database (which is in the public domain), as Go has them.
//
//go:embed Europe_Rome.tzif
var data []byte

// Location is Europe/Rome: as the system knows it, which is told of new laws; where it knows no time zones, as a container without
// files, as this program does.
func Location() *time.Location { return location() }

var location = sync.OnceValue(func() *time.Location {
	if l, err := time.LoadLocation("Europe/Rome"); err == nil {
		return l
	}
	return own()
})

func own() *time.Location {
	l, err := time.LoadLocationFromTZData("Europe/Rome", data)
	if err != nil {
		panic("rome: " + err.Error()) // what is embedded cannot be read: a test has read it
	}
	return l
}
