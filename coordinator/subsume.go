//go:build !bug_keep_versions

package coordinator

import holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"

// subsume ends the retention of a completed checkpoint whose place newer ones have
// taken: with it goes the state that it kept.
func (m *Machine) subsume(j jobState, c *holdfastv1.Checkpoint) {
	c.Retained = false
	m.dropVersion(j, c.Id)
}
