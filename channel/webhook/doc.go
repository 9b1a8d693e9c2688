// Package webhook is an [appio.Channel] that posts each delivery to an HTTP endpoint, signed by Standard Webhooks 1.0
// (https://www.standardwebhooks.com), and the [Verifier] for who receives them.
//
// The sending side, to endpoints that citizens enter:
//
//	key, err := webhook.ParseKey(os.Getenv("WEBHOOK_KEY")) // whsk_...; webhook.NewKey makes one
//	hook, err := webhook.New(&webhook.Options{Keys: []webhook.Key{key}})
//	eng, err := appio.Open("io.db", &appio.Options{Channels: []appio.Route{{Name: "webhook", Channel: hook, Default: appio.Full}}})
//
// The receiving side, in any program:
//
//	key, err := webhook.ParseKey("whpk_...") // what key.Public().Text() said
//	v := &webhook.Verifier{Keys: []webhook.Key{key}}
//	http.Handle("POST /hook", v.Handler(func(ctx context.Context, id string, body []byte) error {
//		var e webhook.Event
//		if err := json.Unmarshal(body, &e); err != nil {
//			return err
//		}
//		return keep(ctx, id, e) // the same id may come again: keep it once
//	}))
//
// # What is sent
//
// A POST with an [Event] as JSON, and three headers: webhook-id, the delivery's id, the same on every attempt; webhook-timestamp, of the
// attempt, in Unix seconds; webhook-signature, one signature for each key, with blanks between them. A receiver tells by the id alone
// whether it has had a delivery: bodies can differ, since each has what may be shown when it is sent, and a Withdraw of its own.
//
// # Keys
//
// Ed25519 keys (whsk_, and whpk_ for receivers) are the better choice: who receives cannot forge, so that one key may serve all
// endpoints. A secret for HMAC-SHA256 (whsec_) is for one endpoint alone. To replace a key sign with both for a while: a receiver
// takes what one of its keys signed.
//
// # Where to
//
// An endpoint that somebody else has entered must not lead into the host's own network. Only public addresses are connected to, whatever
// the name resolved to, by https on port 443; Options has what else is allowed. Redirects are not followed, and no proxy is used. Where an
// endpoint is entered, [Channel.Check] tells what can be told of it at once.
//
// An endpoint that hangs takes one of Route.Workers until Options.Timeout. Where citizens enter endpoints there should be many, a few
// hundred, which cost nothing while nothing is sent.
//
// # What an answer means
//
// 2xx, and nothing else, is delivered. 410 from an address is [appio.Gone]. 413 and 422 are [appio.Permanent], as they are about this
// very body, and so is an address that is no URL to be asked. Retry-After counts with 429, 500 and above, up to a day. All else is an error
// that is tried again, 400, 401, 403 and 404 among it: receivers answer so while their key or route is missing. No error holds the
// URL, the host, or what it answered beyond the status.
package webhook
