package stateserver

import (
	"maps"
	"slices"
	"sync"
	"time"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
)

// exitedKept is how long a host repeats that a process is gone.
const exitedKept = time.Minute

// maxExited bounds the processes of which that is repeated; of one more it is
// noticed by its streams.
const maxExited = 1024

// sessions are the operator streams of this host.
type sessions struct {
	// changed wakes the reporter.
	changed chan struct{}

	mu       sync.Mutex
	byID     map[string]*session
	exited   map[string]time.Time // process id: when it was reported
	claims   map[claim]*session   // who asks for the splits of a source
	draining bool
}

type claim struct{ job, operator string }

func newSessions() *sessions {
	return &sessions{
		changed: make(chan struct{}, 1), byID: map[string]*session{},
		exited: map[string]time.Time{}, claims: map[claim]*session{},
	}
}

func (h *sessions) add(s *session) {
	h.mu.Lock()
	h.byID[s.id] = s
	draining := h.draining
	h.mu.Unlock()
	h.notify()
	if draining {
		s.goAway()
	}
}

// remove forgets a stream. What it was asked for is asked of another.
func (h *sessions) remove(s *session) {
	h.mu.Lock()
	delete(h.byID, s.id)
	var wake []*session
	for c, owner := range h.claims {
		if owner != s {
			continue
		}
		delete(h.claims, c)
		for _, o := range h.byID {
			if o.jobID == c.job {
				wake = append(wake, o)
			}
		}
	}
	h.mu.Unlock()
	h.notify()
	for _, o := range wake {
		o.poke()
	}
}

// claim reserves split discovery of a source for one stream of this host.
func (h *sessions) claim(s *session, operator string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := claim{s.jobID, operator}
	if h.claims[c] != nil {
		return false
	}
	h.claims[c] = s
	return true
}

// answered tells whether a stream was asked for the splits of a source.
func (h *sessions) answered(s *session, operator string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.claims[claim{s.jobID, operator}] == s
}

func (h *sessions) processExited(id string) {
	h.mu.Lock()
	if len(h.exited) < maxExited {
		h.exited[id] = time.Now()
	}
	h.mu.Unlock()
	h.notify()
}

func (h *sessions) notify() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

func (h *sessions) isDraining() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draining
}

// usage is what the streams of this host hold.
type usage struct{ holding, standby, inFlight, bytes, gets int }

func (h *sessions) usage() (u usage) {
	h.mu.Lock()
	all := slices.Collect(maps.Values(h.byID))
	h.mu.Unlock()
	for _, s := range all {
		s.mu.Lock()
		if s.hold.subtask != 0 {
			u.holding++
		} else {
			u.standby++
		}
		u.inFlight += s.hold.flying.count()
		u.bytes += s.hold.flying.bytes
		u.gets += len(s.gets)
		s.mu.Unlock()
	}
	return u
}

func (h *sessions) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.byID)
}

// report is what the leader is told. A draining host offers no slots.
func (h *sessions) report(node string) *internalv1.ReportStreamsRequest {
	r := &internalv1.ReportStreamsRequest{NodeId: node}
	h.mu.Lock()
	draining := h.draining
	all := slices.Collect(maps.Values(h.byID))
	for id, at := range h.exited {
		if time.Since(at) > exitedKept {
			delete(h.exited, id)
			continue
		}
		r.ExitedProcessIds = append(r.ExitedProcessIds, id)
	}
	h.mu.Unlock()
	for _, s := range all {
		if !draining || s.holds() {
			r.Streams = append(r.Streams, s.describe())
		}
	}
	return r
}

// goAway asks every stream, and every later one, to go to another node.
func (h *sessions) goAway() {
	h.mu.Lock()
	h.draining = true
	all := slices.Collect(maps.Values(h.byID))
	h.mu.Unlock()
	for _, s := range all {
		s.goAway()
	}
}
