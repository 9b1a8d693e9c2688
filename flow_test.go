package appio

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
)

// What is known of a message stays known where a change of its citizen is about something else, and only there.
func TestFlows(t *testing.T) {
	t.Parallel()
	draftOf := func(rev uint64, change func(d *draft)) *draft {
		d := &draft{rev: rev, ownerCodec: ownerCodec{owner: "c/x"}}
		change(d)
		return d
	}
	for name, c := range map[string]struct {
		by    *draft
		known bool
	}{
		"another message":       {draftOf(7, func(d *draft) { d.put(store.Record{Key: messageKey("B")}) }), true},
		"its state":             {draftOf(7, func(d *draft) { d.put(store.Record{Key: stateKey("A")}) }), true},
		"its work":              {draftOf(7, func(d *draft) { d.put(store.Record{Key: leasedKey("A")}) }), false},
		"its work, given back":  {draftOf(7, func(d *draft) { d.del(leasedKey("A")); d.put(store.Record{Key: waitingKey("A")}) }), false},
		"its outcome":           {draftOf(7, func(d *draft) { d.put(store.Record{Key: outcomeKey("A")}) }), false},
		"a message deleted":     {draftOf(7, func(d *draft) { d.del(messageKey("B")) }), false},
		"the profile":           {draftOf(7, func(d *draft) { d.put(store.Record{Key: keyProfile}) }), false},
		"a preference":          {draftOf(7, func(d *draft) { d.put(store.Record{Key: prefixPreference + "s"}) }), false},
		"an activation, ended":  {draftOf(7, func(d *draft) { d.del(prefixActivation + "s") }), false},
		"an erasure":            {draftOf(7, func(d *draft) { d.put(store.Record{Key: keyTombstone}) }), false},
		"the data key":          {draftOf(7, func(d *draft) { d.del(keyDataKey) }), false},
		"one of later":          {draftOf(8, func(d *draft) { d.put(store.Record{Key: messageKey("B")}) }), false},
		"nobody knows by what":  {nil, false},
		"a task of the citizen": {draftOf(7, func(d *draft) { d.put(store.Record{Key: taskVoid}) }), true},
	} {
		fs := &flows{}
		f, other := newFlow("c/x", "A"), newFlow("c/y", "A")
		for _, f := range []*flow{f, other} {
			f.learn(&draft{}, &knowledge{rev: 7})
			fs.begin(f, 1)
		}
		fs.changed("c/x", c.by)
		k := f.known.Load()
		if c.known {
			require.NotNil(t, k, name)
			require.EqualValues(t, 8, k.rev, name)
		} else {
			require.Nil(t, k, name)
		}
		require.EqualValues(t, 7, other.known.Load().rev, name)
	}
}

func TestFlowLearns(t *testing.T) {
	t.Parallel()
	f := &flow{}
	k := &knowledge{rev: 7}
	f.learn(&draft{}, k)
	require.Same(t, k, f.known.Load())
	f.learnConsent(6, &consentState{}, &messageRecord{})
	require.Same(t, k, f.known.Load(), "what was read at another revision")
	f.learnConsent(7, &consentState{}, &messageRecord{})
	require.NotNil(t, f.known.Load().consent)
	f.learn(&draft{}, &knowledge{rev: 7})
	f.learnConsent(7, &consentState{}, &messageRecord{Markdown: strings.Repeat("x", longText+1)})
	require.Nil(t, f.known.Load().consent, "a long text is read again")
	f.learn(&draft{upset: true}, k)
	require.Nil(t, f.known.Load(), "the same change took consent away")
	f.learn(&draft{}, k)
	f.learn(nil, k)
	require.Nil(t, f.known.Load(), "an earlier attempt was committed, and what came after it is not known")
}

// Operations are merged: what one of them left of a message is known only if none after it changed that.
func TestFlowLearnsOfMergedOperations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		next  func(d *draft)
		known bool
	}{
		"nothing":           {func(d *draft) {}, true},
		"another message":   {func(d *draft) { d.put(store.Record{Key: leasedKey("B")}) }, true},
		"its work":          {func(d *draft) { d.put(store.Record{Key: leasedKey("A")}); d.find(leasedKey("A")).work = &workRecord{} }, false},
		"its work, ended":   {func(d *draft) { d.del(leasedKey("A")) }, false},
		"its outcome":       {func(d *draft) { d.put(store.Record{Key: outcomeKey("A"), Value: []byte("two")}) }, false},
		"its outcome, gone": {func(d *draft) { d.del(outcomeKey("A")) }, false},
	} {
		d := &draft{rev: 7, ownerCodec: ownerCodec{owner: "c/x"}}
		d.put(store.Record{Key: leasedKey("A")})
		d.find(leasedKey("A")).work = &workRecord{}
		d.put(store.Record{Key: outcomeKey("A"), Value: []byte("one")})
		f := newFlow("c/x", "A")
		k := d.knowledge(f.keys, nil)
		require.NotNil(t, k, name)
		c.next(d)
		f.learn(d, k)
		require.Equal(t, c.known, f.known.Load() != nil, name)
	}
}

func TestFlowsOfAnOwner(t *testing.T) {
	t.Parallel()
	fs := &flows{}
	var all []*flow
	for i := range 3 {
		f := newFlow("c/x", MessageID("ABC"[i]))
		fs.begin(f, 2)
		all = append(all, f)
	}
	count := func() (n int) {
		for f := fs.m["c/x"]; f != nil; f = f.next {
			n++
		}
		return n
	}
	for i, f := range []*flow{all[1], all[2], all[0]} { // from the middle, the head, and the last
		fs.end(f)
		require.Equal(t, 3-i, count())
		fs.end(f)
		require.Equal(t, 2-i, count())
	}
	require.Empty(t, fs.m)
}
