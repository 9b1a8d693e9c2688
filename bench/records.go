package main

import (
	"encoding/binary"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/workload"
)

// What the other contenders store is as long as appio's own records of the same things, and costs them nothing to encode: a
// header and filling. TestSizes compares them.
const (
	serviceBytes    = 104
	profileBytes    = 274
	preferenceBytes = 71
	contentBytes    = 758 // of a message
	decisionBytes   = 170
	outcomeBytes    = 147 // of all channels of one message
)

// record is a header, filled up to a length.
func record(length int, header ...byte) []byte {
	b := make([]byte, length)
	n := copy(b, header)
	for i := n; i < length; i++ {
		b[i] = byte(i * 131) // nothing that compresses away
	}
	return b
}

const (
	modeAuto   = 'A'
	modeManual = 'M'
	inboxOn    = '1'
	inboxOff   = '0'
	live       = 'L'
)

func serviceRecord() []byte { return record(serviceBytes, live) }

// profileRecord has the mode, the master switch and how many channels are on, and is filled with the citizen's addresses.
func profileRecord(citizen int) []byte {
	mode := byte(modeAuto)
	if workload.Refuses(citizen) {
		mode = modeManual
	}
	b := record(profileBytes, mode, inboxOn, byte(workload.Channels(citizen)))
	n := 3
	for _, a := range workload.Addresses(citizen) {
		n += copy(b[n:], a.Value)
	}
	return b
}

func preferenceRecord(citizen int) []byte {
	if workload.Refuses(citizen) {
		return record(preferenceBytes, inboxOff)
	}
	return record(preferenceBytes, inboxOn)
}

// content is what of a message is shown to the citizen.
func content(m appio.Message) []byte {
	b := make([]byte, 0, contentBytes)
	b = binary.AppendUvarint(b, uint64(len(m.Subject)))
	b = append(b, m.Subject...)
	b = binary.AppendUvarint(b, uint64(len(m.Markdown)))
	b = append(b, m.Markdown...)
	if m.Payment != nil {
		b = append(b, m.Payment.Number...)
		b = binary.AppendVarint(b, int64(m.Payment.Amount))
	}
	return append(b, record(max(0, contentBytes-len(b)))...)
}

// decide is the choice of the citizen, by the service, the profile and the preference (nil: none). It answers how many channels
// get the message besides the inbox, and the record of the decision with what it was made from.
func decide(service, profile, preference []byte) (accepted bool, channels int, decision []byte) {
	accepted = len(service) > 0 && service[0] == live && len(profile) > 2 && profile[1] == inboxOn
	if accepted {
		if preference != nil {
			accepted = preference[0] == inboxOn
		} else {
			accepted = profile[0] == modeAuto
		}
	}
	b := record(decisionBytes)
	n := copy(b[1:], profile[:min(3, len(profile))])
	copy(b[1+n:], preference[:min(1, len(preference))])
	if accepted {
		b[0] = 1
		channels = int(profile[2])
	}
	return accepted, channels, b
}

// outcome records that so many channels got a message.
func outcome(channels int) []byte { return record(outcomeBytes, byte(channels)) }

// A channel is called as an appio channel is: once for each delivery, with what it is to show. It does nothing.
func channel(content []byte) bool { return len(content) == contentBytes }
