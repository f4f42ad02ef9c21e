//go:build !race

// Package race tells tests whether the race detector is in their build: it changes
// what escapes to the heap, so they cannot count allocations or measure memory then.
package race

// Enabled tells that this build has the race detector.
const Enabled = false
