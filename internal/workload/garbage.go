package workload

import (
	"os"
	"runtime/debug"
)

// CollectRarely lets the heap grow by 400 percent between two collections of garbage, as a server would that has the memory,
// unless GOGC says otherwise. All contenders of a comparison are run so.
func CollectRarely() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}
