//go:build !race

// Package race tells tests whether the race detector is in their build: it changes
// what is on the heap, and makes everything slower.
package race

// Enabled tells that this build has the race detector.
const Enabled = false
