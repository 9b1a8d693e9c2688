package simulation

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

// A dice decides what a call meets with: by the seed, by what the call is about, and by how many such calls there were before.
type dice struct {
	seed uint64
	mu   sync.Mutex
	seen map[string]int
}

func (d *dice) about(what ...string) *rand.Rand {
	h := fnv.New64a()
	for _, s := range what {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	key := string(h.Sum(nil))
	d.mu.Lock()
	if d.seen == nil {
		d.seen = map[string]int{}
	}
	n := d.seen[key]
	d.seen[key]++
	d.mu.Unlock()
	h.Write([]byte(strconv.Itoa(n)))
	return rand.New(rand.NewPCG(d.seed, h.Sum64()))
}

// Int64N is the engine's own chance: of pauses. It goes by the moment, so that what is asked for later does not depend on how
// often it was asked for before.
func (d *dice) Int64N(n int64) int64 {
	return d.about("chance", strconv.FormatInt(time.Now().UnixNano(), 36)).Int64N(n)
}

// Read is what the engine takes for secret: ids, keys and nonces. It goes by the moment too.
func (d *dice) Read(p []byte) (int, error) {
	r := d.about("secret", strconv.FormatInt(time.Now().UnixNano(), 36))
	for i := 0; i < len(p); i += 8 {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], r.Uint64())
		copy(p[i:], b[:])
	}
	return len(p), nil
}

// between is a time whose logarithm is drawn evenly, down to the nanosecond: most are short, some are long.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	l, m := math.Log(float64(least)), math.Log(float64(most))
	return time.Duration(math.Exp(l + (m-l)*r.Float64()))
}

func chosen[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }
