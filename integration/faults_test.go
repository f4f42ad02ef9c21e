package integration

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
	"github.com/holdfast-io/holdfast/stateserver/daemon"
)

// wrongClocks are hours apart, jump with each start and each time they are read.
func wrongClocks() func(harness.Node, *daemon.Config) {
	var starts, reads atomic.Int64
	return func(_ harness.Node, cfg *daemon.Config) {
		skew := time.Duration(starts.Add(1)*7919%48-24) * time.Hour
		cfg.Clock = func() time.Time { return time.Now().Add(skew + time.Duration(reads.Add(1)%2)*3*time.Hour) }
	}
}

func TestClockJumps_NobodyNotices(t *testing.T) {
	scenario.ClockJumps(t, harness.InProcess(t, harness.Options{Tune: wrongClocks()}))
}

// hungStores hang the log store of a node when they are told to.
type hungStores struct {
	mu     sync.Mutex
	hung   map[int]chan struct{}
	gaveUp map[int]string
}

func (h *hungStores) tune(n harness.Node, cfg *daemon.Config) {
	cfg.Raft.LogStoreDeadline = 500 * time.Millisecond
	cfg.Raft.StoreHook = func(op string) {
		h.mu.Lock()
		hung := h.hung[n.Index]
		h.mu.Unlock()
		if op == "StoreLogs" && hung != nil {
			<-hung
		}
	}
	cfg.Raft.Exit = func(reason string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.gaveUp[n.Index] = reason
	}
}

func (h *hungStores) hang(node int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gaveUp[node] = ""
	h.hung[node] = make(chan struct{})
}

func (h *hungStores) release(node int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.hung[node])
	delete(h.hung, node)
}

func (h *hungStores) why(node int) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gaveUp[node]
}

func TestHungDisk_AnotherOneLeads(t *testing.T) {
	h := &hungStores{hung: map[int]chan struct{}{}, gaveUp: map[int]string{}}
	scenario.HungStore(t, harness.InProcess(t, harness.Options{Tune: h.tune}), h.hang, h.release, h.why)
}
