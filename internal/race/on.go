//go:build race

package race

// Enabled tells that this build has the race detector.
const Enabled = true
