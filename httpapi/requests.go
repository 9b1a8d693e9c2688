package httpapi

import (
	"errors"
	"net/http"

	"github.com/appio-go/appio"
)

var requestRoutes = []route{
	{"POST /api/identity/v1/user-data-processing", citizen, 0, requestData},
	{"GET /api/identity/v1/user-data-processing/{choice}", citizen, 0, dataRequest},
	{"DELETE /api/identity/v1/user-data-processing/{choice}", citizen, 0, abortDataRequest},
}

// A UserDataProcessingRequest asks for a copy of what is kept about the citizen, or for its deletion.
type UserDataProcessingRequest struct {
	Choice string `json:"choice"` // DOWNLOAD or DELETE
}

// UserDataProcessing is the last such request of a kind.
type UserDataProcessing struct {
	Choice    appio.DataChoice    `json:"choice"`
	Status    appio.RequestStatus `json:"status"`
	CreatedAt Timestamp           `json:"created_at"`
	UpdatedAt Timestamp           `json:"updated_at"`
	Version   int                 `json:"version"`
}

func processing(r appio.DataRequest) answer {
	return ok(UserDataProcessing{r.Choice, r.Status, Timestamp(r.AskedAt), Timestamp(r.ChangedAt), r.Version})
}

func dataChoice(s string) (appio.DataChoice, error) {
	if c := appio.DataChoice(s); c == appio.DownloadData || c == appio.DeleteData {
		return c, nil
	}
	return "", badParameters("choice: must be DOWNLOAD or DELETE")
}

func requestData(c *call) (answer, error) {
	var b UserDataProcessingRequest
	if err := c.body(&b); err != nil {
		return answer{}, err
	}
	choice, err := dataChoice(b.Choice)
	if err != nil {
		return answer{}, err
	}
	r, err := c.citizen.RequestData(c.ctx, choice)
	if errors.Is(err, appio.ErrConflict) {
		return answer{}, problem(http.StatusConflict, "", "Another request is already PENDING or WIP for this User")
	}
	if err != nil {
		return answer{}, err
	}
	return processing(r), nil
}

func dataRequest(c *call) (answer, error) {
	choice, err := dataChoice(c.r.PathValue("choice"))
	if err != nil {
		return answer{}, err
	}
	r, err := c.citizen.DataRequest(c.ctx, choice)
	if err != nil {
		return answer{}, err
	}
	return processing(r), nil
}

// abortDataRequest takes back a deletion that has not begun; a download cannot be taken back.
func abortDataRequest(c *call) (answer, error) {
	choice, err := dataChoice(c.r.PathValue("choice"))
	if err != nil {
		return answer{}, err
	}
	if choice == appio.DownloadData {
		if _, err := c.citizen.DataRequest(c.ctx, choice); err != nil {
			return answer{}, err
		}
		return answer{}, problem(http.StatusConflict, "", "A download cannot be aborted.")
	}
	if _, err := c.citizen.AbortDeletion(c.ctx); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusAccepted}, nil
}
