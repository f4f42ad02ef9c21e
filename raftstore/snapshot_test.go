package raftstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var someHeader = snapshotHeader{ClusterID: "cluster", Index: 42, Term: 3}

func mustSnapshot(t testing.TB, body []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := newSnapshotWriter(&buf, someHeader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.finish(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func readSnapshot(data []byte) (snapshotHeader, []byte, error) {
	r, err := newSnapshotReader(bytes.NewReader(data))
	if err != nil {
		return snapshotHeader{}, nil, err
	}
	body, err := io.ReadAll(r)
	return r.header, body, err
}

func TestSnapshotFormat_RoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 5} {
		body := bytes.Repeat([]byte("holdfast"), size/8+1)[:size]
		h, got, err := readSnapshot(mustSnapshot(t, body))
		if err != nil || h != someHeader || !bytes.Equal(got, body) {
			t.Fatalf("size %d: %+v, %d bytes, %v", size, h, len(got), err)
		}
	}
}

// No state machine may see the end of a stream that is not whole.
func TestSnapshotFormat_EveryDamageIsSeen(t *testing.T) {
	good := mustSnapshot(t, []byte("some state of a machine"))
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if _, _, err := readSnapshot(bad); !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
		if _, _, err := readSnapshot(good[:i]); !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("cut to %d: %v", i, err)
		}
	}
	if _, _, err := readSnapshot(append(bytes.Clone(good), 0)); !errors.Is(err, ErrBadSnapshot) {
		t.Errorf("a byte after the end: %v", err)
	}
}

func FuzzSnapshot(f *testing.F) {
	f.Add(mustSnapshot(f, []byte("state")))
	f.Add(mustSnapshot(f, nil))
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, err := readSnapshot(data)
		if err != nil && !errors.Is(err, ErrBadSnapshot) {
			t.Fatal(err)
		}
	})
}

func snapshotFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "snapshots", "*", "state.bin"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestSnapshot_RestartFromIt(t *testing.T) {
	tn := startSingle(t)
	for i := range 50 {
		mustAppend(t, fmt.Sprint("x", i), tn)
	}
	if err := tn.Snapshot(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, "after", tn)
	applied := tn.AppliedIndex()
	if tn.Stats().SnapshotIndex == 0 {
		t.Error("no snapshot index")
	}
	tn.Kill()
	tn.mustStart()
	if tn.sm.restored() != 1 || tn.AppliedIndex() == 0 {
		t.Fatalf("%d restores, applied %d", tn.sm.restored(), tn.AppliedIndex())
	}
	waitLeader(t, tn)
	tn.mustHold("x0", "x49", "after")
	if got := tn.AppliedIndex(); got < applied || len(tn.sm.list()) != 51 {
		t.Errorf("applied %d of %d, %d items", got, applied, len(tn.sm.list()))
	}
}

func TestSnapshot_ApplyGoesOnWhileItIsWritten(t *testing.T) {
	tn := startSingle(t)
	mustAppend(t, "before", tn)
	hold := make(chan struct{})
	tn.sm.mu.Lock()
	tn.sm.hold = hold
	tn.sm.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- tn.Snapshot() }()
	for i := range 100 {
		mustAppend(t, fmt.Sprint("during", i), tn)
	}
	select {
	case err := <-done:
		t.Fatalf("the snapshot did not wait: %v", err)
	default:
	}
	close(hold)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	tn.Kill()
	tn.mustStart()
	if got := tn.sm.list(); !slices.Equal(got[:1], []string{"before"}) {
		t.Errorf("restored %v", got)
	}
	waitLeader(t, tn)
	tn.mustHold("during99")
}

func TestSnapshot_InstalledOnLaggingFollower(t *testing.T) {
	c := startCluster(t, 3, func(cfg *Config) { cfg.TrailingLogs = 1 })
	lagging := c.without(c.leader())[0]
	lagging.Kill()
	rest := c.without(lagging)
	for i := range 200 {
		mustAppend(t, fmt.Sprint("x", i), rest...)
	}
	for _, tn := range rest {
		if err := tn.Snapshot(); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, "after", rest...)
	lagging.mustStart()
	lagging.mustHold("x0", "x199", "after")
	if lagging.sm.restored() == 0 {
		t.Error("the follower took no snapshot")
	}
	mustAppend(t, "later", c.nodes...)
	lagging.mustHold("later")
}

