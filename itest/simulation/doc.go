// Package simulation runs the real engine in a world that is made up whole: the store, the clock, the channels, the people and
// the moments at which all of them fail come from one number, the seed. Hours of the world take milliseconds, since nothing in
// it really waits, and a run that shows a bug shows it again.
//
//	go test ./simulation                                    some hundred seeds
//	ITEST_SECONDS=600 go test -v ./simulation               others, as many as its share of the time allows, 10,000 at most
//	ITEST_COUNT=10000 go test -v -timeout 1h -run TestSeeds ./simulation
//	ITEST_SEED=42 go test -v -run TestSeeds ./simulation    one seed again, with all that happens in it
//	ITEST_SEED=42 ITEST_SHRINK=200 go test -v -run TestSeeds ./simulation
//
// The last leaves out, in at most 200 tries, whatever a seed that fails does not need to fail. ITEST_FIRST is the first seed,
// ITEST_FAILURES after how many failing ones to stop.
//
// A world has one or two processes with an engine each on one store. Its steps, drawn before it begins, are what citizens,
// services and the operator do, and what befalls the processes. Each call of the store and of a channel takes a time of its
// own, in nanoseconds, so that hardly two things happen at one moment and the fake clock of testing/synctest puts all of them
// in one order. What a call meets with is decided by the seed and by what it is about, not by when it comes.
//
// The court (court_test.go) knows the truth at each moment from what is in the store, and holds against it what the engine
// answered and did.
package simulation
