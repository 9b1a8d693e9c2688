package appio_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

const envZones = "APPIO_TEST_ZONES" // the folder of the child's time zones

// TestQuietHoursInAZoneThatIsNotThere runs in a process of its own, which has a folder of time zones.
func TestQuietHoursInAZoneThatIsNotThere(t *testing.T) {
	if dir := os.Getenv(envZones); dir != "" {
		loseZone(t, filepath.Join(dir, "Olympus"))
		return
	}
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestQuietHoursInAZoneThatIsNotThere$")
	cmd.Env = append(os.Environ(), envZones+"="+dir, "ZONEINFO="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func loseZone(t *testing.T, file string) {
	var zone []byte // five hours east of UTC
	zone = append(zone, "TZif"+string(make([]byte, 16))...)
	for _, n := range []uint32{0, 0, 0, 0, 1, 4, 5 * 3600} {
		zone = binary.BigEndian.AppendUint32(zone, n)
	}
	zone = append(zone, "\x00\x00OLY\x00"...)
	require.NoError(t, os.WriteFile(file, zone, 0o600))
	w := newTown(t)
	c := w.enrol(giuseppe, appio.Auto)
	quiet := hours("22:00", "07:00")
	quiet.Zone = "Olympus"
	choose := func(q appio.QuietHours) error {
		return c.UpdateProfile(t.Context(), func(p *appio.Profile) error { p.Quiet = q; return nil })
	}
	require.NoError(t, choose(quiet))

	// Another system does not know it: what else the citizen chooses counts all the same.
	require.NoError(t, os.Remove(file))
	require.NoError(t, c.UpdateProfile(t.Context(), func(p *appio.Profile) error { delete(p.Channels, appio.Push); return nil }))
	p, err := c.Profile(t.Context())
	require.NoError(t, err)
	require.Equal(t, quiet, p.Quiet)
	require.NotContains(t, p.Channels, appio.Push)
	shorter := quiet
	shorter.To -= time.Hour
	require.ErrorIs(t, choose(shorter), appio.ErrInvalid)

	// Meanwhile it is Italian time, and no longer than that.
	midnight := at("2026-01-11 00:00")
	require.Equal(t, midnight.Add(7*time.Hour), quiet.Next(midnight))
	require.NoError(t, os.WriteFile(file, zone, 0o600))
	require.Eventually(t, func() bool { return quiet.Next(midnight).Equal(midnight.Add(3 * time.Hour)) }, 10*time.Second, 10*time.Millisecond,
		"seven there is three here")
	require.NoError(t, choose(appio.QuietHours{}))
}
