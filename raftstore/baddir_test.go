package raftstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// goodDir is the data directory of a node that has a log and a snapshot, and this
// many entries of the log before the snapshot.
func goodDir(t *testing.T, trailing uint64) Config {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir, cfg.NoFsync, cfg.TrailingLogs = filepath.Join(t.TempDir(), "data"), true, trailing
	n, err := Open(t.Context(), cfg, &toyMachine{})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a leader", func() bool { return n.IsLeader() })
	for i := range 40 {
		if _, _, err := n.Propose(t.Context(), toyAppend, []byte(strings.Repeat(fmt.Sprint(i), 200))).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Each way in which a data directory can be wrong, with what a user reads.
func TestOpen_BadDirectories(t *testing.T) {
	good := goodDir(t, 4)
	other := goodDir(t, 4)
	const (
		damage = "raftstore: data directory is damaged: "
		// What the library says of it stands in parentheses.
		unloadable = " (start raft: failed to load any existing snapshots): " + newMember
		hole       = " (the log does not follow on a usable snapshot: log not found): " + newMember
		format     = "raftstore: data directory format is not supported: "
	)
	for _, c := range []struct {
		name  string
		spoil func(dir string) error
		// want is the text; DIR stands for the directory, # for a number or an id, @
		// for the name of a snapshot.
		want string
		is   error
	}{
		{"is a file", func(dir string) error {
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600))
		}, format + "DIR is a file, not a directory: give another path", ErrDataDirFormat},
		{"newer format", put("FORMAT", "99\n"), format + "DIR has format 99, this build reads up to 1: start a newer version", ErrDataDirFormat},
		{"FORMAT of garbage", put("FORMAT", "garbage"), format + `DIR/FORMAT holds "garbage" and not a number: give another directory, or put back a copy of this one`, ErrDataDirFormat},
		{"no FORMAT", drop("FORMAT"), format + "DIR has no file FORMAT but is not empty (node.json): give an empty directory", ErrDataDirFormat},
		{"node.json cut short", cutFile("node.json", 20), damage + "read DIR/node.json: unexpected end of JSON input: " + newMember, ErrDataDirCorrupt},
		{"node.json empty", cutFile("node.json", 0), damage + "read DIR/node.json: unexpected end of JSON input: " + newMember, ErrDataDirCorrupt},
		{"node.json of garbage", put("node.json", "garbage"), damage + "read DIR/node.json: invalid character 'g' looking for beginning of value: " + newMember, ErrDataDirCorrupt},
		{"node.json without a node", put("node.json", "{}"), damage + "DIR/node.json names no node: " + newMember, ErrDataDirCorrupt},
		{"no node.json", drop("node.json"), damage + "DIR/raft.db is there but node.json is missing: " + newMember, ErrDataDirCorrupt},
		{"no raft.db", drop("raft.db"), damage + "the log store of node # is gone, and its votes with it: " + newMember, ErrDataDirCorrupt},
		{"raft.db empty", cutFile("raft.db", 0), damage + "the log store of node # is gone, and its votes with it: " + newMember, ErrDataDirCorrupt},
		{"raft.db cut within its first page", cutFile("raft.db", 100), damage + "open log store DIR/raft.db: not a whole database: it is cut short: it has 100 bytes, and its pages take #: " + newMember, ErrDataDirCorrupt},
		{"raft.db cut to two pages", cutFile("raft.db", 8192), damage + "open log store DIR/raft.db: not a whole database: it is cut short: it has 8192 bytes, and its pages take #: " + newMember, ErrDataDirCorrupt},
		{"raft.db of garbage", put("raft.db", strings.Repeat("garbage", 10_000)), damage + "open log store DIR/raft.db: not a whole database: neither of its two first pages is whole: " + newMember, ErrDataDirCorrupt},
		{"raft.db of another node", copyFrom(other.DataDir, "raft.db"), damage + "the log store is of node #, the directory of node #: " + newMember, ErrDataDirCorrupt},
		{"snapshot cut short", eachSnapshot(cutFile("state.bin", 30)), damage + "DIR/snapshots/@/state.bin: cut short after 0 bytes of state, behind byte 11 of the file" + unloadable, ErrBadSnapshot},
		{"snapshot cut within its state", eachSnapshot(cutFile("state.bin", 100)), damage + "DIR/snapshots/@/state.bin: cut short after 0 bytes of state, behind byte 67 of the file" + unloadable, ErrBadSnapshot},
		{"snapshot empty", eachSnapshot(cutFile("state.bin", 0)), damage + "DIR/snapshots/@/state.bin: cut short after 0 bytes of state, behind byte 0 of the file" + unloadable, ErrBadSnapshot},
		{"snapshot gone", eachSnapshot(drop("state.bin")), damage + "DIR/snapshots/@/state.bin: no such file or directory" + unloadable, ErrBadSnapshot},
		{"snapshot of garbage", eachSnapshot(put("state.bin", strings.Repeat("garbage", 1000))), damage + "DIR/snapshots/@/state.bin: not a snapshot" + unloadable, ErrBadSnapshot},
		{"snapshot of a newer format", eachSnapshot(flip("state.bin", 8)), damage + "DIR/snapshots/@/state.bin: format version 65281, this build knows 1" + unloadable, ErrBadSnapshot},
		{"snapshot with a wrong byte in its header", eachSnapshot(flip("state.bin", 50)), damage + "DIR/snapshots/@/state.bin: checksum of the header after 0 bytes of state, before byte 63 of the file" + unloadable, ErrBadSnapshot},
		{"snapshot with a wrong byte", eachSnapshot(flip("state.bin", 70)), damage + "DIR/snapshots/@/state.bin: checksum of the chunk after 0 bytes of state, before byte # of the file" + unloadable, ErrBadSnapshot},
		{"snapshot with bytes behind it", eachSnapshot(appendTo("state.bin", "more")), damage + "DIR/snapshots/@/state.bin: bytes after the end" + unloadable, ErrBadSnapshot},
		{"snapshot without its meta.json", eachSnapshot(drop("meta.json")), damage + "DIR/snapshots/@/meta.json: no such file or directory" + hole, ErrBadSnapshot},
		{"snapshot with a meta.json of garbage", eachSnapshot(put("meta.json", "garbage")), damage + "DIR/snapshots/@/meta.json: invalid character 'g' looking for beginning of value" + hole, ErrBadSnapshot},
		{"snapshot with a meta.json of another", eachSnapshot(copyFrom(firstSnapshot(other.DataDir), "meta.json")), damage + "DIR/snapshots/@/state.bin: it is whole, but not the file that meta.json beside it tells of" + unloadable, ErrBadSnapshot},
		{"snapshot of another cluster", func(dir string) error {
			return eachSnapshot(copyFrom(firstSnapshot(other.DataDir), "state.bin"))(dir)
		}, damage + `DIR/snapshots/@/state.bin: raftstore: belongs to another cluster: snapshot of cluster "#", this node is of "#"` + unloadable, ErrWrongCluster},
		{"whole snapshot that the state machine refuses", refusedSnapshot, damage + "raftstore: restore snapshot of index #: unexpected EOF" + unloadable, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good
			cfg.DataDir = filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(cfg.DataDir, os.DirFS(good.DataDir)); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(cfg.DataDir); err != nil {
				t.Fatal(err)
			}
			n, err := Open(t.Context(), cfg, &toyMachine{})
			if err == nil {
				_ = n.Close() // it must not have been opened
				t.Fatal("the directory was opened")
			}
			want := strings.ReplaceAll(c.want, "DIR", cfg.DataDir)
			if !sameText(want, err.Error()) || !errors.Is(err, ErrDataDirCorrupt) && !errors.Is(c.is, ErrDataDirFormat) || !errors.Is(err, c.is) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func put(name, text string) func(string) error {
	return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600) }
}

// refusedSnapshot makes each snapshot one that is whole and of this cluster, with a
// state that its machine cannot read.
func refusedSnapshot(dir string) error {
	return eachSnapshot(func(snapshot string) error {
		raw, err := os.ReadFile(filepath.Join(snapshot, snapshotStateFile))
		if err != nil {
			return err
		}
		r, err := newSnapshotReader(bytes.NewReader(raw))
		if err != nil {
			return err
		}
		var out bytes.Buffer
		w, err := newSnapshotWriter(&out, r.header)
		if err != nil {
			return err
		}
		_, err = w.Write([]byte("\x00\x00\x00\xffcut short"))
		if err := errors.Join(err, w.finish(), put(snapshotStateFile, out.String())(snapshot)); err != nil {
			return err
		}
		return setSum(filepath.Join(snapshot, snapshotMetaFile), out.Bytes())
	})(dir)
}

// setSum writes the library's checksum of a state into the file beside it.
func setSum(path string, state []byte) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	meta := map[string]any{}
	if err := json.Unmarshal(raw, &meta); err != nil {
		return err
	}
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	_, _ = sum.Write(state) // a hash takes everything
	meta["CRC"] = sum.Sum(nil)
	if raw, err = json.Marshal(meta); err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

func appendTo(name, text string) func(string) error {
	return func(dir string) error {
		b, err := os.ReadFile(filepath.Join(dir, name))
		return errors.Join(err, os.WriteFile(filepath.Join(dir, name), append(b, text...), 0o600))
	}
}

func drop(name string) func(string) error {
	return func(dir string) error { return os.Remove(filepath.Join(dir, name)) }
}

func cutFile(name string, size int64) func(string) error {
	return func(dir string) error { return os.Truncate(filepath.Join(dir, name), size) }
}

func copyFrom(from, name string) func(string) error {
	return func(dir string) error {
		b, err := os.ReadFile(filepath.Join(from, name))
		return errors.Join(err, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
}

func flip(name string, at int) func(string) error {
	return func(dir string) error {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		b[at] ^= 0xff
		return os.WriteFile(filepath.Join(dir, name), b, 0o600)
	}
}

func eachSnapshot(spoil func(string) error) func(string) error {
	return func(dir string) error {
		found, err := filepath.Glob(filepath.Join(dir, "snapshots", "*"))
		for _, s := range found {
			err = errors.Join(err, spoil(s))
		}
		return err
	}
}

func firstSnapshot(dir string) string {
	found, _ := filepath.Glob(filepath.Join(dir, "snapshots", "*")) // a constant pattern
	return found[0]
}

// A log store with any bytes changed, or cut anywhere, is refused or read: it
// never takes the process with it. bbolt by itself dies of some of them.
func TestLogStore_DamagedAnywhere(t *testing.T) {
	good := goodDir(t, 1024)
	whole, err := os.ReadFile(filepath.Join(good.DataDir, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := checkBoltFile(filepath.Join(good.DataDir, storeFile)); err != nil {
		t.Fatalf("a good log store: %v", err)
	}
	path := filepath.Join(t.TempDir(), storeFile)
	refused := 0
	for seed := range damages() {
		r := rand.New(rand.NewPCG(seed, 1))
		b := append([]byte(nil), whole...)
		switch seed % 4 {
		case 0:
			b = b[:r.IntN(len(b))]
		case 1: // within the headers and elements of a page
			page := r.IntN(len(b)/4096) * 4096
			b[page+r.IntN(256)] ^= byte(1 + r.IntN(255))
		case 2:
			at := r.IntN(len(b))
			clear(b[at:min(len(b), at+r.IntN(4096))])
		case 3:
			for range 50 {
				b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
			}
		}
		// Anew: of one that was refused bbolt may hold the lock still.
		_ = os.Remove(path) // it may not be there
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if !survives(path, good) {
			refused++
		}
	}
	t.Logf("%d of %d damaged log stores were refused", refused, damages())
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}

// damages is how many log stores are damaged, 400 unless HOLDFAST_TEST_DAMAGES
// says so.
func damages() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("HOLDFAST_TEST_DAMAGES"), 10, 64); err == nil {
		return n
	}
	return 400
}

// survives opens a log store and reads all of it.
func survives(path string, cfg Config) bool {
	s, err := openLogStore(path, cfg, func(string) {})
	if err != nil {
		return false
	}
	defer func() { _ = s.close() }() // what it says of a damaged file is of no interest
	first, err1 := s.FirstIndex()
	last, err2 := s.LastIndex()
	for i := first; err1 == nil && err2 == nil && i <= last && i < first+1000; i++ {
		_ = s.GetLog(i, &raft.Log{}) // damage within an entry is found where the entry is read
	}
	return true
}

// What ends a running node is told, and not a panic of the library.
func TestLogStore_UnreadableEntryEndsTheNode(t *testing.T) {
	reason := ""
	s := &logStore{disk: unreadable{}, fail: func(r string) { reason = r }, dog: newWatchdog(patience, func(string) {})}
	defer s.dog.close()
	if err := s.GetLog(7, &raft.Log{}); err == nil || reason != "entry 7 of the log cannot be read: msgpack decode error: "+newMember {
		t.Errorf("%v, %q", err, reason)
	}
	reason = ""
	if err := s.GetLog(8, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) || reason != "" {
		t.Errorf("an entry that is not there: %v, %q", err, reason)
	}
}

type unreadable struct{ diskStore }

func (unreadable) GetLog(index uint64, _ *raft.Log) error {
	if index == 7 {
		return errors.New("msgpack decode error")
	}
	return raft.ErrLogNotFound
}

func (unreadable) Close() error { return nil }

// A directory that was made from a snapshot, whose seed was damaged before its first
// start.
func TestOpen_BadSeed(t *testing.T) {
	var file bytes.Buffer
	f := newFSM()
	(&fsmLog{tb: t}).counterJob(f)
	w, err := newSnapshotWriter(&file, snapshotHeader{ClusterID: "lost", Index: f.lastIndex, Term: 1})
	if err := errors.Join(err, f.capture().Write(w), w.finish()); err != nil {
		t.Fatal(err)
	}
	const remedy = ": empty the directory and make it anew with `holdfast snapshot restore`"
	for _, c := range []struct {
		name  string
		spoil func(dir string) error
		want  string
	}{
		{"gone", drop(seedFile), "no such file or directory"},
		{"empty", cutFile(seedFile, 0), "cut short after 0 bytes of state, behind byte 0 of the file"},
		{"of garbage", put(seedFile, "GET / HTTP/1.1"), "not a snapshot"},
		{"with a wrong byte", flip(seedFile, 40), "checksum of the chunk after 0 bytes of state, before byte # of the file"},
		{"of another file", copyFrom(otherSeed(t, file.Bytes()), seedFile), "it is of index 1099511627776, node.json says #"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.DataDir = filepath.Join(cfg.DataDir, "data")
			if _, err := Refound(bytes.NewReader(file.Bytes()), cfg.DataDir); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(cfg.DataDir); err != nil {
				t.Fatal(err)
			}
			n, err := Open(t.Context(), cfg, newFSM())
			if err == nil {
				_ = n.Close() // it must not have been opened
				t.Fatal("the directory was opened")
			}
			want := "raftstore: bootstrap: raftstore: data directory is damaged: " + cfg.DataDir + "/seed.snap: " + c.want + remedy
			if !sameText(want, err.Error()) || !errors.Is(err, ErrDataDirCorrupt) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

// otherSeed is a directory made from a snapshot of nothing.
func otherSeed(t *testing.T, like []byte) string {
	t.Helper()
	r, err := newSnapshotReader(bytes.NewReader(like))
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	w, err := newSnapshotWriter(&file, snapshotHeader{ClusterID: r.header.ClusterID, Term: 1})
	if err := errors.Join(err, newFSM().capture().Write(w), w.finish()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := Refound(&file, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sameText compares with a text in which # stands for a number or an id, and @ for
// the name of a snapshot.
func sameText(want, got string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "#", "[0-9a-f]+")
	pattern = strings.ReplaceAll(pattern, "@", "[0-9]+-[0-9]+-[0-9]+")
	return regexp.MustCompile("^" + pattern + "$").MatchString(got)
}
