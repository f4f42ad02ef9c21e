package raftstore

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
)

// A golden log has the entries of a log as a build of its cluster version wrote
// them, a golden snapshot the file that was taken at its end, and a golden hash the
// state there. Builds that come after must read both and come to that state: they
// may be what a node finds on its disk. Those of a released version are never
// written again.
var writeGolden = flag.Bool("golden", false, "write the golden files of this build's cluster version anew; only while it is not released")

const goldenDir = "testdata/golden"

func goldenFile(version uint32, kind string) string {
	return filepath.Join(goldenDir, fmt.Sprintf("v%d.%s", version, kind))
}

func TestGolden_Write(t *testing.T) {
	if !*writeGolden {
		t.Skip("it tests nothing, it writes the files that the others test by: only with -golden")
	}
	g := &goldenLog{t: t, f: newFSM()}
	g.script()
	v, err := g.f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	var snapshot bytes.Buffer
	w, err := newSnapshotWriter(&snapshot, snapshotHeader{ClusterID: "golden", Index: g.index, Term: 1})
	if err := errors.Join(err, v.Write(w), w.finish()); err != nil {
		t.Fatal(err)
	}
	for kind, content := range map[string]string{
		"log": g.text.String(), "snapshot": hexLines(snapshot.Bytes()), "hash": stateHashOf(t, g.f) + "\n",
	} {
		if err := os.WriteFile(goldenFile(coordinator.MaxVersion, kind), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Invariant 7: logs of every version so far replay to the state that they gave,
// whatever batches they come in.
func TestGolden_LogsReplay(t *testing.T) {
	for version := uint32(1); version <= goldenVersions(t); version++ {
		entries := goldenEntries(t, version)
		for _, batch := range []int{1, 7, len(entries)} {
			f := newFSM()
			for at := 0; at < len(entries); at += batch {
				if _, err := f.ApplyBatch(entries[at:min(at+batch, len(entries))]); err != nil {
					t.Fatalf("golden log of version %d: %v", version, err)
				}
			}
			if got, want := stateHashOf(t, f), goldenHash(t, version); got != want {
				t.Errorf("golden log of version %d in batches of %d: the state has the hash %s, then it was %s", version, batch, got, want)
			}
		}
	}
}

// Invariant 7: snapshots of every version so far load to the state that they were
// taken of.
func TestGolden_SnapshotsLoad(t *testing.T) {
	for version := uint32(1); version <= goldenVersions(t); version++ {
		raw := unhex(t, goldenFile(version, "snapshot"))
		r, err := newSnapshotReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		f := newFSM()
		if err := errors.Join(f.Restore(r), r.verified()); err != nil {
			t.Fatalf("golden snapshot of version %d: %v", version, err)
		}
		if got, want := stateHashOf(t, f), goldenHash(t, version); got != want {
			t.Errorf("golden snapshot of version %d: the state has the hash %s, then it was %s", version, got, want)
		}
	}
}

// The golden log of this version has each of its commands.
func TestGolden_HasEveryCommand(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range goldenEntries(t, goldenVersions(t)) {
		var c internalv1.Command
		if err := proto.Unmarshal(e.Payload, &c); err != nil {
			t.Fatal(err)
		}
		seen[commandName(&c)] = true
	}
	fields := (&internalv1.Command{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if name := string(fields.Get(i).Name()); !seen[name] {
			t.Errorf("command %s is not in %s: add it to goldenLog.script and, while version %d is not released, run go test ./raftstore -run Golden -golden",
				name, goldenFile(goldenVersions(t), "log"), goldenVersions(t))
		}
	}
}

func commandName(c *internalv1.Command) string {
	m := c.ProtoReflect()
	if f := m.WhichOneof(m.Descriptor().Oneofs().Get(0)); f != nil {
		return string(f.Name())
	}
	return ""
}

// goldenVersions is the highest version that has golden files: that of this build,
// but for the build of the version after it.
func goldenVersions(t *testing.T) uint32 {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(goldenDir, "v*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no golden logs, %v", err)
	}
	return uint32(len(logs))
}

func goldenEntries(t *testing.T, version uint32) []Entry {
	t.Helper()
	raw, err := os.ReadFile(goldenFile(version, "log"))
	if err != nil {
		t.Fatal(err)
	}
	var out []Entry
	for s := bufio.NewScanner(bytes.NewReader(raw)); s.Scan(); {
		w := strings.Fields(s.Text()) // index, name of the command, envelope
		index, err := strconv.ParseUint(w[0], 10, 64)
		envelope, err2 := hex.DecodeString(w[2])
		kind, payload, err3 := decodeEnvelope(envelope)
		if err := errors.Join(err, err2, err3); err != nil {
			t.Fatalf("golden log of version %d: %v", version, err)
		}
		out = append(out, Entry{Index: index, Term: 1, Type: kind, Payload: payload})
	}
	return out
}

func goldenHash(t *testing.T, version uint32) string {
	t.Helper()
	raw, err := os.ReadFile(goldenFile(version, "hash"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

func stateHashOf(t *testing.T, f *fsm) string {
	t.Helper()
	v := f.capture()
	defer v.Release()
	h, err := v.hash()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func hexLines(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		n := min(len(b), 40)
		fmt.Fprintf(&out, "%x\n", b[:n])
		b = b[n:]
	}
	return out.String()
}

func unhex(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(raw)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
