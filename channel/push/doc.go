// Package push is a channel that sends notifications to phones and browsers: by APNs, by Firebase Cloud Messaging, and by Web Push.
//
//	key, err := push.ParseKey(p8) // as Apple hands it out
//	ch, err := push.New(&push.Options{
//		APNs: &push.Apple{Key: key, KeyID: "ABC123DEFG", TeamID: "DEF123GHIJ", Topic: "it.example.app"},
//		FCM:  &push.Firebase{Account: serviceAccountJSON},
//		Web:  &push.WebPush{Key: vapidKey, Subject: "mailto:push@example.org"},
//	})
//	eng, err := appio.Open("io.db", &appio.Options{Channels: []appio.Route{ch.Route()}})
//
//	// An app has registered: from now on its device is told. A citizen may have several.
//	phone := push.Installation{Platform: push.APNs, Token: "8f0c..."}
//	err = citizen.UpdateProfile(ctx, func(p *appio.Profile) error {
//		p.Addresses = append(p.Addresses, appio.Address{ID: installationID, Channel: appio.Push, Value: phone.Value()})
//		return nil
//	})
//
// A browser hands over its PushSubscription as JSON: [ParseSubscription] reads it. An installation that its provider calls gone is
// taken out of the profile by the engine; the app registers again when it is opened. Where somebody signs out of an app, the host takes
// its installation out.
//
// # What is shown
//
// Whose the message is, and with Full content its subject; with Generic content that there is one. Whose is the organization, and the
// service where the organization has no name: what a service is called, such as an outpatient clinic, can tell as much as a subject;
// notifications lie on locked screens, and Apple and Google read what passes through them. Texts are Italian, or English for who
// chose it or gets an English subject; Options.Text has the host's own. A reminder says that it is one, and takes the place of what was
// shown of its message before, as does a second copy of the same delivery. Apps find the message's id beside the text:
//
//	APNs      {"aps": {"alert": {"title", "body"}, "sound"}, "delivery", "message", "reminder"}
//	FCM       {"notification": {"title", "body"}, "data": {"delivery", "message", "reminder"}, "android": {"notification": {"tag"}}, "apns"}
//	Web Push  {"title", "body", "lang", "tag", "delivery", "message", "reminder"}, for the service worker to show; lang is left
//	          out where the sender does not say which language the subject is
//
// reminder is "unread", "deadline" or "unpaid", and left out with Generic content. Of several notifications for a device that is
// away FCM may keep the last alone, and every provider drops them when the delivery expires: an app that is opened looks into the inbox.
//
// # Who learns what
//
// Web Push is encrypted for the browser, and each notification is as long as any other. The name by which a later one replaces an
// earlier one is a hash of the message and the installation, so that it does not tell providers which installations are of one
// person. No token, endpoint or key is in an error of this package, and it logs nothing.
//
// The endpoint of a browser comes from whoever claims to be one. It is asked only at public addresses, by https, without redirects,
// and nothing is read of its answer but the status and Retry-After.
//
// # What an answer means
//
//	gone       Web Push 404, 410; APNs 400 BadDeviceToken, 410 Unregistered or ExpiredToken; FCM 404 UNREGISTERED
//	permanent  Web Push 400, 413 and an endpoint that may not be asked, whatever its name leads to; APNs other reasons of 400, but for those
//	           of the topic, and 413; FCM 400, 403 SENDER_ID_MISMATCH
//	later      all else, among it credentials that are refused, 429 and 5xx, and an APNs or FCM that gives no reason; not before Retry-After
//
// APNs says since when an installation is unregistered. It is not gone if its address was proved (Address.ValidatedAt) after that.
package push
