//go:build !next_version

package version

// Version is what every binary and the protocol's Welcome tell.
const Version = "0.1.0"
