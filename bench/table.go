package main

import (
	"cmp"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A goal is a ratio that appio is to reach.
type goal struct {
	Goal    string  `json:"goal"`
	Value   float64 `json:"value"`
	Min     float64 `json:"min"` // of the rounds
	Max     float64 `json:"max"`
	Floor   float64 `json:"floor"`
	Aim     float64 `json:"aim"`
	AtMost  bool    `json:"at_most"` // less is better
	Verdict string  `json:"verdict"`
}

// judge sets the median, the range and the verdict.
func (g goal) judge(values []float64) goal {
	g.Value, g.Min, g.Max = spread(values)
	reached := func(bound float64) bool {
		if g.AtMost {
			return g.Value <= bound
		}
		return g.Value >= bound
	}
	switch {
	case reached(g.Aim):
		g.Verdict = "aim reached"
	case reached(g.Floor):
		g.Verdict = "floor reached"
	default:
		g.Verdict = "missed"
	}
	return g
}

// spread is the median, the least and the greatest.
func spread(values []float64) (median, min, max float64) {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]
}

// of is a figure of a contender, by round; absent where it was not measured.
func of(results []result, contender string, figure func(result) float64) map[int]float64 {
	found := map[int]float64{}
	for _, r := range results {
		if v := figure(r); r.Contender == contender && v != 0 {
			found[r.Round] = v
		}
	}
	return found
}

func values(m map[int]float64) (v []float64) {
	for _, x := range m {
		v = append(v, x)
	}
	return v
}

// ratios divides round by round: what else the machine does at the time is then much the same for both.
func ratios(a, b map[int]float64) (v []float64) {
	for round, x := range a {
		if y := b[round]; y != 0 {
			v = append(v, x/y)
		}
	}
	return v
}

// logicalBytes is what appio stores of a message, on average: content, outcome and inbox entry of those that are accepted, the
// decision of all; each record with its key and owner.
const logicalBytes = 0.8*(contentBytes+outcomeBytes+2*keyBytes) + decisionBytes + keyBytes

const keyBytes = 52

// goals are those of the comparison that its results allow to judge.
func goals(results []result) (gs []goal) {
	deliveries := func(r result) float64 { return r.DeliveriesPerS }
	accepted := func(r result) float64 { return r.AcceptedPerS }
	add := func(g goal, v []float64) {
		if len(v) > 0 {
			gs = append(gs, g.judge(v))
		}
	}
	add(goal{Goal: "accepted/s, against raw bbolt writing the same bytes", Floor: 0.9, Aim: 2},
		ratios(of(results, "appio", accepted), of(results, "raw-bbolt", accepted)))
	add(goal{Goal: "deliveries/s, against River", Floor: 3, Aim: 8},
		ratios(of(results, "appio", deliveries), of(results, "river", deliveries)))
	add(goal{Goal: "deliveries/s, against a hand-written outbox", Floor: 1.2, Aim: 3},
		ratios(of(results, "appio", deliveries), of(results, "outbox", deliveries)))
	add(goal{Goal: "one sender's Send p50, in fdatasyncs of 4 KiB", Floor: 8, Aim: 3, AtMost: true},
		values(of(results, singleName, func(r result) float64 { return r.SendP50PerSync })))
	add(goal{Goal: "bytes written per delivery", Floor: 4500, Aim: 2000, AtMost: true},
		values(of(results, "appio", func(r result) float64 { return r.WrittenPer })))
	add(goal{Goal: "file bytes per message, against logical bytes", Floor: 1.5, Aim: 1.25, AtMost: true},
		values(of(results, "appio", func(r result) float64 { return r.FilePer / logicalBytes })))
	return gs
}

// table prints what docs/performance.md has.
func table(out io.Writer, t task, rounds int, results []result) {
	fmt.Fprintf(out, "\n%s\n\n", machine())
	fmt.Fprintf(out, "%s citizens, %s messages, %d senders; medians of %d rounds, with the least and the greatest.\n\n",
		thousands(float64(t.Citizens)), thousands(float64(t.Messages)), t.Senders, rounds)
	fmt.Fprintln(out, "| contender | deliveries/s | accepted/s | Send p50, µs | Send p99, µs | CPU per delivery, µs | bytes written per delivery | memory, MB |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|")
	var names []string
	for _, r := range results {
		if !slices.Contains(names, r.Contender) {
			names = append(names, r.Contender)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(place(a), place(b)) })
	for _, name := range names {
		fmt.Fprintf(out, "| %s", name)
		for _, figure := range []func(result) float64{
			func(r result) float64 { return r.DeliveriesPerS },
			func(r result) float64 { return r.AcceptedPerS },
			func(r result) float64 { return float64(r.SendP50) },
			func(r result) float64 { return float64(r.SendP99) },
			func(r result) float64 { return r.CPUPer },
			func(r result) float64 { return r.WrittenPer },
			func(r result) float64 {
				if onServer(r.Contender) {
					return 0 // the server has it
				}
				return float64(r.RSSBytes) / 1e6
			},
		} {
			fmt.Fprintf(out, " | %s", cell(values(of(results, name, figure)), thousands))
		}
		fmt.Fprintln(out, " |")
	}
	if gs := goals(results); len(gs) > 0 {
		fmt.Fprintln(out)
		verdicts(out, gs)
	}
}

func onServer(contender string) bool {
	return contender == "river" || contender == "outbox" || contender == "river-noop"
}

// place is that of a contender in the table.
func place(name string) int {
	if name == singleName {
		name = "appio"
	}
	return slices.Index(order, name)
}

func verdicts(out io.Writer, gs []goal) {
	fmt.Fprintln(out, "| goal | measured | floor | aim | |")
	fmt.Fprintln(out, "|---|---|---|---|---|")
	for _, g := range gs {
		sign := "≥ "
		if g.AtMost {
			sign = "≤ "
		}
		fmt.Fprintf(out, "| %s | %s | %s%s | %s%s | %s |\n", g.Goal, span(g.Value, g.Min, g.Max, short), sign, short(g.Floor), sign, short(g.Aim), g.Verdict)
	}
}

func cell(v []float64, format func(float64) string) string {
	if len(v) == 0 {
		return ""
	}
	median, min, max := spread(v)
	return span(median, min, max, format)
}

// span is a figure with its range, where there is one.
func span(median, min, max float64, format func(float64) string) string {
	if min == max {
		return format(median)
	}
	return fmt.Sprintf("%s (%s–%s)", format(median), format(min), format(max))
}

// short has as many digits as one reads.
func short(v float64) string {
	if v >= 100 {
		return thousands(v)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// thousands is a number without decimals: 12,345.
func thousands(v float64) string {
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// machine says when, on what and of which commit figures are.
func machine() string {
	commit := "unknown commit"
	if out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		commit = "commit " + strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%s, %s, %s/%s, %d cores, %s.",
		time.Now().UTC().Format(time.DateOnly), commit, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}
