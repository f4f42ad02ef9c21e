//go:build !bug_no_version_gate

package coordinator

// gateOpen tells whether something that came with a version may be used while
// the cluster is at another (invariant 7).
func gateOpen(required, cluster uint32) bool { return cluster >= required }
