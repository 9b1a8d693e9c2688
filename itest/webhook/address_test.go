package webhook

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"code.dny.dev/ssrf"
	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/internal/netguard"
)

var guardian = ssrf.New(ssrf.WithAnyPort(), ssrf.WithAnyNetwork())

// ours are the blocks that netguard alone refuses: a cloud's agent, and what was given back.
var ours = []netip.Prefix{netip.MustParsePrefix("168.63.129.16/32"), netip.MustParsePrefix("3ffe::/16")}

// blocks are those to look into, and beside.
var blocks = slices.Concat(ssrf.IPv4DeniedPrefixes, ssrf.IPv6DeniedPrefixes, ours,
	[]netip.Prefix{ssrf.IPv6GlobalUnicast, ssrf.IPv6NAT64Prefix, netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10")})

// some is an address: any, or one in or near a block, and at times at its end.
func some(r *rand.Rand) netip.Addr {
	at := blocks[r.IntN(len(blocks))]
	b := at.Addr().AsSlice()
	from := at.Bits()
	switch r.IntN(4) {
	case 0:
		from = 0
	case 1:
		from = max(from-1-r.IntN(4), 0)
	}
	fill := r.IntN(3)
	for i := from; i < len(b)*8; i++ {
		bit := byte(0x80) >> (i % 8)
		switch {
		case fill == 0 || fill == 1 && r.IntN(2) == 0:
			b[i/8] |= bit
		default:
			b[i/8] &^= bit
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// differ says how a rule and the other table judge an address in two ways. An IPv4 address as IPv6 is refused there, and here judged as
// what it is, for there the connection goes.
func differ(public func(netip.Addr) bool, a netip.Addr) error {
	theirs := guardian.SafeAddr(a.Unmap()) == nil
	if slices.ContainsFunc(ours, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) }) {
		theirs = false
	}
	if public(a) != theirs {
		return fmt.Errorf("%v: here %v, there %v", a, public(a), theirs)
	}
	return nil
}

func TestAnotherTableOfAddresses(t *testing.T) {
	const inRound = 100_000
	seed, n, public := form.Seed(t), 0, 0
	r := rand.New(rand.NewPCG(seed, 0))
	for more := form.Rounds(t, 0, 2, 1); more(); {
		for range inRound {
			a := some(r)
			if r.IntN(8) == 0 {
				a = netip.AddrFrom16(a.As16())
			}
			if err := differ(netguard.Public, a); err != nil {
				t.Fatalf("address %d: %v", n, err)
			}
			if n++; netguard.Public(a) {
				public++
			}
		}
	}
	require.Greater(t, public, n/10)
	require.Less(t, public, n*9/10)
	form.Figures(t, map[string]float64{"addresses": float64(n), "public": float64(public)})
}

// TestPlantedBugs leaves each block in turn open, or half of it, or closes what is beside it.
func TestPlantedBugs(t *testing.T) {
	seed := form.Seed(t)
	found := func(public func(netip.Addr) bool) bool {
		r := rand.New(rand.NewPCG(seed, 1))
		for range 50_000 {
			if differ(public, some(r)) != nil {
				return true
			}
		}
		return false
	}
	for _, p := range slices.Concat(ssrf.IPv4DeniedPrefixes, ssrf.IPv6DeniedPrefixes, ours) {
		require.True(t, found(func(a netip.Addr) bool { return netguard.Public(a) || p.Contains(a) }), "%v is open", p)
		if p.Bits() < p.Addr().BitLen() {
			half := netip.PrefixFrom(p.Addr(), p.Bits()+1)
			require.True(t, found(func(a netip.Addr) bool { return netguard.Public(a) || half.Contains(a) }), "%v is open", half)
		}
		// Twice as large: what is beside it is closed as well.
		if other := sibling(p); netguard.Public(other.Addr()) {
			require.True(t, found(func(a netip.Addr) bool { return netguard.Public(a) && !other.Contains(a) }), "%v is closed", other)
		}
	}
	require.True(t, found(func(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsPrivate() }), "what package net offers")
	require.False(t, found(netguard.Public))
}

// sibling is the block that makes one twice as large with this one.
func sibling(p netip.Prefix) netip.Prefix {
	b := p.Addr().AsSlice()
	b[(p.Bits()-1)/8] ^= 0x80 >> ((p.Bits() - 1) % 8)
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, p.Bits())
}
