// Package httpapi holds the tests of package httpapi that need more than the library: a client that was generated from PagoPA's document,
// and a validator of OpenAPI documents.
package httpapi

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/itest/httpapi/ioclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	comune  = fiscalcode.Organization("15376371009")
	ada     = fiscalcode.Person("LVLDAA85T50G702B")
	nobody  = fiscalcode.Person("RSSMRA85M10H501S")
	manages = "key-of-the-comune-for-managing"
	special = "key-of-a-special-service"
)

// A platform is an engine on a file, over HTTP.
type platform struct {
	t   *testing.T
	eng *appio.Engine
	url string
}

func setup(t *testing.T) *platform {
	eng, err := appio.Open(filepath.Join(t.TempDir(), "io.db"), &appio.Options{FeedDays: 30})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, eng.Close()) })
	ctx := t.Context()
	require.NoError(t, eng.PutOrganization(ctx, appio.Organization{Code: comune, Name: "Comune di Esempio", SignedAt: time.Now().Add(-time.Hour)}))
	require.NoError(t, eng.Authority(comune).PutManageKey(ctx, appio.ManageKey{ID: "gestionale", Role: appio.Administrator}))
	require.NoError(t, eng.Authority(comune).SetManageKey(ctx, "gestionale", appio.Primary, manages))
	require.NoError(t, eng.PutService(ctx, appio.Service{ID: "carta", Name: "Carta", Organization: comune, State: appio.Live, Category: appio.Special}))
	require.NoError(t, eng.PutKey(ctx, "carta", appio.Primary, special))
	require.NoError(t, eng.Citizen(appio.Identity{Code: ada, Level: appio.L2}).SetMode(ctx, appio.Auto))
	srv := httptest.NewServer(httpapi.Handler(eng, nil))
	t.Cleanup(srv.Close)
	return &platform{t, eng, srv.URL}
}

// as is a client with a key.
func (p *platform) as(key string) *ioclient.ClientWithResponses {
	c, err := ioclient.NewClientWithResponses(p.url+"/api/v1", ioclient.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Ocp-Apim-Subscription-Key", key)
		return nil
	}))
	require.NoError(p.t, err)
	return c
}

// answered fails where there is an error, or another status.
func answered[R interface{ StatusCode() int }](t *testing.T, status int) func(R, error) R {
	return func(r R, err error) R {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, status, r.StatusCode())
		return r
	}
}

