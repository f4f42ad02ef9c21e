//go:build !bug_no_version_gate

package harness

// plantedTags are the planted bugs that programs are built with.
const plantedTags = ""
