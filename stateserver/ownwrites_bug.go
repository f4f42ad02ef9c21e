//go:build bug_get_lag

package stateserver

// Planted bug, against reading one's own writes: a Get is answered from what the
// node has applied, behind what was acknowledged.
func (x *session) awaitOwnWrites(*getCall) error { return nil }
