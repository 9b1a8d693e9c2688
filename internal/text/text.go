// Package text has the rules on texts that more than one package goes by: how long they may be, which of several languages a reader
// is shown, and how a language writes days, moments and amounts.
package text

import "strings"

// The limits of the real system's NewMessage, in UTF-16 units.
const (
	MinSubject, MaxSubject   = 10, 120
	MinMarkdown, MaxMarkdown = 80, 10000
)

// Units is how long s is in UTF-16 units.
func Units(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

// TagRule says what [ValidTag] asks for.
const TagRule = "a language tag, such as it or de-AT (BCP 47)"

// ValidTag reports whether s may be a language tag: parts of one to eight letters and digits, the first of two letters or more. Which
// tags there are it does not know.
func ValidTag(s string) bool {
	parts := strings.Split(s, "-")
	for i, part := range parts {
		if len(part) < 1 || len(part) > 8 || i == 0 && len(part) < 2 {
			return false
		}
		for _, r := range part {
			if letter := 'a' <= r|0x20 && r|0x20 <= 'z'; !letter && (i == 0 || r < '0' || r > '9') {
				return false
			}
		}
	}
	return len(s) <= 35
}

// Primary is the first part of a tag: "de" of "de-AT".
func Primary(tag string) string {
	primary, _, _ := strings.Cut(tag, "-")
	return primary
}

// Choose is which of n languages a reader is shown who prefers some, in order: for each of these the very tag, else the longest tag
// that it begins with ("de" for "de-AT"), else the first with the same primary language ("de-CH" for "de-AT"). -1: none of them.
func Choose(preferred []string, n int, tag func(i int) string) int {
	for _, p := range preferred {
		for want := p; want != ""; {
			for i := range n {
				if strings.EqualFold(tag(i), want) {
					return i
				}
			}
			want = want[:max(strings.LastIndexByte(want, '-'), 0)]
		}
		for i := range n {
			if t := tag(i); t != "" && strings.EqualFold(Primary(t), Primary(p)) {
				return i
			}
		}
	}
	return -1
}
