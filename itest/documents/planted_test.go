// Package documents shows that the tests of documents, of content elsewhere, and of lists of persons, which are in the library, can fail.
package documents

import (
	"testing"

	"github.com/appio-go/appio/itest/internal/planted"
)

func TestPlantedBugsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the tests anew")
	}
	const model = "TestDocumentsAgreeWithAModel"
	binary := planted.BuildOf(t, "github.com/appio-go/appio")
	bug := func(name, says string) planted.Bug {
		return planted.Bug{Name: name + ", by " + model, Env: "APPIO_PLANT=" + name, Test: model, Says: says, Rounds: 5, Count: "50"}
	}
	planted.None(t, binary, "TestDocuments", "TestDocumentCrashes", "TestRemoteContent", "TestListsOfPersons", model)
	planted.Run(t, binary,
		planted.Bug{Name: "what was just put is removed", Env: "APPIO_PLANT=document-young", Test: "TestDocuments", Says: "FAIL: .*no_message_has", Rounds: 1},
		planted.Bug{Name: "an erasure leaves the documents", Env: "APPIO_PLANT=document-left", Test: "TestDocuments", Says: "FAIL: .*end_with_an_erasure", Rounds: 1},
		planted.Bug{Name: "another engine's are removed", Env: "APPIO_PLANT=document-foreign", Test: "TestDocuments", Says: "FAIL: .*of_another_engine", Rounds: 1},
		planted.Bug{Name: "two messages have one document", Env: "APPIO_PLANT=document-shared", Test: "TestDocuments", Says: "FAIL: .*once_and_within_a_day", Rounds: 1},
		planted.Bug{Name: "what may be removed is sent", Env: "APPIO_PLANT=document-late", Test: "TestDocuments", Says: "FAIL: .*once_and_within_a_day", Rounds: 1},
		planted.Bug{Name: "a message names what is not on the disk yet", Env: "APPIO_PLANT=document-early", Test: "TestDocumentCrashes",
			Says: "names a document that is not there", Rounds: 3},
		planted.Bug{Name: "what is being put counts for nothing", Env: "APPIO_PLANT=document-over", Test: "TestDocuments", Says: "FAIL: .*quota", Rounds: 1},
		planted.Bug{Name: "what was not shown is accepted", Env: "APPIO_PLANT=opening-unshown", Test: "TestRemoteContent", Says: "FAIL: .*who_accepted_it", Rounds: 1},
		bug("document-young", "and nothing else"),
		bug("document-left", "and nothing else"),
		bug("document-shared", "too late, or twice"),
		bug("document-late", "too late, or twice"),
		planted.Bug{Name: "an erasure leaves the code that lists name", Env: "APPIO_PLANT=listed-left", Test: "TestListsOfPersons", Says: "FAIL: .*forget_who_is_erased", Rounds: 1},
		planted.Bug{Name: "a list keeps the code of whom an erasure is under way", Env: "APPIO_PLANT=listed-late", Test: "TestListsOfPersons", Says: "FAIL: .*forget_who_is_erased", Rounds: 1},
	)
}
