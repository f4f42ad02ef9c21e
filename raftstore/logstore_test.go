package raftstore

import (
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// A process that was stopped and goes on has a clock that jumped, not a hung
// disk: only ticks count.
func TestWatchdog_CountsTicks(t *testing.T) {
	w := newWatchdog(time.Hour, func(op string) { t.Errorf("expired: %s", op) })
	defer w.close()
	done := w.begin("done")
	slow := w.begin("slow")
	w.end(done)
	for i := range watchdogTicks {
		if op := w.tick(); op != "" {
			t.Fatalf("tick %d: %s expired", i, op)
		}
	}
	if op := w.tick(); op != "slow" {
		t.Fatalf("expired: %q", op)
	}
	w.end(slow)
	if op := w.tick(); op != "" {
		t.Fatalf("expired after its end: %s", op)
	}
}

// brokenDisk fails every write.
type brokenDisk struct{ diskStore }

var errBroken = errors.New("input/output error")

func (brokenDisk) StoreLogs([]*raft.Log) error { return errBroken }

func (brokenDisk) GetLog(uint64, *raft.Log) error { return raft.ErrLogNotFound }

func TestLogStore_FailedWriteEndsTheNode(t *testing.T) {
	var reasons []string
	s, err := openLogStore(filepath.Join(t.TempDir(), storeFile), testConfig(t), func(r string) { reasons = append(reasons, r) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	s.disk = brokenDisk{s.disk}
	if err := s.GetLog(1, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) || len(reasons) != 0 {
		t.Errorf("a read that finds nothing: %v, %v", err, reasons)
	}
	if err := s.StoreLogs(nil); !errors.Is(err, errBroken) {
		t.Errorf("StoreLogs = %v", err)
	}
	if len(reasons) != 1 || !strings.Contains(reasons[0], "input/output error") {
		t.Errorf("reasons %q", reasons)
	}
}

func TestLogStore_StampOfAnotherNode(t *testing.T) {
	cfg := testConfig(t)
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.close() }()
	self, err := newIdentity(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openLogStore(dir.file(storeFile), cfg, func(r string) { t.Error(r) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	if err := errors.Join(s.checkStamp(self), s.checkStamp(self)); err != nil {
		t.Fatal(err)
	}
	if err := self.update(func(r *identityRecord) { r.NodeID = "another" }); err != nil {
		t.Fatal(err)
	}
	if err := s.checkStamp(self); !errors.Is(err, ErrDataDirCorrupt) {
		t.Errorf("checkStamp = %v", err)
	}
}

// An answer to a message that was sent before the question proves nothing.
func TestAckClock_OnlyNewMessagesCount(t *testing.T) {
	servers := []raft.Server{{ID: "self"}, {ID: "b"}, {ID: "c"}, {ID: "watcher", Suffrage: raft.Nonvoter}}
	c := newAckClock()
	asked := time.Now()
	majority := func() bool {
		ok, _ := c.majoritySince(servers, "self", 5, asked)
		return ok
	}
	c.record("b", 5, asked.Add(-time.Nanosecond))
	c.record("watcher", 5, asked)
	c.record("c", 4, asked.Add(time.Second))
	if majority() {
		t.Fatal("old messages, another term or a member without a vote counted")
	}
	_, changed := c.majoritySince(servers, "self", 5, asked)
	c.record("b", 5, asked)
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	if !majority() {
		t.Fatal("a new message did not count")
	}
	c.record("b", 5, asked.Add(-time.Hour))
	if !majority() {
		t.Fatal("an old answer that came late took the new one back")
	}
	if ok, _ := c.majoritySince(servers[:1], "self", 5, asked); !ok {
		t.Error("a cluster of one needs nobody")
	}
}

func TestHclog_Levels(t *testing.T) {
	var out strings.Builder
	log := newHclog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
	log.With("peer", "n1").Named("x").Error("failed", "n", hclog.Fmt("%d of %d", 1, 2))
	log.Debug("hidden")
	got := out.String()
	if !strings.Contains(got, `level=WARN msg=failed peer=n1 n="1 of 2"`) || strings.Contains(got, "hidden") {
		t.Errorf("output %q", got)
	}
	if log.IsDebug() || !log.IsInfo() || log.GetLevel() != hclog.Info {
		t.Error("levels")
	}
	if _, err := io.WriteString(log.StandardWriter(nil), "line\n"); err != nil {
		t.Error(err)
	}
}
