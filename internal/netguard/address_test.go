package netguard

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPublic looks at both ends of each block, and at the addresses beside them.
func TestPublic(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, last   string
		before, after bool // whether those beside are public
	}{
		{"0.0.0.0", "0.255.255.255", false, true},
		{"10.0.0.0", "10.255.255.255", true, true},
		{"100.64.0.0", "100.127.255.255", true, true},
		{"127.0.0.0", "127.255.255.255", true, true},
		{"168.63.129.16", "168.63.129.16", true, true},
		{"169.254.0.0", "169.254.255.255", true, true},
		{"172.16.0.0", "172.31.255.255", true, true},
		{"192.0.0.0", "192.0.0.255", true, true},
		{"192.0.2.0", "192.0.2.255", true, true},
		{"192.31.196.0", "192.31.196.255", true, true},
		{"192.52.193.0", "192.52.193.255", true, true},
		{"192.88.99.0", "192.88.99.255", true, true},
		{"192.168.0.0", "192.168.255.255", true, true},
		{"192.175.48.0", "192.175.48.255", true, true},
		{"198.18.0.0", "198.19.255.255", true, true},
		{"198.51.100.0", "198.51.100.255", true, true},
		{"203.0.113.0", "203.0.113.255", true, true},
		{"224.0.0.0", "255.255.255.255", true, false},
		{"::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, true},
		{"2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", true, true},
		{"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true, true},
		{"2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, true},
		{"2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", true, true},
		{"3ffe::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, false},
		{"3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", false, true},
		{"4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, false},
	} {
		first, last := netip.MustParseAddr(c.first), netip.MustParseAddr(c.last)
		require.False(t, Public(first), first)
		require.False(t, Public(last), last)
		if first.Is4() && last != first {
			require.False(t, Public(first.Next()), first.Next())
		}
		require.Equal(t, c.before, Public(first.Prev()), first.Prev())
		require.Equal(t, c.after, Public(last.Next()), last.Next())
		if first.Is4() {
			require.False(t, Public(netip.AddrFrom16(first.As16())), "as IPv6: %v", first)
		}
	}
	for text, want := range map[string]bool{
		"8.8.8.8": true, "::ffff:8.8.8.8": true, "2606:4700::1111": true, "192.0.1.1": true, "198.17.255.255": true,
		"2000::1%eth0": false, "::ffff:8.8.8.8%eth0": false, "::ffff:127.0.0.1": false, "::127.0.0.1": false, "::8.8.8.8": false, "64:ff9b::808:808": false, "::ffff:0:808:808": false,
	} {
		require.Equal(t, want, Public(netip.MustParseAddr(text)), text)
	}
	require.False(t, Public(netip.Addr{}))
}
