package harness

import "testing"

// Run runs the tests and removes what was built for them.
func Run(m *testing.M) int {
	defer removeBuilt()
	return m.Run()
}
