//go:build !bug_keep_versions

package coordinator

import holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"

// endRetention ends the retention of a completed checkpoint whose place newer ones
// have taken: with it goes the state that it kept in the log.
func (m *Machine) endRetention(j jobState, c *holdfastv1.Checkpoint) {
	c.Retained = false
	m.dropVersion(j, c.Id)
}
