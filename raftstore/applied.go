package raftstore

import "sync"

// appliedIndex is the position up to which the state machine has really been
// changed. Raft's own applied index moves when entries are queued for it.
type appliedIndex struct {
	mu      sync.Mutex
	index   uint64
	term    uint64
	changed chan struct{} // closed at the next change; nil while nobody waits
}

func (a *appliedIndex) get() (index, term uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.index, a.term
}

// wait returns the index and a channel that is closed when it changes.
func (a *appliedIndex) wait() (index uint64, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.index, a.changed
}

func (a *appliedIndex) set(index, term uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index, a.term = index, term
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}
