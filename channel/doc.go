// Package channel holds no code: it tells how to write an [appio.Channel], which carries messages out of the engine, to a
// provider of e-mail, text messages or push notifications, or to a system of the host's own. The channels that come with
// appio are the packages below this one. Package channeltest checks a channel by the rules on this page, stands in for one in
// tests, and makes one fail on purpose.
//
// # One call, one attempt
//
// Deliver tries once to hand one delivery to the provider. The engine calls it, and the engine alone decides whether and when
// it is called again: it keeps the work in the store, waits longer after each failure, gives up after Options.MaxAttempts and
// leaves the delivery to the operator as parked. So a channel has no retry loop, no queue and no buffer of its own. Retries
// inside a client library are best turned off: they take the time of the attempt, and while they last a revocation waits. net/http itself
// may send a request again that has a header Idempotency-Key, where a connection ends before the answer; with Request.GetBody set to nil
// it does not.
//
// Deliver returns when the provider has taken the message or has refused it. What nil means is what the engine then records
// as proof: delivered. A channel that answers nil and sends a moment later breaks two promises at once. If the process ends
// in between, the message is lost though it counts as sent; and if the citizen withdraws in between, it is sent although the
// withdrawal was confirmed.
//
// # What an error means
//
// An error without a mark means that it did not work this time: the engine tries again, after a pause that grows. Three marks
// say more.
//
//   - [appio.Permanent]: no further attempt can mend this, because the provider refuses the request itself. The delivery is
//     parked at once. Credentials that the provider rejects are no such case: they are put right while deliveries wait.
//   - [appio.RetryAfter]: the provider asked for a pause; the next attempt is not before it. Options.Backoff still counts
//     where it is longer.
//   - [appio.Gone]: the address does not exist any more, as when an app was removed or a mailbox closed. The engine takes the
//     address out of the profile and records that in the citizen's history, so it must be the provider's clear word about
//     this address, not a guess.
//
// A mark counts wherever it stands in a chain of wrapped errors. When in doubt leave it away: an attempt too many costs less
// than a message that never comes.
//
// Text of the error is kept, cut to 200 bytes, for the operator to read. It must name no person: no address, no fiscal code,
// nothing of the message. The engine blanks an address or code that it finds there word for word, but cannot find one that
// was encoded or shortened on the way. Errors of HTTP clients hold the whole URL: a request whose path or query has an address
// in it needs its error replaced.
//
// # A delivery
//
// A Delivery holds what the channel may show, and nothing beyond: with Generic content Subject and Markdown are empty and
// Payment is nil, and the channel says that there is a message, and whose. Every channel must manage with that, since a
// citizen may choose Generic for any of them, and a secure service may impose it. ServiceName and OrganizationName are for
// people to read; the latter is empty where the operator has not named the organization. Language is the citizen's first, and
// empty if none was chosen. Texts can be as long as messages may be, and hold any character, line breaks in a subject among
// them: what goes into a header, a URL or a command is encoded or cleaned by the channel.
//
// Where Digest is set, the delivery stands for several messages. Subject and Markdown say so in words, and Message is the digest's id, to
// which no link leads. What the citizen reads before a later attempt is not in that any more.
//
// Address is where to. Its Value is what the citizen gave for this channel; the engine does not know what a good one looks
// like, so the channel checks, and answers Permanent for one that cannot be. Where Route.ByCode is set, the provider itself
// knows where people are: then To is the person's fiscal code, and Address is zero. A channel serves one of these two kinds, or
// both, and answers Permanent for the other.
//
// The channel may keep a delivery, but has no reason to. It writes no address, code, token or text to a log; a Delivery printed
// or logged as a whole shows none of them.
//
// Withdraw is a token by which the person who received the message stops this service's use of this channel, with one click
// and without a login: a channel that can show a link puts it into one, behind which the host calls Engine.Withdraw. Bounce, with
// Route.Bounces, is a token that goes along with the message where what cannot be delivered comes back: the host, or the channel's package,
// finds it there and calls Engine.Bounced.
//
// # The same delivery twice
//
// ID is random, says nothing about anybody, and is the same on every attempt. After a crash, a timeout or a lost answer
// the engine cannot know whether an attempt reached the provider, and tries again. Pass ID on as the provider's idempotency key,
// reference or Message-ID, in whatever field it has: a provider that recognises it can drop the second copy, and no one else
// can. The channel itself does not refuse an ID that it has seen; it remembers nothing.
//
// # Time
//
// Each call has a context, which ends at Route.Timeout, when the citizen withdraws what is just being sent, and when the engine
// stops. Deliver must return soon after that, within a second or so, with whatever error there is; the outcome is then that of an
// attempt that failed, unless it returns nil because the provider took the message all the same. Pass the context to all that
// can wait: the dial, the handshake, each read and write. A withdrawal waits for the calls that it finds under way, for five
// seconds if Options.RevokeWait says nothing else, and the citizen waits with it.
//
// A call that does not come back in time is recorded as failed, but keeps its place among Route.Workers until it ends. Enough of
// them, and the channel stands still, alone: the other channels have workers of their own.
//
// # Goroutines, panics, state
//
// Deliver is called concurrently, by as many as Route.Workers, and from [appio.Engine.Run] and [appio.Engine.Flush] at the same
// time. How fast it is called is the engine's matter as well: Route.Rate.
//
// It starts nothing that outlives the call. A goroutine that does part of the work ends before Deliver returns. A pool of
// connections, or a token that is fetched anew when it expires, is no work left over, and welcome; what has to be closed in the
// end is the host's to close, after the engine.
//
// A panic is contained and counts as an error without a mark, and so is a call that ends its goroutine. Neither is a way to
// answer.
//
// # Many at once
//
// A provider that takes many messages in one request is served by an [appio.BatchChannel]. The engine then calls DeliverBatch
// alone, also for a single delivery, with 100 at most and never two of one citizen. All of the above holds for it too. It
// answers nil if all were delivered, or as many errors as there were deliveries, errs[i] for ds[i], nil where that one was
// delivered; any other number is an error for all of them. If the request as a whole fails, that error stands for each. No
// delivery is an answer of nil.
//
// A batch cannot be cancelled for the sake of one citizen who withdraws, since the others are in it: the withdrawal waits
// until the whole batch is answered. So a batch channel should be quick.
package channel
