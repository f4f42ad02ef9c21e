//go:build next_version

package version

// Version is described in this.go. This build stands for the next release, see
// coordinator/next_on.go.
const Version = "0.2.0-next"
