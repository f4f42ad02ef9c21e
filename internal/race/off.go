//go:build !race

// Package race tells tests whether the race detector is in their build: it changes
// what is on the heap, so they cannot count allocations and measure more memory then.
package race

// Enabled tells that this build has the race detector.
const Enabled = false
