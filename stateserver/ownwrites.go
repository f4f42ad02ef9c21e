//go:build !bug_get_lag

package stateserver

// awaitOwnWrites waits until this node shows everything that the stream was
// acknowledged when the Get came.
func (x *session) awaitOwnWrites(c *getCall) error { return x.s.store.WaitApplied(c.ctx, c.atLeast) }
