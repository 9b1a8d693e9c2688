package netguard

import "net/netip"

// special4 are the IPv4 blocks that are no host of the public Internet: IANA's special-purpose registry, multicast, and what clouds
// answer their own guests at. Those of the registry that are called globally reachable are left out too: nobody has a server there.
var special4 = prefixes(
	"0.0.0.0/8",        // this network; Linux takes 0.0.0.0 for the machine itself
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // shared between a carrier and its customers; Alibaba's metadata
	"127.0.0.0/8",      // this machine
	"168.63.129.16/32", // Azure's agent: a public address that answers guests alone
	"169.254.0.0/16",   // link-local; metadata of most clouds
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments; Oracle's metadata
	"192.0.2.0/24",     // documentation
	"192.31.196.0/24",  // AS112
	"192.52.193.0/24",  // multicast tunnels
	"192.88.99.0/24",   // relays of 6to4
	"192.168.0.0/16",   // private
	"192.175.48.0/24",  // AS112
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/3",      // multicast, reserved, and broadcast
)

// global6 is what IANA gives out of IPv6. Outside are this machine, link-local and unique local addresses, multicast, NAT64 and every
// other way to write an IPv4 address.
var global6 = netip.MustParsePrefix("2000::/3")

// special6 are the blocks within global6 that are no host of the public Internet, or lead to an IPv4 address that cannot be seen.
var special6 = prefixes(
	"2001::/23",         // protocol assignments: Teredo, benchmarks, ORCHID
	"2001:db8::/32",     // documentation
	"2002::/16",         // 6to4
	"2620:4f:8000::/48", // AS112
	"3ffe::/16",         // the 6bone, given back
	"3fff::/20",         // documentation
)

func prefixes(texts ...string) []netip.Prefix {
	ps := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		ps[i] = netip.MustParsePrefix(text)
	}
	return ps
}

// Public reports whether an address may be a host of the public Internet. An IPv4 address in IPv6 form is judged as the IPv4 address,
// since there the connection goes; one with a zone is not public.
func Public(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	if a = a.Unmap(); a.Is4() {
		return !within(special4, a)
	}
	return global6.Contains(a) && !within(special6, a)
}

func within(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