// A service's life: prepared, reviewed, published, used, stopped and deleted.
func TestGeneratedClient(t *testing.T) {
	t.Parallel()
	p := setup(t)
	ctx := t.Context()
	manager := p.as(manages)

	// It is prepared.
	topics := answered[*ioclient.GetServiceTopicsResponse](t, 200)(manager.GetServiceTopicsWithResponse(ctx)).JSON200.Topics
	require.NotEmpty(t, *topics)
	privacy, mail := "https://example.it/privacy", "scuola@example.it"
	payload := ioclient.CmsServicePayload{
		Name: "Scuola", Description: "Iscrizioni e rette", Organization: ioclient.CmsOrganization{FiscalCode: string(comune), Name: "Comune di Esempio"},
		AuthorizedRecipients: &[]string{string(ada)}, MaxAllowedPaymentAmount: new(int32(100_00)), RequireSecureChannel: new(false),
		Metadata: ioclient.CmsServicePayloadMetadata{Scope: "LOCAL", TopicId: (*topics)[1].Id, PrivacyUrl: &privacy, Email: &mail},
	}
	made := answered[*ioclient.CmsCreateServiceResponse](t, 201)(manager.CmsCreateServiceWithResponse(ctx, payload)).JSON201
	require.Equal(t, "draft", string(made.Status.Value))
	id := made.Id
	payload.Description = "Iscrizioni, rette e mensa"
	edited := answered[*ioclient.CmsUpdateServiceResponse](t, 200)(manager.CmsUpdateServiceWithResponse(ctx, id, payload)).JSON200
	require.Equal(t, payload.Description, edited.Description)
	require.Equal(t, (*topics)[1].Id, edited.Metadata.Topic.Id)
	require.Equal(t, edited, answered[*ioclient.CmsGetServiceResponse](t, 200)(manager.CmsGetServiceWithResponse(ctx, id)).JSON200)
	list := answered[*ioclient.CmsGetServicesResponse](t, 200)(manager.CmsGetServicesWithResponse(ctx, &ioclient.CmsGetServicesParams{Limit: new(10)})).JSON200
	require.Equal(t, id, (*list.Value)[0].Id)
	require.EqualValues(t, 1, *list.Pagination.Count)
	var logo bytes.Buffer
	require.NoError(t, png.Encode(&logo, image.NewGray(image.Rect(0, 0, 8, 8))))
	answered[*ioclient.CmsUpdateServiceLogoResponse](t, 204)(manager.CmsUpdateServiceLogoWithResponse(ctx, id, ioclient.Logo{Logo: logo.Bytes()}))
	answered[*ioclient.UploadOrganizationLogoResponse](t, 202)(manager.UploadOrganizationLogoWithResponse(ctx, string(comune), ioclient.Logo{Logo: logo.Bytes()}))

	// In trial it writes to its authorised recipients, by its first key, and by the next one.
	keys := answered[*ioclient.CmsGetServiceKeysResponse](t, 200)(manager.CmsGetServiceKeysWithResponse(ctx, id)).JSON200
	message := ioclient.NewMessage{TimeToLive: new(3600), Content: ioclient.MessageContent{
		Subject: "Iscrizione alla mensa", Markdown: strings.Repeat("Le iscrizioni aprono. ", 6), DueDate: new("2027-10-13T00:00:00.000Z"),
		PaymentData: &ioclient.PaymentData{Amount: 50_00, NoticeNumber: "302032002700000251"},
	}}
	answered[*ioclient.SubmitMessageforUserResponse](t, 201)(p.as(keys.PrimaryKey).SubmitMessageforUserWithResponse(ctx, string(ada), message))
	answered[*ioclient.SubmitMessageforUserResponse](t, 403)(p.as(keys.PrimaryKey).SubmitMessageforUserWithResponse(ctx, string(nobody), message))
	renewed := answered[*ioclient.CmsRegenerateServiceKeyResponse](t, 200)(manager.CmsRegenerateServiceKeyWithResponse(ctx, id, "primary")).JSON200
	require.NotEqual(t, keys.PrimaryKey, renewed.PrimaryKey)
	require.Equal(t, keys.SecondaryKey, renewed.SecondaryKey)
	answered[*ioclient.SubmitMessageforUserResponse](t, 401)(p.as(keys.PrimaryKey).SubmitMessageforUserWithResponse(ctx, string(ada), message))

	// It is reviewed and published.
	answered[*ioclient.CmsReviewServiceResponse](t, 204)(manager.CmsReviewServiceWithResponse(ctx, id, ioclient.CmsReviewRequest{}))
	_, err := p.eng.Approve(ctx, appio.ServiceID(id), "anna")
	require.NoError(t, err)
	answered[*ioclient.CmsReleaseServiceResponse](t, 204)(manager.CmsReleaseServiceWithResponse(ctx, id))
	live := answered[*ioclient.CmsGetPublishedServiceResponse](t, 200)(manager.CmsGetPublishedServiceWithResponse(ctx, id)).JSON200
	require.Equal(t, "published", string(live.Status))

	// It sends, to a citizen who agrees and to one who is not known, and reads what became of it.
	sender := p.as(renewed.PrimaryKey)
	profile := answered[*ioclient.GetProfileByPOSTResponse](t, 200)(sender.GetProfileByPOSTWithResponse(ctx, ioclient.FiscalCodePayload{FiscalCode: string(ada)})).JSON200
	require.True(t, profile.SenderAllowed)
	require.Equal(t, profile, answered[*ioclient.GetProfileResponse](t, 200)(sender.GetProfileWithResponse(ctx, string(ada))).JSON200)
	unknown := answered[*ioclient.GetProfileResponse](t, 404)(sender.GetProfileWithResponse(ctx, string(nobody)))
	require.Nil(t, unknown.JSON200)
	for to, want := range map[fiscalcode.Person]string{ada: "PROCESSED", nobody: "REJECTED"} {
		message.FiscalCode = new(string(to))
		sent := answered[*ioclient.SubmitMessageforUserWithFiscalCodeInBodyResponse](t, 201)(
			sender.SubmitMessageforUserWithFiscalCodeInBodyWithResponse(ctx, message)).JSON201
		is := answered[*ioclient.GetMessageResponse](t, 200)(sender.GetMessageWithResponse(ctx, string(to), *sent.Id)).JSON200
		require.Equal(t, want, *is.Status)
		if want == "PROCESSED" {
			require.Equal(t, string(comune), is.Message.Content.PaymentData.Payee.FiscalCode)
		}
	}
	answered[*ioclient.GetSubscriptionsFeedForDateResponse](t, 404)(sender.GetSubscriptionsFeedForDateWithResponse(ctx, "2026-01-01"))
	missing := answered[*ioclient.GetMessageResponse](t, 404)(sender.GetMessageWithResponse(ctx, string(ada), "01BX9NSMKVXXS5PSP2FATZMYYY"))
	require.Equal(t, "Message not found", *missing.JSON404.Title)

	// It is stopped, and goes.
	answered[*ioclient.CmsUnpublishServiceResponse](t, 204)(manager.CmsUnpublishServiceWithResponse(ctx, id))
	answered[*ioclient.SubmitMessageforUserWithFiscalCodeInBodyResponse](t, 403)(sender.SubmitMessageforUserWithFiscalCodeInBodyWithResponse(ctx, message))
	answered[*ioclient.CmsDeleteServiceResponse](t, 204)(manager.CmsDeleteServiceWithResponse(ctx, id))
	history := answered[*ioclient.CmsGetServiceHistoryResponse](t, 200)(manager.CmsGetServiceHistoryWithResponse(ctx, id, &ioclient.CmsGetServiceHistoryParams{})).JSON200
	require.Equal(t, "deleted", string((*history.Items)[0].Status.Value))
	answered[*ioclient.CmsGetServiceResponse](t, 401)(p.as("key-of-nobody-at-all").CmsGetServiceWithResponse(ctx, id))
}

