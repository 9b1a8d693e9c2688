// Package mutate gives decoders bytes that were changed on purpose, by the million: beside go test -fuzz, which looks for new ways
// through the code, it tries the same changes of the same inputs again for a seed.
package mutate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/appio-go/appio/internal/form"
)

// A Decoder reads bytes that may come from anybody.
type Decoder struct {
	Name  string
	Seeds [][]byte
	// Read decodes b. Its error says what should not be: that b was taken for what it is not, or refused with another error than
	// the one that is promised. It may choose by r.
	Read func(r *rand.Rand, b []byte) error
}

// MostMemory is what a process that reads hostile bytes may have in memory above what it had before.
const MostMemory = 512 << 20

// inRound is how many inputs are one round of form.Rounds.
const inRound = 10_000

// longest is what one input may take, on a machine that does other things too.
const longest = 5 * time.Second

// Run tries changed seeds on the decoders in turn: two rounds, or ITEST_COUNT, or what fits into a share of ITEST_SECONDS.
func Run(t *testing.T, share float64, decoders ...Decoder) {
	t.Helper()
	seed := form.Seed(t)
	form.Watch(t, 20*time.Minute)
	before := forget()
	inputs := 0
	for more := form.Rounds(t, share, 2, 1); more(); {
		for range inRound {
			d := &decoders[inputs%len(decoders)]
			r := rand.New(rand.NewPCG(seed, uint64(inputs)))
			b := Bytes(r, d.Seeds)
			began := time.Now()
			err := read(d, r, b)
			if took := time.Since(began); took > longest {
				err = fmt.Errorf("it took %v", took)
			}
			if err != nil {
				t.Fatalf("%s, input %d: %v\nof %x", d.Name, inputs, err, b[:min(len(b), 4096)])
			}
			inputs++
		}
	}
	memory := max(status("VmHWM:")-before, 0)
	form.Figures(t, map[string]float64{"inputs": float64(inputs), "memory MiB_max": float64(memory >> 20)})
	if memory > MostMemory {
		t.Errorf("the process had %d MiB more in memory", memory>>20)
	}
}

// read turns a panic into an error.
func read(d *Decoder, r *rand.Rand, b []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return d.Read(r, b)
}

// Bytes is one of the seeds, changed in a few places.
func Bytes(r *rand.Rand, seeds [][]byte) []byte {
	b := bytes.Clone(seeds[r.IntN(len(seeds))])
	for range 1 + r.IntN(5) {
		b = change(r, b, seeds)
	}
	return b
}

// telling are bytes that mean something to decoders: long lists and texts, great numbers, ends of lines.
var telling = []string{
	"\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff", "\xc6\x7f\xff\xff\xff", "\xdc\xff\xff", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x80\x80\x80\x80\x10", "\x91\x91\x91\x91\x91\x91\x91\x91", "\x81\x81\x81\x81", "\xc1", "\xc7\xff", "\xd9\xff",
	"\x00\x00\x00\x00", "\r\n", "\x00", "-1", "99999999999999999999", "\xc3\x28", "À",
}

func change(r *rand.Rand, b []byte, seeds [][]byte) []byte {
	if len(b) == 0 {
		return append(b, telling[r.IntN(len(telling))]...)
	}
	i := r.IntN(len(b))
	j := min(len(b), i+1+r.IntN(16))
	switch r.IntN(9) {
	case 0:
		b[i] ^= 1 << r.IntN(8)
	case 1:
		b[i] = byte(r.Uint32())
	case 2:
		b = append(b[:i], b[j:]...)
	case 3:
		b = b[:i]
	case 4:
		b = splice(b, i, bytes.Repeat(b[i:j], 1+r.IntN(8)))
	case 5:
		b = splice(b, i, []byte(telling[r.IntN(len(telling))]))
	case 6:
		copy(b[i:], telling[r.IntN(len(telling))])
	case 7: // the end of another
		other := seeds[r.IntN(len(seeds))]
		b = append(b[:i], other[min(i, len(other)):]...)
	default:
		for k := i; k < j; k++ {
			b[k] = byte(r.Uint32())
		}
	}
	return b[:min(len(b), 1<<20)]
}

func splice(b []byte, i int, more []byte) []byte {
	return append(b[:i:i], append(bytes.Clone(more), b[i:]...)...)
}

// forget has the process begin anew to note the most that it has in memory, and returns what it has now.
func forget() int {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // proc(5); where it is not possible, what was before counts too
	return status("VmRSS:")
}

// status returns one of the sizes that the system tells of this process, in bytes; 0 where it does not tell.
func status(name string) int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), name)
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.Atoi(fields[0])
	return kib << 10
}
