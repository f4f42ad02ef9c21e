//go:build bug_no_version_gate

package harness

// plantedTags is described in planted_off.go. The tests' own binary has the tag;
// so must the next release, whose nodes break invariant 7 then.
const plantedTags = ",bug_no_version_gate"
