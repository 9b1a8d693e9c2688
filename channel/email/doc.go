// Package email is a channel that sends e-mail by the host's mail server (SMTP), and what belongs to it: the links in the mail, the
// validation of addresses, and mail that comes back.
//
//	post, err := email.New(&email.Options{
//		Addr: "smtp.example.org:587", Username: "appio", Password: secret, // STARTTLS, or nothing is sent
//		From:     mail.Address{Name: "Sportello digitale", Address: "avvisi@comune.example.org"},
//		Return:   "rimbalzi@comune.example.org",
//		DKIM:     &email.DKIM{Domain: "comune.example.org", Selector: "s2026", Key: key},
//		Withdraw: "https://io.example.org/email/stop", Validate: "https://io.example.org/email/conferma",
//		Message:  func(id appio.MessageID) string { return "https://io.example.org/messaggi/" + string(id) },
//	})
//	defer post.Close()
//	eng, err := appio.Open("io.db", &appio.Options{
//		Channels: []appio.Route{{Name: appio.Email, Channel: post, Bounces: true}},
//	})
//	http.Handle("/email/stop", email.WithdrawHandler(eng))
//	http.Handle("/email/conferma", email.ValidationHandler(eng))
//
//	v, err := eng.Citizen(id).ValidateAddress(ctx, "home") // a new address: its owner confirms by the link in the mail
//	err = post.SendValidation(ctx, v)
//
//	b, err := email.ParseBounce(r) // what came to rimbalzi@comune.example.org
//	if err == nil && b.Unreachable() {
//		err = eng.Bounced(ctx, b.Token) // no more mail there, until the address is validated anew
//	}
//
// # What is sent
//
// Text and HTML, in the citizen's language (Italian or English; Italian for every other). A Generic delivery says that there is a message,
// and whose; a Full one shows the text by Options.Body, the payment and the deadline. HTML is made of the Markdown by rules that let
// nothing through that loads or runs; a picture becomes the words that describe it, and the logo comes with the mail.
//
// The Message-ID is made of the delivery's id, so that a copy that is sent again after a crash can be known as one. With Options.DKIM the
// mail is signed, and has the one click to unsubscribe of RFC 8058, which large providers ask for; without, it has a link in its foot alone.
//
// # What the server answers
//
// A reply 4yz, a failed login, a connection that breaks: the engine tries again. 421 and 4.7.z ask for a pause (Options.Pause). A
// mailbox that does not exist (5.1.1), has moved (5.1.6), or whose domain takes no mail (5.1.10) is [appio.Gone]. 5.7.z before the text is
// about who sends, as where a relay is not open to this host: the engine tries again, and its breaker sees it. Every other 5yz is
// [appio.Permanent]. Errors have the server's codes and none of its words, which may quote the address.
//
// # Addresses
//
// An address is one without quotes, comments and spaces; the domain may be in any script, and the local part, where the server knows SMTPUTF8.
// What is none is refused for good.
//
// # Bounces
//
// A header, X-Appio-Bounce, has the token of the delivery. It is sealed by the engine: a report with a forged token changes nothing,
// nor does one about an address that was changed, or validated again, since. Whoever holds a mail can report it as returned, which stops mail to
// its own address alone, as the link in its foot does.
package email
