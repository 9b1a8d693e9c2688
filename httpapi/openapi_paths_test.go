package httpapi

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/remotecontent"
)

// What the document says that neither the routes nor the structs do. A route that is added is added here, and its members where they keep
// rules that a type does not say: the document may ask for no more than the handler does, and every request of the tests that is answered
// with 2xx is held against it.

// says is what a status means where nothing else is said.
var says = map[int]string{
	200: "What was asked for.", 201: "It was made.", 202: "It was taken on.", 204: "It was done.",
	400: "What was sent can never work.",
	401: "Nobody is known by what was shown.",
	403: "Who asks may not do that.",
	404: "There is no such thing, or it is another's.",
	408: "The body took too long to arrive.",
	409: "It has changed meanwhile, or something else is under way, as an erasure.",
	412: "What was asked for needs something else first.",
	413: "The body is too large.",
	415: "What was sent is no JSON, or what was fetched no PDF file.",
	429: "Asked too often.",
	500: "This side failed. Whether anything was changed is not known.",
	501: "This platform does not do that.",
	410: "It is too late, or gone.",
	502: "Whom this platform had to ask has failed.",
	503: "Not now.",
	504: "Whom this platform had to ask took too long.",
}

func text(description string) m { return m{"type": "string", "description": description} }

// with is a schema with more in it.
func with(schema m, more m) m {
	all := maps.Clone(schema)
	maps.Copy(all, more)
	return all
}

func oneOf(values ...string) m { return m{"type": "string", "enum": values} }

func number(least, most, otherwise int, description string) m {
	return m{"type": "integer", "minimum": least, "maximum": most, "default": otherwise, "description": description}
}

func flagged(description string) m {
	return m{"type": "boolean", "default": false, "description": description}
}

var (
	personCode = m{"type": "string", "description": "A person's fiscal code.",
		"pattern": "^[A-Z]{6}[0-9LMNPQRSTUV]{2}[ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]$"}
	organizationCode = m{"type": "string", "description": "An organization's fiscal code.", "pattern": "^[0-9]{11}$"}
	messageIDs       = m{"type": "string", "description": "A message's id, in either case.", "pattern": "^[0-9A-Za-z]{26}$"}
	serviceIDs       = text("A service's id.")
	seconds          = m{"minimum": 3600, "maximum": 604800}
	day              = m{"type": "string", "format": "date"}
)

// pathValues are the parameters of paths that mean the same everywhere.
var pathValues = m{
	"fiscal_code": personCode,
	"service_id":  serviceIDs,
	"code":        organizationCode,
	"type":        with(oneOf("primary", "secondary"), m{"description": "Which of the two keys."}),
	"choice":      with(oneOf("DOWNLOAD", "DELETE"), m{"description": "What was asked for."}),
	"date":        with(day, m{"description": "A day of UTC."}),
	"url":         text("The document, as the message has it; it may have slashes."),
	"rpt_id":      text("The creditor's fiscal code and the notice number."),
}

// typeFacts are the types that read and write themselves as text, and those of few values.
var typeFacts = map[reflect.Type]m{
	reflect.TypeFor[Timestamp](): {"type": "string", "description": "A date and time with seconds; in UTC where no offset is given.",
		"pattern": `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.,]\d+)?(Z|[+-]\d\d:\d\d)?$`},
	reflect.TypeFor[Text]():   {"type": "string", "minLength": 1},
	reflect.TypeFor[CIDR]():   {"type": "string", "description": "A range of addresses; an address alone is a range of one. Only IPv4 is taken."},
	reflect.TypeFor[Base64](): {"type": "string", "minLength": 2, "pattern": "^[0-9A-Za-z+/\\r\\n]+=*$"},
	reflect.TypeFor[remotecontent.Content](): {"type": "object", "description": "What the sender's system says, and the documents.",
		"additionalProperties": true, "properties": m{
			"details": m{"type": "object", "description": "With subject and markdown, where the message has its text there."},
			"attachments": m{"type": "array", "items": m{"type": "object", "required": []string{"id", "url"}, "properties": m{
				"id": m{"type": "string"}, "content_type": m{"type": "string"}, "name": m{"type": "string"}, "category": m{"type": "string"},
				"url": text("Relative: the end of the path of the document."),
			}}},
		}},
	reflect.TypeFor[json.Number]():         {"type": "number"},
	reflect.TypeFor[appio.MessageID]():     {"type": "string", "pattern": "^[0-9A-HJKMNP-TV-Z]{26}$"},
	reflect.TypeFor[appio.Status]():        oneOf(string(appio.Processed), string(appio.Rejected)),
	reflect.TypeFor[appio.DataChoice]():    oneOf(string(appio.DownloadData), string(appio.DeleteData)),
	reflect.TypeFor[appio.RequestStatus](): oneOf("PENDING", "WIP", "CLOSED", "FAILED", "ABORTED"),
}

