package main

// A promise is one line of the table: what it says, the tests that show it, and how what they saw is told. In seen, {name} is the
// figure of that name.
type promise struct {
	name  string
	says  string
	parts []part
	seen  string
}

// A part is a test that is run in chunks until its figures are full.
type part struct {
	pkg   string             // folder, from the repository's root
	test  string             // its name
	count int                // ITEST_COUNT of a chunk
	until map[string]float64 // figures that all chunks together reach
}

// promises are in the order of the table.
var promises = []promise{
	{
		name: "crash", says: "No accepted message is lost when the process dies; in the inbox exactly once, elsewhere at least once",
		parts: []part{{pkg: "itest/crash", test: "TestKill", count: 50, until: map[string]float64{"cycles": 1000, "accepted": 100_000}}},
		seen: "{cycles} kill -9 cycles, {at points} of them at {points_max} named points; {accepted} accepted; " +
			"{deliveries} deliveries, {copies} copies, each of what was under way at a crash; {keys of 32} keys from 32 goroutines",
	},
	{
		name: "revocation", says: "Nothing is sent once a revocation has returned",
		parts: []part{
			{pkg: "itest/revocation", test: "TestOneEngine", count: 1, until: map[string]float64{"rounds": 70}},
			{pkg: "itest/revocation", test: "TestTwoEngines", count: 1, until: map[string]float64{"rounds": 30}},
		},
		seen: "{rounds} rounds, {operations} operations, {attempts} attempts, {refusals} refusals, {stops} stops of an engine; {violations} violations",
	},
	{
		name: "simulation", says: "All of it holds together in made-up worlds, whatever fails in whichever order",
		parts: []part{{pkg: "itest/simulation", test: "TestSeeds", count: 250, until: map[string]float64{"seeds": 10_000}}},
		seen: "{seeds} seeds, {hours} hours: {steps} steps, {faults} faults, {crashes} crashes; {accepted} accepted, {deliveries} deliveries, {copies} copies, " +
			"{changes} choices; {violations} violations",
	},
	{
		name: "faults", says: "A reader never sees half a message, whichever call of the store fails",
		parts: []part{
			{pkg: ".", test: "TestFaults", count: 1, until: map[string]float64{"scripts": 8}},
			{pkg: ".", test: "TestFaultsInMadeScripts", count: 8, until: map[string]float64{"scripts": 32}},
		},
		seen: "{scripts} scripts, in each of which every call of the store failed once in 13 ways: {failing calls} failures",
	},
	{
		name: "reminders", says: "A reminder is sent once when it is due, in the day hours, and never of what is read, paid or refused",
		parts: []part{{pkg: "itest/reminders", test: "TestReminders", count: 10, until: map[string]float64{"reminders": 100_000}}},
		seen: "{worlds} times 2026 to 2036 in Rome, {leaps of the clock} leaps of the clock, {times without an engine} times without an engine, {crashes} ends of an engine at a fault, " +
			"{faults} faults of the store: {messages} messages, {reminders} reminders, {after a clock change} of them within a day of a change of the clocks; " +
			"{left out} left out, as they were refused; {copies} copies of one delivery after a fault; {violations} missed, doubled or otherwise wrong",
	},
	{
		name: "choices", says: "Nothing that interrupts begins in quiet hours; a fallback goes when its time has come, and not of what is read",
		parts: []part{{pkg: ".", test: "TestChoicesAgreeWithAModel", count: 100, until: map[string]float64{"sent": 100_000}}},
		seen:  "{worlds} times four days around a change of the clocks: {sent} deliveries, each in the minutes in which a model says so, {not sent} not sent, as they were read or refused",
	},
	{
		name: "documents", says: "A document that a message names is whole and its citizen's own; what no message has is removed, and nothing else",
		parts: []part{{pkg: ".", test: "TestDocumentsAgreeWithAModel", count: 1000, until: map[string]float64{"documents": 100_000}}},
		seen: "{worlds} made-up weeks of three citizens and two services, {crashes} ends of an engine at a commit: {documents} documents put, {read} times read as they were put, " +
			"{refused} messages refused that named one too late or twice, {erased} documents gone with an erasure, {collected} that no message had",
	},
	{
		name: "counts", says: "Statistics and the subscriptions feed equal a recount after kill -9",
		parts: []part{{pkg: "itest/counts", test: "TestCountsAfterKills", count: 40, until: map[string]float64{"cycles": 400}}},
		seen:  "{cycles} kill -9 cycles, {at points} of them at named points: {accepted} messages by service and day, {entries} entries of the feed, all as recounted",
	},
	{
		name: "channels", says: "A sick channel hurts only itself",
		parts: []part{{pkg: "itest/channels", test: "TestSickChannels", count: 10, until: map[string]float64{"rounds": 20}}},
		seen: "{rounds} rounds beside channels that hang, panic, fail and are slow: {delivered} healthy deliveries, p99 {p99 us_min} us, alone {p99 alone us_min} us; with a paused, a limited and a flooded one as well {p99 held us_min} us; " +
			"{goroutines_max} goroutines at most",
	},
	{
		name: "providers", says: "A sick provider hurts only its own channel, by the real protocols of e-mail, push and webhooks",
		parts: []part{{pkg: "itest/providers", test: "TestSickProviders", count: 5, until: map[string]float64{"outages": 60, "rounds": 20}}},
		seen: "{outages} outages of an SMTP server, an APNs or a receiver of webhooks that hangs, breaks off, does not stop, talks nonsense, or whose channel panics: " +
			"{delivered} deliveries, each taken once, {copies} copies of what was under way as a connection was cut or its time was over; {parked} poisonous ones parked, no others; median p99 of the healthy {p99 us_max} us at most, " +
			"without a sick one {p99 alone us_max} us, {again} comparisons made again; a sick channel called {calls_max} times at most in an outage, and had all within {recovered ms_max} ms after it; " +
			"{goroutines_max} goroutines, {memory MiB_max} MiB at most",
	},
	{
		name: "fairness", says: "A service with much waiting does not delay another's few",
		parts: []part{{pkg: "itest/channels", test: "TestFairness", count: 200, until: map[string]float64{"flood_max": 1_000_000}}},
		seen:  "beside a flood of {flood_max}, in one lane: ten that were stored before delivered within {stored ms_max} ms, ten that came then within {sent ms_max} ms",
	},
	{
		name: "poison", says: "What kills its channel is parked with its cause, blocks nothing, and can be replayed",
		parts: []part{{pkg: "itest/channels", test: "TestPoison", count: 10, until: map[string]float64{"messages": 100_000}}},
		seen:  "{messages} messages: {delivered} delivered, {parked} parked, {replayed} replayed",
	},
	{
		name: "disk", says: "A full disk refuses, keeps all that was accepted, and goes on when there is room",
		parts: []part{
			{pkg: "itest/disk", test: "TestFullDisk", count: 10, until: map[string]float64{"cycles": 70}},
			{pkg: "itest/disk", test: "TestMaxSize", count: 10, until: map[string]float64{"cycles": 30}},
		},
		seen: "{cycles} cycles of a full disk or file, {accepted} accepted, {refused} refused; {back ms_max} ms at most until a message was accepted again; {compacted} times a file with MaxSize had to be compacted",
	},
	{
		name: "cost", says: "Accepting a message costs the same after a long history",
		parts: []part{{pkg: "itest/hot", test: "TestCostOfAccepting", count: 10, until: map[string]float64{"history": 1_000_000}}},
		seen:  "after {history} messages of one service to one citizen {ratio_max} times what it takes after 10,000; p99 {p99 us_max} us",
	},
	{
		name: "damage", says: "Damage to the file or a backup is found, never served",
		parts: []part{{pkg: "itest/damage", test: "TestDamage", count: 20, until: map[string]float64{"damages": 10_000}}},
		seen: "{damages} damages, {found} of them found, {harmless} without effect, {rolledback} put the file back to before its last change; " +
			"{wrong} wrong values, {deaths} dead processes",
	},
	{
		name: "lock", says: "A second process on one file is refused within about a second",
		parts: []part{{pkg: "itest/lock", test: "TestSecondProcess", count: 20, until: map[string]float64{"rounds": 200}}},
		seen:  "{rounds} rounds, {messages} messages; refused after {refused ms_max} ms at most; {took over} times the first was killed while the second waited",
	},
	{
		name: "templates", says: "What a value says in a message from a template is text",
		parts: []part{{pkg: "itest/templates", test: "TestValuesStayText", count: 20, until: map[string]float64{"values": 200_000}}},
		seen:  "{templates} random templates, {values} renderings with hostile values: {violations} pages with other elements, other text or more links",
	},
	{
		name: "hostile", says: "Hostile bytes never make a decoder panic, hang or eat memory",
		parts: []part{
			{pkg: ".", test: "TestHostileBytes", count: 50, until: map[string]float64{"inputs": 4_000_000}},
			{pkg: "store/boltstore", test: "TestHostileBytes", count: 50, until: map[string]float64{"inputs": 2_500_000}},
			{pkg: "itest/hostile", test: "TestHostileBytes", count: 50, until: map[string]float64{"inputs": 3_500_000}},
		},
		seen: "{inputs} inputs; {memory MiB_max} MiB in memory at most",
	},
	{
		name: "indistinct", says: "A sender cannot tell by the clock who is not known from who refused",
		parts: []part{{pkg: "itest/indistinct", test: "TestUnknownAndRefusedTakeTheSameTime", count: 10_000, until: map[string]float64{"pairs": 10_000}}},
		seen: "{pairs} pairs of persons among {citizens_max} citizens; from the answer to a message of each one guesses right in {sent AUC_max} of all cases, " +
			"from what became of it in {looked at AUC_max}",
	},
	{
		name: "backup", says: "A backup made under load is of one moment; killed or damaged it is none",
		parts: []part{
			{pkg: "itest/backup", test: "TestUnderLoad", count: 50, until: map[string]float64{"backups": 100}},
			{pkg: "itest/backup", test: "TestKillDuringBackup", count: 50, until: map[string]float64{"kills": 100}},
		},
		seen: "{backups} backups with {messages} messages restored, {refused} damaged ones refused; {kills} kill -9 during a backup, {unfinished} unfinished",
	},
}
