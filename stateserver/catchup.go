package stateserver

import (
	"context"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// catchUpWait is how long a stream waits for a node that has just started. Where all
// nodes start it is most of what is needed; where others serve it is lost time.
const catchUpWait = 200 * time.Millisecond

// catchUp waits until this node has caught up.
func (s *Server) catchUp(ctx context.Context) {
	if s.store.WaitMember(ctx) == nil && s.store.CatchUp(ctx) == nil {
		close(s.caughtUp)
	}
}

// awaitCaughtUp waits a little for this node to have caught up. Until then it can
// neither resume an attempt nor show one, and another node can.
func (s *Server) awaitCaughtUp(ctx context.Context) bool {
	t := time.NewTimer(catchUpWait)
	defer t.Stop()
	select {
	case <-s.caughtUp:
		return true
	case <-t.C:
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
	return false
}

func catchingUpError() *holdfastv1.Error {
	e := noLeader()
	e.Message = "this node has just started and has not caught up; go on at another one"
	return e
}