// facts are rules of members. Texts have their limits in UTF-16 units, of which a character has one or two.
var facts = m{
	"Problem.status":                                     m{"minimum": 400, "maximum": 599},
	"NewMessage.fiscal_code":                             personCode,
	"NewMessage.time_to_live":                            seconds,
	"NewMessage.feature_level_type":                      oneOf(levelStandard, levelAdvanced),
	"MessageContent.subject":                             m{"minLength": 5, "maxLength": 120, "description": "10 to 120 UTF-16 units."},
	"MessageContent.markdown":                            m{"minLength": 40, "maxLength": 10000, "description": "80 to 10,000 UTF-16 units."},
	"PaymentData.amount":                                 m{"minimum": 1, "maximum": int64(pagopa.MaxAmount)},
	"PaymentData.notice_number":                          m{"pattern": "^[0123][0-9]{17}$"},
	"Payee.fiscal_code":                                  organizationCode,
	"ThirdPartyData.has_precondition":                    oneOf("ALWAYS", "ONCE", "NEVER"),
	"SubscriptionsFeed.dateUTC":                          day,
	"ActivationPayload.fiscal_code":                      personCode,
	"ActivationPayload.status":                           oneOf("ACTIVE", "INACTIVE", "PENDING"),
	"Activation.fiscal_code":                             personCode,
	"Activation.status":                                  oneOf("ACTIVE", "INACTIVE", "PENDING"),
	"FiscalCodePayload.fiscal_code":                      personCode,
	"MessageResponse.read_status":                        oneOf("READ", "UNREAD", "UNAVAILABLE"),
	"MessageResponse.payment_status":                     oneOf("PAID", "NOT_PAID"),
	"SentMessage.fiscal_code":                            personCode,
	"SentMessage.time_to_live":                           seconds,
	"SentMessage.feature_level_type":                     oneOf(levelStandard, levelAdvanced),
	"PublicMessage.fiscal_code":                          personCode,
	"PublicMessage.time_to_live":                         seconds,
	"MessageCategory.tag":                                oneOf("GENERIC", "PAYMENT", "PN"),
	"MessageStatusChange.change_type":                    oneOf("reading", "archiving", "bulk"),
	"MessageStatusChange.is_read":                        m{"const": true},
	"ServicePreference.settings_version":                 m{"minimum": -1},
	"UserDataProcessingRequest.choice":                   oneOf("DOWNLOAD", "DELETE"),
	"Installation.platform":                              oneOf("apns", "gcm", "fcmv1"),
	"Profile.accepted_tos_version":                       m{"minimum": 1},
	"Profile.reminder_status":                            oneOf(enabled, disabled),
	"Profile.push_notifications_content_type":            oneOf(pushFull, pushGeneric),
	"PreferencesSettings.mode":                           oneOf(modeLegacy, "AUTO", "MANUAL"),
	"InitializedProfile.fiscal_code":                     personCode,
	"InitializedProfile.date_of_birth":                   day,
	"InitializedProfile.reminder_status":                 oneOf(enabled, disabled),
	"InitializedProfile.push_notifications_content_type": oneOf(pushFull, pushGeneric),
	"PaymentInfo.paFiscalCode":                           organizationCode,
	"PaymentInfo.amount":                                 m{"minimum": 1, "maximum": int64(pagopa.MaxAmount)},
	"ServiceStatus.value":                                oneOf("draft", "submitted", "approved", "rejected", "deleted"),
	"PublishedService.status":                            oneOf("published", "unpublished"),
	"ServiceHistoryStatus.kind":                          oneOf("lifecycle", "publication"),
	"ServiceHistoryStatus.value":                         oneOf("draft", "submitted", "approved", "rejected", "deleted", "published", "unpublished"),
	"ServiceMetadata.scope":                              oneOf("NATIONAL", "LOCAL"),
	"ServiceMetadataPayload.scope":                       oneOf("NATIONAL", "LOCAL"),
	"ServiceMetadataPayload.topic_id":                    m{"minimum": 0},
	"OrganizationPayload.fiscal_code":                    organizationCode,
	"Organization.fiscal_code":                           organizationCode,
	"RCConfiguration.has_precondition":                   oneOf("ALWAYS", "ONCE", "NEVER"),
	"PaymentInfo.dueDate":                                day,
}