func TestSnapshot_DamagedIsRefusedAtStart(t *testing.T) {
	cfg := testConfig(t)
	cfg.TrailingLogs = 1
	tn := newTestNode(t, cfg)
	tn.mustStart()
	for i := range 20 {
		mustAppend(t, fmt.Sprint("x", i), tn)
	}
	if err := tn.Snapshot(); err != nil {
		t.Fatal(err)
	}
	tn.Kill()
	path := snapshotFiles(t, cfg.DataDir)[0]
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tn.tryStart(t.Context()); !errors.Is(err, ErrDataDirCorrupt) {
		t.Fatalf("Open = %v", err)
	}
}

func newTestShell(sm StateMachine, exit func(string)) *shell {
	return &shell{sm: sm, metrics: newMetrics(), clusterID: func() string { return someHeader.ClusterID }, logger: testLogger(), exit: exit}
}

// stream is what a machine with these items writes.
func toyStream(t *testing.T, items ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := (&toyView{items: items}).Write(&buf); err != nil {
		t.Fatal(err)
	}
	return mustSnapshot(t, buf.Bytes())
}

func TestShell_RefusedSnapshotLeavesState(t *testing.T) {
	sm := &toyMachine{items: []string{"old"}}
	s := newTestShell(sm, func(reason string) { t.Errorf("Exit: %s", reason) })
	s.applied.set(7, 1)
	good := toyStream(t, "new", strings.Repeat("x", 3*chunkSize))
	flipped := bytes.Clone(good)
	flipped[len(flipped)-20] ^= 1
	other := bytes.Replace(bytes.Clone(good), []byte("cluster"), []byte("another"), 1)
	for name, data := range map[string][]byte{"flipped": flipped, "cut": good[:len(good)-1], "half": good[:len(good)/2], "empty": nil, "other": other} {
		if err := s.Restore(io.NopCloser(bytes.NewReader(data))); !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
		if index, _ := s.applied.get(); !slices.Equal(sm.list(), []string{"old"}) || index != 7 {
			t.Fatalf("%s: state %v at %d", name, sm.list(), index)
		}
	}
	if err := s.Restore(io.NopCloser(bytes.NewReader(good))); err != nil {
		t.Fatal(err)
	}
	if index, term := s.applied.get(); sm.list()[0] != "new" || index != someHeader.Index || term != someHeader.Term {
		t.Fatalf("state %v at %d", sm.list()[0], index)
	}
	s.clusterID = func() string { return "mine" }
	if err := s.Restore(io.NopCloser(bytes.NewReader(good))); !errors.Is(err, ErrWrongCluster) {
		t.Errorf("snapshot of another cluster: %v", err)
	}
}

// hastyMachine swaps its state in without reading to the end.
type hastyMachine struct{ toyMachine }

func (m *hastyMachine) Restore(r io.Reader) error {
	_, err := io.ReadFull(r, make([]byte, 4))
	return err
}

func TestShell_HastyRestoreHalts(t *testing.T) {
	var reason string
	s := newTestShell(&hastyMachine{}, func(r string) { reason = r })
	if err := s.Restore(io.NopCloser(bytes.NewReader(toyStream(t, "item")))); err == nil || !s.halted.Load() {
		t.Fatalf("Restore = %v, reason %q", err, reason)
	}
}

func TestShell_RepeatedInstallsExit(t *testing.T) {
	exits := 0
	s := newTestShell(&toyMachine{}, func(string) { exits++ })
	install := func() error { return s.Restore(io.NopCloser(bytes.NewReader(toyStream(t, "item")))) }
	if err := install(); err != nil {
		t.Fatal(err)
	}
	s.running.Store(true)
	for i := range maxRepeatedInstalls {
		if exits != 0 {
			t.Fatalf("Exit after %d installs", i)
		}
		if err := install(); err != nil {
			t.Fatal(err)
		}
	}
	if exits != 1 {
		t.Fatalf("%d calls of Exit", exits)
	}
}

func TestSnapshot_OfNothing(t *testing.T) {
	cfg := testConfig(t)
	cfg.Join = true
	tn := newTestNode(t, cfg)
	tn.mustStart()
	if err := tn.Snapshot(); err != nil {
		t.Fatalf("Snapshot of an empty node: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := tn.WaitMember(ctx); !errors.Is(err, ErrTimeout) {
		t.Errorf("WaitMember: %v", err)
	}
}
