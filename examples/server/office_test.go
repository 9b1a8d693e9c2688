package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type object = map[string]any

// operator asks as the operator does.
var operator = []string{"Authorization", operatorToken}

// A service goes from a draft to citizens, with the operator's two decisions on the way.
func TestReview(t *testing.T) {
	t.Parallel()
	p := start(t)
	manage := key("manage-borgo-san-lucio")
	payload := object{"name": "Scuola", "description": "Iscrizioni e rette", "organization": object{"name": "Comune", "fiscal_code": "90012340569"},
		"metadata": object{"scope": "LOCAL", "topic_id": 6, "privacy_url": "https://example.it/privacy", "email": "scuola@example.it"}}
	var s struct {
		ID     string
		Status struct{ Value, Reason string }
	}
	p.ask(http.StatusCreated, "POST", "/api/v1/manage/services", payload, &s, manage...)
	at := "/api/v1/manage/services/" + s.ID
	waiting := func() (ids []string) {
		var all []struct{ ID, Name string }
		p.ask(http.StatusOK, "GET", "/operator/reviews", nil, &all, operator...)
		for _, d := range all {
			require.Equal(t, "Scuola", d.Name)
			ids = append(ids, d.ID)
		}
		return ids
	}
	decide := func(status int, what string) {
		p.ask(status, "POST", "/operator/reviews/"+s.ID+what, nil, nil, operator...)
	}
	require.Empty(t, waiting())
	decide(http.StatusConflict, "/approve")
	submit := func() {
		p.ask(http.StatusNoContent, "PUT", at+"/review", object{"auto_publish": true}, nil, manage...)
		require.Equal(t, []string{s.ID}, waiting())
	}
	submit()
	for _, as := range [][]string{nil, key("manage-borgo-san-lucio"), token("token-mario")} {
		p.ask(http.StatusUnauthorized, "POST", "/operator/reviews/"+s.ID+"/approve", nil, nil, as...)
		p.ask(http.StatusUnauthorized, "GET", "/operator/reviews", nil, nil, as...)
	}
	decide(http.StatusBadRequest, "/reject")
	decide(http.StatusNoContent, "/reject?reason=Manca+l%27orario")
	require.Empty(t, waiting())
	p.ask(http.StatusOK, "GET", at, nil, &s, manage...)
	require.Equal(t, "rejected", s.Status.Value)
	require.Equal(t, "Manca l'orario", s.Status.Reason)
	p.ask(http.StatusOK, "PUT", at, payload, nil, manage...)
	submit()
	decide(http.StatusNoContent, "/approve")
	var keys struct {
		Primary string `json:"primary_key"`
	}
	p.ask(http.StatusOK, "GET", at+"/keys", nil, &keys, manage...)
	require.Equal(t, "PROCESSED", p.send(keys.Primary, mario).Status)
	p.ask(http.StatusNotFound, "POST", "/operator/reviews/nessuno/approve", nil, nil, operator...)
	p.stop()
}

// Who asks for a copy of their data finds it in a file, beside the database.
func TestDownload(t *testing.T) {
	t.Parallel()
	const requests = "/api/identity/v1/user-data-processing"
	db := filepath.Join(t.TempDir(), "server.db")
	require.NoError(t, os.Mkdir(db+".downloads", 0o700))
	crashed, kept := filepath.Join(db+".downloads", "1.json.partial"), filepath.Join(db+".downloads", "2.json")
	for _, path := range []string{crashed, kept} {
		require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	}
	p := start(t, "-db", db)
	id := p.send("key-tari", mario).ID
	p.ask(http.StatusOK, "POST", requests, object{"choice": "DOWNLOAD"}, nil, token("token-mario")...)
	require.Eventually(t, func() bool {
		var is struct{ Status string }
		p.ask(http.StatusOK, "GET", requests+"/DOWNLOAD", nil, &is, token("token-mario")...)
		return is.Status == "CLOSED"
	}, 20*time.Second, 50*time.Millisecond)
	said := regexp.MustCompile("a copy of a citizen's data is in (.+)\n").FindStringSubmatch(p.said())
	require.Len(t, said, 2)
	require.Equal(t, db+".downloads", filepath.Dir(said[1]))
	info, err := os.Stat(said[1])
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	text, err := os.ReadFile(said[1])
	require.NoError(t, err)
	require.True(t, json.Valid(text))
	require.Contains(t, string(text), id)
	require.NoFileExists(t, crashed, "what was being written when the program died")
	require.FileExists(t, kept)
	p.stop()
}

// A notice of the seed is shown, paid, and shown as paid to who sent it.
func TestPayments(t *testing.T) {
	t.Parallel()
	p := start(t)
	const rptID = "90012340569302032002700000251"
	info := "/api/communication/v1/payment/info/"
	var debt struct {
		Amount      int
		Description string
	}
	p.ask(http.StatusOK, "GET", info+rptID, nil, &debt, token("token-mario")...)
	require.Equal(t, 11400, debt.Amount)
	require.Equal(t, "TARI 2026: prima rata", debt.Description)
	var fault struct {
		Category string `json:"faultCodeCategory"`
	}
	p.ask(http.StatusNotFound, "GET", info+"90012340569302032002700000352", nil, &fault, token("token-mario")...)
	require.Equal(t, "PAYMENT_UNKNOWN", fault.Category)

	l := letter(mario)
	l["feature_level_type"] = "ADVANCED"
	l["content"].(object)["payment_data"] = object{"amount": 11400, "notice_number": "302032002700000251"}
	var is struct {
		ID      string
		Payment string `json:"payment_status"`
	}
	p.ask(http.StatusCreated, "POST", "/api/v1/messages", l, &is, key("key-tari")...)
	at := "/api/v1/messages/" + mario + "/" + is.ID
	p.ask(http.StatusOK, "GET", at, nil, &is, key("key-tari")...)
	require.Equal(t, "NOT_PAID", is.Payment)
	p.ask(http.StatusUnauthorized, "POST", "/operator/payments/"+rptID, nil, nil)
	p.ask(http.StatusNotFound, "POST", "/operator/payments/90012340569302032002700000352", nil, nil, operator...)
	p.ask(http.StatusNotFound, "POST", "/operator/payments/x", nil, nil, operator...)
	for range 2 {
		p.ask(http.StatusNoContent, "POST", "/operator/payments/"+rptID, nil, nil, operator...)
	}
	require.Eventually(t, func() bool {
		p.ask(http.StatusOK, "GET", at, nil, &is, key("key-tari")...)
		return is.Payment == "PAID"
	}, 20*time.Second, 50*time.Millisecond)
	p.ask(http.StatusConflict, "GET", info+rptID, nil, &fault, token("token-mario")...)
	require.Equal(t, "PAYMENT_DUPLICATED", fault.Category)
	p.stop()
}