func TestGeneratedClientOfASpecialService(t *testing.T) {
	t.Parallel()
	p := setup(t)
	ctx := t.Context()
	c := p.as(special)
	who := ioclient.FiscalCodePayload{FiscalCode: string(ada)}
	answered[*ioclient.GetServiceActivationByPOSTResponse](t, 404)(c.GetServiceActivationByPOSTWithResponse(ctx, who))
	set := answered[*ioclient.UpsertServiceActivationResponse](t, 200)(
		c.UpsertServiceActivationWithResponse(ctx, ioclient.ActivationPayload{FiscalCode: string(ada), Status: "ACTIVE"})).JSON200
	require.Equal(t, "ACTIVE", set.Status)
	require.Equal(t, set, answered[*ioclient.GetServiceActivationByPOSTResponse](t, 200)(c.GetServiceActivationByPOSTWithResponse(ctx, who)).JSON200)
}

func TestGeneratedClientOfRemoteContent(t *testing.T) {
	t.Parallel()
	p := setup(t)
	ctx := t.Context()
	c := p.as(manages)
	conf := ioclient.NewRCConfigurationPublic{
		Name: "Protocollo", Description: "Gli atti del comune", HasPrecondition: "ONCE", DisableLollipopFor: []string{},
		ProdEnvironment: &ioclient.RCConfigurationProdEnvironment{BaseUrl: "https://comune.example.it/atti",
			DetailsAuthentication: ioclient.RCAuthenticationConfig{HeaderKeyName: "X-Key", Key: "una-chiave", Type: "API_KEY"}},
	}
	made := answered[*ioclient.CreateRCConfigurationResponse](t, 201)(c.CreateRCConfigurationWithResponse(ctx, conf)).JSON201
	conf.Name = "Atti"
	answered[*ioclient.UpdateRCConfigurationResponse](t, 204)(c.UpdateRCConfigurationWithResponse(ctx, made.ConfigurationId, conf))
	is := answered[*ioclient.GetRCConfigurationResponse](t, 200)(c.GetRCConfigurationWithResponse(ctx, made.ConfigurationId)).JSON200
	require.Equal(t, "Atti", is.Name)
	require.Equal(t, conf.ProdEnvironment, is.ProdEnvironment)
	all := answered[*ioclient.ListRCConfigurationResponse](t, 200)(c.ListRCConfigurationWithResponse(ctx)).JSON200
	require.Equal(t, []ioclient.RCConfigurationResponse{*is}, *all.RcConfigList)
}

// The project's own document is OpenAPI 3.1, also by another reader's word.
func TestDocumentIsOpenAPI(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData([]byte(httpapi.OpenAPI()))
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context()))
	require.Equal(t, "3.1.0", doc.OpenAPI)

	doc.Paths.Find("/api/v1/profiles/{fiscal_code}").Get.Parameters = nil
	require.Error(t, doc.Validate(t.Context()))
}
