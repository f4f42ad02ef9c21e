package raftstore

import "sync"

// hub wakes up those who wait for a change of a job. It carries no facts: a
// woken reader looks at the state. So a slow one misses nothing, and many
// changes cost it one look.
type hub struct {
	mu  sync.Mutex
	all map[chan struct{}]struct{}
	job map[string]map[chan struct{}]struct{}
}

// watch returns a channel that gets a value after a change of the job, of any
// job if it is empty, and the function that ends the watch.
func (h *hub) watch(job string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		h.all = map[chan struct{}]struct{}{}
		h.job = map[string]map[chan struct{}]struct{}{}
	}
	if job == "" {
		h.all[ch] = struct{}{}
		return ch, func() { h.unwatchAll(ch) }
	}
	if h.job[job] == nil {
		h.job[job] = map[chan struct{}]struct{}{}
	}
	h.job[job][ch] = struct{}{}
	return ch, func() { h.unwatch(job, ch) }
}

func (h *hub) unwatchAll(ch chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.all, ch)
}

func (h *hub) unwatch(job string, ch chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.job[job], ch)
	if len(h.job[job]) == 0 {
		delete(h.job, job)
	}
}

func (h *hub) publish(jobs []string) {
	if len(jobs) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	wake(h.all)
	for _, j := range jobs {
		wake(h.job[j])
	}
}

func wake(chs map[chan struct{}]struct{}) {
	for ch := range chs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
