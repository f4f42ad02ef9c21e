// Package await is how tests wait for what happens by itself: they look again until
// it is there, and fail with what they waited for when their patience is over.
package await

import (
	"testing"
	"time"
)

// every is the pause between two looks.
const every = 2 * time.Millisecond

// Until looks until ok holds, for at most the patience. Then the test ends, with what
// was awaited and what there is instead.
func Until(t testing.TB, patience time.Duration, what string, ok func() bool, instead ...func() string) {
	t.Helper()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().Before(deadline) {
			continue
		}
		for _, f := range instead {
			t.Logf("there is instead: %s", f())
		}
		t.Fatalf("waited %s in vain for %s", patience, what)
	}
}
