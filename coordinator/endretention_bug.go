//go:build bug_keep_versions

package coordinator

import holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"

// Planted bug, against the bounds that docs/architecture.md promises for what is in
// Raft: the state of a checkpoint that is no longer retained stays for ever.
func (m *Machine) endRetention(_ jobState, c *holdfastv1.Checkpoint) { c.Retained = false }
