// Package paymentinfo is an [appio.PaymentGateway] that asks over HTTP and JSON, in the form of IO's API for citizens:
//
//	GET {address}/{rptId}
//
//	200  {"rptId", "paFiscalCode", "paName", "description", "amount", "dueDate"}, of which only amount must be there
//	404, 409, 502, 503  {"faultCodeCategory", "faultCodeDetail"}, where the category belongs to the status
//
// rptId is 29 digits, amount is in euro cents, dueDate is as 2026-11-30, and null is as good as nothing. Members of other names are not
// looked at. Where a payment goes on is for the host to say, with Options.Start, or a service of its own at Options.CheckoutURL. The form
// of that one is appio's, not pagoPA's:
//
//	POST {checkout}
//	{"key", "rptId", "amount", "paName", "description", "dueDate"}, without those of the last three that the creditor did not say
//
//	200, 201  {"url", "expiresAt"}: an absolute https URL, and as 2026-11-22T09:15:00Z until when, if there is an end
//	404, 409, 502, 503  as above
//
// The service answers the same for the same key, as [appio.PaymentGateway] says: the gateway remembers nothing.
//
// The service is not trusted more than it must be. Answers are bounded in size and time, and refused if they are not what is written
// above, to the type of each member; what is refused is an error without a fault, after which the engine tries again. So is any other
// status, and a 404 without a fault: a wrong address must not pass for an unknown notice. Redirects are not followed, and
// nothing is tried twice.
//
// The RPT id is in the path, as that API wants it: errors say nothing of the URL, and nothing of what the service wrote. What else sees
// the path, such as a proxy or a Transport that logs, is the host's to mind.
package paymentinfo
