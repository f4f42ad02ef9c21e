//go:build !race

package harness

// RaceEnabled tells that the race detector slows everything down.
const RaceEnabled = false