// letter is a message that may be sent.
func letter(to *string) NewMessage {
	return NewMessage{FiscalCode: to, Content: MessageContent{Subject: "Iscrizione alla mensa", Markdown: strings.Repeat("Le iscrizioni aprono. ", 6)}}
}

// payload is a service that may be prepared.
func payload() ServicePayload {
	return ServicePayload{
		Name: "Mensa", Description: "La mensa", Organization: OrganizationPayload{Name: "Comune", FiscalCode: "15376371009"},
		Metadata: ServiceMetadataPayload{Scope: "LOCAL"},
	}
}

// configured is a system that may be said.
func configured() RCConfiguration {
	return RCConfiguration{Name: "Protocollo", Description: "Gli atti", HasPrecondition: "NEVER", DisableLollipop: []string{},
		Prod: &RCEnvironment{"https://comune.example.it", RCAuthentication{HeaderKeyName: "X-Key", Key: "una chiave", Type: "API_KEY"}}}
}

func someone() *string {
	code := string(fiscalcode.Sandbox)
	return &code
}

var (
	idempotency = m{"Idempotency-Key": m{"type": "string", "minLength": 1, "maxLength": 200,
		"description": "The same key with the same message is the same message, for 30 days; the same key with another is 409."}}
	alsoPublic = flagged("Also what a list shows of the message.")
)

