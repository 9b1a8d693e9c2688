package appio

import (
	"crypto/rand"
	"encoding/base32"
	"sync"
	"time"
)

// ulids makes ULIDs (github.com/ulid/spec): 48 bits of milliseconds and 80 random bits, in Crockford's base 32. Those of
// one source grow, also when the clock stands still or steps back.
type ulids struct {
	mu   sync.Mutex
	ms   uint64
	rand [10]byte
}

func (u *ulids) next(now time.Time) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if ms := uint64(now.UnixMilli()); ms > u.ms {
		u.ms = ms
		rand.Read(u.rand[:])
		u.rand[0] &= 0x7f // room to count up
	} else {
		for i := len(u.rand) - 1; i >= 0; i-- {
			u.rand[i]++
			if u.rand[i] != 0 {
				break
			}
		}
	}
	var b [16]byte
	for i := range 6 {
		b[i] = byte(u.ms >> (40 - 8*i))
	}
	copy(b[6:], u.rand[:])
	return formatULID(b)
}

// ulidAt is the least ULID of a time.
func ulidAt(t time.Time) string {
	var b [16]byte
	ms := uint64(max(t.UnixMilli(), 0))
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	return formatULID(b)
}

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

func formatULID(b [16]byte) string {
	var s [26]byte
	// 128 bits in 26 characters of 5: the first has three.
	hi := uint64(b[0])<<56 | uint64(b[1])<<48 | uint64(b[2])<<40 | uint64(b[3])<<32 | uint64(b[4])<<24 | uint64(b[5])<<16 | uint64(b[6])<<8 | uint64(b[7])
	lo := uint64(b[8])<<56 | uint64(b[9])<<48 | uint64(b[10])<<40 | uint64(b[11])<<32 | uint64(b[12])<<24 | uint64(b[13])<<16 | uint64(b[14])<<8 | uint64(b[15])
	for i := 25; i >= 0; i-- {
		s[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(s[:])
}

// validULID reports whether s has the form of a message id.
func validULID(s string) bool {
	if len(s) != 26 || s[0] > '7' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' && c != 'I' && c != 'L' && c != 'O' && c != 'U' {
			continue
		}
		return false
	}
	return true
}

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newDeliveryID is 128 random bits: nothing about the person or the message can be read from it.
func newDeliveryID() DeliveryID {
	var b [16]byte
	rand.Read(b[:])
	var text [26]byte
	base32Lower.Encode(text[:], b[:])
	return DeliveryID(text[:])
}
