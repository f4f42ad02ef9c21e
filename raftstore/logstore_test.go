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

// fullDisk fails after some deletions.
type fullDisk struct {
	diskStore
	left int
}

func (d *fullDisk) DeleteRange(first, last uint64) error {
	if d.left--; d.left < 0 {
		return errBroken
	}
	return d.diskStore.DeleteRange(first, last)
}

// Whatever part of a deletion is done, the log has no hole.
func TestLogStore_DeletesInParts(t *testing.T) {
	const entries = 3*deleteChunk + 7
	for name, c := range map[string]struct {
		first, last uint64
		parts       int
		wantFirst   uint64
		wantLast    uint64
	}{
		"front":             {1, 2*deleteChunk + 1, 99, 2*deleteChunk + 2, entries},
		"front, cut short":  {1, 2*deleteChunk + 1, 1, deleteChunk + 1, entries},
		"end":               {10, entries, 99, 1, 9},
		"end, cut short":    {10, entries, 1, 1, entries - deleteChunk},
		"all":               {1, entries, 99, 0, 0},
		"all, cut short":    {1, entries, 2, 1, entries - 2*deleteChunk},
		"one":               {1, 1, 99, 2, entries},
		"beyond the end":    {entries, entries + 5, 99, 1, entries - 1},
		"nothing":           {5, 4, 99, 1, entries},
		"exactly two parts": {1, 2 * deleteChunk, 2, 2*deleteChunk + 1, entries},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := openLogStore(filepath.Join(t.TempDir(), storeFile), testConfig(t), func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.close() }()
			var logs []*raft.Log
			for i := range uint64(entries) {
				logs = append(logs, &raft.Log{Index: i + 1, Term: 1})
			}
			if err := s.StoreLogs(logs); err != nil {
				t.Fatal(err)
			}
			s.disk = &fullDisk{diskStore: s.disk, left: c.parts}
			if err := s.DeleteRange(c.first, c.last); (err != nil) != strings.Contains(name, "cut short") {
				t.Errorf("DeleteRange = %v", err)
			}
			first, err1 := s.FirstIndex()
			last, err2 := s.LastIndex()
			if err := errors.Join(err1, err2); err != nil || first != c.wantFirst || last != c.wantLast {
				t.Fatalf("log from %d to %d, want %d to %d (%v)", first, last, c.wantFirst, c.wantLast, err)
			}
			for i := first; first > 0 && i <= last; i++ {
				if err := s.GetLog(i, &raft.Log{}); err != nil {
					t.Fatalf("hole at %d: %v", i, err)
				}
			}
		})
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