// operations say what the routes do, by their patterns. What they take is given by a body that can work.
var operations = map[string]operation{
	"GET /api/openapi.json": {id: "document", says: "This document.", out: map[int]any{200: m(nil)}},

	"POST /api/v1/messages": {id: "sendMessage", says: "Send a message to the citizen whom the body names. Whether they agree does not show here.",
		header: idempotency, in: letter(someone()), out: map[int]any{201: CreatedMessage{}}, location: true, errors: []int{409}},
	"POST /api/v1/messages/{fiscal_code}": {id: "sendMessageTo", says: "Send a message to the citizen in the path.",
		header: idempotency, in: letter(nil), out: map[int]any{201: CreatedMessage{}}, location: true, errors: []int{409}},
	"GET /api/v1/messages/{fiscal_code}/{id}": {id: "sentMessage", says: "What became of a message that this service sent.",
		path: m{"id": text("The message's id.")}, out: map[int]any{200: MessageResponse{}}, errors: []int{400, 404}},
	"POST /api/v1/profiles": {id: "askProfile", says: "Whether a message to the citizen in the body would be processed now.",
		in: FiscalCodePayload{*someone()}, out: map[int]any{200: LimitedProfile{}}, errors: []int{404}},
	"GET /api/v1/profiles/{fiscal_code}": {id: "askProfileOf", says: "Whether a message to the citizen in the path would be processed now.",
		out: map[int]any{200: LimitedProfile{}}, errors: []int{400, 404, 429}},

	"GET /api/v1/subscriptions-feed/{date}": {id: "subscriptionsFeed", says: "Whom the service may write to since a day, and whom no longer.",
		out: map[int]any{200: SubscriptionsFeed{}}, errors: []int{400, 404, 429, 501}},
	"POST /api/v1/activations": {id: "activation", says: "What this special service said last of a citizen.",
		in: FiscalCodePayload{*someone()}, out: map[int]any{200: Activation{}}, errors: []int{404}},
	"POST /api/v1/activations/{$}": {id: "activationToo", says: "The same.",
		in: FiscalCodePayload{*someone()}, out: map[int]any{200: Activation{}}, errors: []int{404}},
	"PUT /api/v1/activations": {id: "activate", says: "Say whether this special service serves a citizen.",
		in: ActivationPayload{*someone(), "ACTIVE"}, out: map[int]any{200: Activation{}}, errors: []int{404}},
	"PUT /api/v1/activations/{$}": {id: "activateToo", says: "The same.",
		in: ActivationPayload{*someone(), "ACTIVE"}, out: map[int]any{200: Activation{}}, errors: []int{404}},

	"POST /api/v1/manage/services": {id: "createService", says: "Prepare a new service.",
		in: payload(), out: map[int]any{201: Service{}}},
	"GET /api/v1/manage/services": {id: "listServices", says: "The services that the organization has prepared.",
		query: m{"limit": number(1, 100, 20, "How many at most."), "offset": number(0, 1<<31-1, 0, "How many to pass over.")},
		out:   map[int]any{200: ServicePage{}}, errors: []int{400}},
	"GET /api/v1/manage/services/topics": {id: "listTopics", says: "What services can be about.", out: map[int]any{200: TopicList{}}},
	"GET /api/v1/manage/services/{id}": {id: "service", says: "The next version of a service.", path: m{"id": serviceIDs},
		out: map[int]any{200: Service{}}, errors: []int{404}},
	"PUT /api/v1/manage/services/{id}": {id: "editService", says: "Edit the next version of a service.", path: m{"id": serviceIDs},
		in: payload(), out: map[int]any{200: Service{}}, errors: []int{404, 409}},
	"DELETE /api/v1/manage/services/{id}": {id: "deleteService", says: "End a service for good.", path: m{"id": serviceIDs},
		out: map[int]any{204: nil}, errors: []int{404, 409}},
	"PUT /api/v1/manage/services/{id}/logo": {id: "putServiceLogo", says: "Set the logo of a service.", path: m{"id": serviceIDs},
		in: LogoPayload{Base64("PNG")}, out: map[int]any{204: nil}, errors: []int{404}},
	"GET /api/v1/manage/services/{id}/history": {id: "serviceHistory", says: "What happened to a service.", path: m{"id": serviceIDs},
		query: m{
			"order": m{"type": "string", "enum": []string{"ASC", "DESC"}, "default": "DESC", "description": "Oldest or newest first."},
			"limit": number(1, 100, 10, "How many at most."), "continuationToken": text("As it was answered, for what comes after."),
		}, out: map[int]any{200: ServiceHistory{}}, errors: []int{400, 404}},
	"GET /api/v1/manage/services/{id}/keys": {id: "serviceKeys", says: "The keys of a service.", path: m{"id": serviceIDs},
		out: map[int]any{200: ServiceKeys{}}, errors: []int{404}},
	"PUT /api/v1/manage/services/{id}/keys/{type}": {id: "changeServiceKey", says: "Make a new key, which ends the one before at once.",
		path: m{"id": serviceIDs}, out: map[int]any{200: ServiceKeys{}}, errors: []int{400, 404}},
	"PUT /api/v1/manage/services/{id}/review": {id: "reviewService", says: "Give the next version to review.", path: m{"id": serviceIDs},
		in: ReviewRequest{}, out: map[int]any{204: nil}, errors: []int{404, 409}},
	"POST /api/v1/manage/services/{id}/release": {id: "publishService", says: "Publish what was approved.", path: m{"id": serviceIDs},
		out: map[int]any{204: nil}, errors: []int{404}},
	"GET /api/v1/manage/services/{id}/release": {id: "publishedService", says: "What citizens see of a service.", path: m{"id": serviceIDs},
		out: map[int]any{200: PublishedService{}}, errors: []int{404}},
	"DELETE /api/v1/manage/services/{id}/release": {id: "unpublishService", says: "Stop a service.", path: m{"id": serviceIDs},
		out: map[int]any{204: nil}, errors: []int{404}},
	"PUT /api/v1/organizations/{code}/logo": {id: "putOrganizationLogo", says: "Set the logo of an organization.",
		in: LogoPayload{Base64("PNG")}, out: map[int]any{202: nil}},

	"POST " + configurations: {id: "createConfiguration", says: "Say how a system is reached that has the content of messages.",
		in: configured(), out: map[int]any{201: CreatedRCConfiguration{}}},
	"GET " + configurations: {id: "listConfigurations", says: "The systems of the organization.", out: map[int]any{200: RCConfigurationList{}}},
	"GET " + configurations + "/{id}": {id: "configuration", says: "One such system.", path: m{"id": text("The configuration's id.")},
		out: map[int]any{200: OwnedRCConfiguration{}}, errors: []int{404}},
	"PUT " + configurations + "/{id}": {id: "putConfiguration", says: "Say it anew.", path: m{"id": text("The configuration's id.")},
		in: configured(), out: map[int]any{204: nil}, errors: []int{404}},

	"GET /api/communication/v1/third-party-messages/{id}": {id: "thirdPartyMessage", says: "Open what a message has in its sender's system.",
		path: m{"id": messageIDs}, out: map[int]any{200: ThirdPartyMessage{}}, errors: []int{400, 404, 409, 410, 429, 501, 502, 504}},
	"GET /api/communication/v1/third-party-messages/{id}/precondition": {id: "precondition", says: "What is shown before that; 204: nothing.",
		path: m{"id": messageIDs}, out: map[int]any{200: remotecontent.Precondition{}, 204: nil}, errors: []int{400, 404, 409, 410, 429, 501, 504}},
	"GET /api/communication/v1/third-party-messages/{id}/attachments/{url...}": {id: "attachment", says: "A document of a message.",
		path: m{"id": messageIDs}, out: map[int]any{200: media("application/octet-stream")}, errors: []int{400, 404, 409, 410, 415, 429, 501, 504}},
	"GET /api/communication/v1/messages": {id: "listMessages", says: "The inbox, or the archive, newest first.",
		query: m{
			"page_size": number(1, mostMessages, mostMessages, "How many at most."), "archived": flagged("The archive."),
			"enrich_result_data": flagged("With what a list shows."),
			"maximum_id":         with(messageIDs, m{"description": "Only what is older than this message."}),
			"minimum_id":         with(messageIDs, m{"description": "Only what is newer than this message."}),
		}, out: map[int]any{200: MessagePage{}}, errors: []int{400, 409}},
	"GET /api/communication/v1/messages/{id}": {id: "message", says: "One message whole.", path: m{"id": messageIDs},
		query: m{"public_message": alsoPublic}, out: map[int]any{200: ReceivedMessage{}}, errors: []int{400, 404, 409}},
	"PUT /api/communication/v1/messages/{id}/status": {id: "changeMessage", says: "Say that a message was read, or move it to the archive or back.",
		path: m{"id": messageIDs}, in: MessageStatusChange{ChangeType: "archiving", IsArchived: new(bool)}, out: map[int]any{200: MessageStatusChanged{}}, errors: []int{404, 409}},
	"PUT /api/v1/messages/{id}/message-status": {id: "changeMessageEarlier", says: "The same, where earlier apps have it.",
		path: m{"id": messageIDs}, in: MessageStatusChange{ChangeType: "archiving", IsArchived: new(bool)}, out: map[int]any{200: MessageStatusChanged{}}, errors: []int{404, 409}},
	"PUT /api/communication/v1/installations/{id}": {id: "putInstallation", says: "Say where push reaches an installed app.",
		path: m{"id": m{"type": "string", "maxLength": 64, "description": "The installation's id."}}, in: Installation{"apns", strings.Repeat("0a", 32)},
		out: map[int]any{200: SuccessResponse{}}, errors: []int{409}},
	"GET /api/communication/v1/payment/info/{rpt_id}": {id: "paymentInfo", says: "What is to be paid of a notice now.",
		query: m{"test": flagged("Asked of a test platform, which there is none of here.")},
		out:   map[int]any{200: PaymentInfo{}, 404: PaymentFault{}, 409: PaymentFault{}, 502: PaymentFault{}, 503: PaymentFault{}}, errors: []int{400, 429, 501}},
	"GET /api/communication/v1/send/activation": {id: "sendActivation", says: "Whether the citizen gets courtesy notices of SEND.",
		query: m{"isTest": flagged("Of the test service.")}, out: map[int]any{200: SendActivation{}}, errors: []int{400, 404}},
	"POST /api/communication/v1/send/activation": {id: "setSendActivation", says: "Switch courtesy notices of SEND on or off.",
		query: m{"isTest": flagged("Of the test service.")}, in: SendActivation{}, out: map[int]any{204: nil}, errors: []int{404, 409}},

	"GET /api/identity/v1/profile": {id: "profile", says: "The citizen's profile.", out: map[int]any{200: InitializedProfile{}}},
	"POST /api/identity/v1/profile": {id: "updateProfile", says: "Change the citizen's profile.",
		in: Profile{Settings: &PreferencesSettings{"AUTO"}}, out: map[int]any{200: InitializedProfile{}}, errors: []int{409, 412}},
	"POST /api/identity/v1/email-validation-process": {id: "validateEmail", says: "Have a mail sent that proves the e-mail address.",
		out: map[int]any{202: nil}, errors: []int{400, 404, 501}},
	"GET /api/identity/v1/services/{service_id}/preferences": {id: "servicePreference", says: "What a service may do.",
		out: map[int]any{200: ServicePreference{}}, errors: []int{404, 409}},
	"POST /api/identity/v1/services/{service_id}/preferences": {id: "setServicePreference", says: "Say what a service may do.",
		in: ServicePreference{}, out: map[int]any{200: ServicePreference{}}, errors: []int{404, 409}},
	"POST /api/identity/v1/user-data-processing": {id: "requestData", says: "Ask for a copy of what is kept about the citizen, or for its deletion.",
		in: UserDataProcessingRequest{"DELETE"}, out: map[int]any{200: UserDataProcessing{}}, errors: []int{404, 409}},
	"GET /api/identity/v1/user-data-processing/{choice}": {id: "dataRequest", says: "Where the last such request stands.",
		out: map[int]any{200: UserDataProcessing{}}, errors: []int{400, 404}},
	"DELETE /api/identity/v1/user-data-processing/{choice}": {id: "abortDataRequest", says: "Take a deletion back that has not begun.",
		out: map[int]any{202: nil}, errors: []int{400, 404, 409}},
}

// examples are values of path parameters that can work, for tests that go to every path.
var examples = map[string]string{
	"url...": "atto", "date": "2026-03-02", "code": "15376371009", "type": "primary", "fiscal_code": string(fiscalcode.Sandbox), "id": "01BX9NSMKVXXS5PSP2FATZMYYY", "service_id": "mensa", "choice": "DELETE", "rpt_id": "01199250158302032002700000251",
}
