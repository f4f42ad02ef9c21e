package snapshots

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
)

// pausing is the storage of a process that is stopped before it commits a file, and
// goes on later.
type pausing struct {
	storage.Storage
	left    atomic.Int32 // files that it commits before
	once    sync.Once
	stopped chan struct{} // closed when it stands
	goOn    chan struct{}
}

func (p *pausing) Create(ctx context.Context, name string) (storage.Writer, error) {
	w, err := p.Storage.Create(ctx, name)
	return pausingWriter{w, p}, err
}

type pausingWriter struct {
	storage.Writer
	p *pausing
}

func (w pausingWriter) Commit() error {
	if w.p.left.Add(-1) < 0 {
		w.p.once.Do(func() { close(w.p.stopped) })
		<-w.p.goOn
	}
	return w.Writer.Commit()
}

func (w *world) savepoint(t *testing.T, term uint64) Savepoint {
	t.Helper()
	base, err := w.reg.Open(t.Context(), "file://"+w.root+"/savepoints")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = base.Close() })
	return Savepoint{Base: base, Snap: w.snap, Cluster: "first", Term: term, Retry: storage.NoRetry}
}

func mustWrite(t *testing.T, s Savepoint, src Source) (url string) {
	t.Helper()
	url, err := s.Write(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func mustTidy(t *testing.T, s Savepoint, o Outcome) {
	t.Helper()
	if err := s.Tidy(t.Context(), o, 8); err != nil {
		t.Fatal(err)
	}
}

// checkWhole fails unless everything of a savepoint is there.
func (w *world) checkWhole(t *testing.T, when, url string) {
	t.Helper()
	s, err := w.reg.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m, err := metadata.Read(t.Context(), s, "")
	if err != nil {
		t.Fatalf("%s: the savepoint that the log names is gone: %v", when, err)
	}
	r, err := metadata.Verify(t.Context(), s, "", m)
	if err != nil || len(r.Problems) > 0 || r.Files == 0 {
		t.Fatalf("%s: the savepoint that the log names is damaged: %d files, %v, %v", when, r.Files, r.Problems, err)
	}
}

// filesOf are the files of a directory, each as it is and not as its name says.
func filesOf(t *testing.T, url string) map[string]os.FileInfo {
	t.Helper()
	entries, err := os.ReadDir(strings.TrimPrefix(url, "file://"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]os.FileInfo{}
	for _, e := range entries {
		if out[e.Name()], err = e.Info(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func sameAsBefore(before, now map[string]os.FileInfo) error {
	for name, info := range now {
		if before[name] == nil || !os.SameFile(before[name], info) || !before[name].ModTime().Equal(info.ModTime()) {
			return fmt.Errorf("%s is another file", name)
		}
	}
	if len(before) != len(now) {
		return fmt.Errorf("%d files are %d", len(before), len(now))
	}
	return nil
}

// A leader that is stopped before any of its files, and goes on when another one has
// recorded its savepoint, touches nothing of that, whatever it hears of the log.
func TestSavepoint_StoppedLeaderGoesOn(t *testing.T) {
	for files := range 7 { // three subtasks of two operators, and the manifest
		t.Run(fmt.Sprintf("behind %d files", files), func(t *testing.T) {
			w := newWorld(t, rand.New(rand.NewPCG(7, 8)), "memory", 3)
			src := w.memory(t)
			old, now := w.savepoint(t, 3), w.savepoint(t, 4)
			p := &pausing{Storage: old.Base, stopped: make(chan struct{}), goOn: make(chan struct{})}
			p.left.Store(int32(files))
			old.Base = p
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = old.Write(t.Context(), src) }) // whether it can, is its own affair
			<-p.stopped
			recorded := Outcome{Known: true, Path: mustWrite(t, now, src)}
			mustTidy(t, now, recorded)
			before := filesOf(t, recorded.Path)
			close(p.goOn)
			wg.Wait()
			mustTidy(t, old, Outcome{}) // its node has not heard yet
			w.checkWhole(t, "the old leader went on", recorded.Path)
			if err := sameAsBefore(before, filesOf(t, recorded.Path)); err != nil {
				t.Fatalf("the old leader changed what the new one has recorded: %v", err)
			}
			mustTidy(t, old, recorded)
			w.checkWhole(t, "the old leader has tidied up", recorded.Path)
			if all, _ := os.ReadDir(filepath.Join(w.root, "savepoints")); len(all) != 1 {
				t.Errorf("%d directories are left of one savepoint", len(all))
			}
		})
	}
}

// What a leader has written may be the savepoint although it does not know: its entry
// is on the way. The log decides between two leaders, and nobody else.
func TestSavepoint_RecordOnTheWay(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(9, 10)), "memory", 3)
	src := w.memory(t)
	old, now := w.savepoint(t, 3), w.savepoint(t, 4)
	url := mustWrite(t, old, src)
	mustTidy(t, old, Outcome{}) // the leadership is lost before the answer
	w.checkWhole(t, "the leader lost the leadership", url)
	other := mustWrite(t, now, src)
	mustTidy(t, now, Outcome{})
	w.checkWhole(t, "the next leader knows nothing yet", url)
	mustTidy(t, now, Outcome{Known: true, Path: url})
	w.checkWhole(t, "the entry of the old leader came first", url)
	if _, err := os.Stat(strings.TrimPrefix(other, "file://")); !os.IsNotExist(err) {
		t.Errorf("what the next leader wrote beside it is left: %v", err)
	}
}

// A savepoint that has failed leaves nothing of any leader.
func TestSavepoint_FailedLeavesNothing(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(11, 12)), "memory", 3)
	old, now := w.savepoint(t, 3), w.savepoint(t, 4)
	mustWrite(t, old, w.memory(t))
	mustWrite(t, now, w.memory(t))
	mustTidy(t, now, Outcome{Known: true})
	if all, _ := os.ReadDir(filepath.Join(w.root, "savepoints")); len(all) > 0 {
		t.Errorf("%d directories are left of no savepoint", len(all))
	}
}

// A manifest whose files are not all there is not taken for a savepoint.
func TestSavepoint_NotWholeIsWrittenAgain(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(13, 14)), "memory", 3)
	s := w.savepoint(t, 3)
	url := mustWrite(t, s, w.memory(t))
	whole := filesOf(t, url)
	for what, damage := range map[string]func(path string) error{
		"missing": os.Remove, "cut short": func(path string) error { return os.Truncate(path, 1) },
	} {
		for name := range whole {
			if err := damage(filepath.Join(strings.TrimPrefix(url, "file://"), name)); err != nil {
				t.Fatal(err)
			}
			mustWrite(t, s, w.memory(t))
			w.checkWhole(t, name+" was "+what, url)
		}
	}
	before := filesOf(t, url)
	mustWrite(t, s, w.memory(t))
	if err := sameAsBefore(before, filesOf(t, url)); err != nil {
		t.Errorf("what is whole is written again: %v", err)
	}
}

// A backup was taken before a savepoint was recorded, which its cluster then did, in
// this term or a later one. A cluster made from the backup has the same savepoint to
// write, may come to the same term, and touches nothing of the other one.
func TestSavepoint_OfAnotherPast(t *testing.T) {
	for term := uint64(1); term <= 6; term++ {
		t.Run(fmt.Sprintf("recorded in term %d", term), func(t *testing.T) {
			w := newWorld(t, rand.New(rand.NewPCG(15, 16)), "memory", 3)
			src := w.memory(t)
			users := mustWrite(t, w.savepoint(t, term), src)
			before := filesOf(t, users)
			now := w.savepoint(t, 5)
			now.Cluster = "made from the backup"
			path := mustWrite(t, now, src)
			if path == users {
				t.Errorf("both are %s", path)
			}
			mustTidy(t, now, Outcome{Known: true, Path: path})
			w.checkWhole(t, "the cluster made from the backup has tidied up", users)
			mustTidy(t, now, Outcome{Known: true})
			w.checkWhole(t, "the savepoint of the cluster made from the backup has failed", users)
			if err := sameAsBefore(before, filesOf(t, users)); err != nil {
				t.Errorf("the cluster made from the backup changed it: %v", err)
			}
		})
	}
}

// The same number of a checkpoint that was triggered at another time is another one.
func TestSavepoint_OfAnotherTime(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(15, 16)), "memory", 1)
	first := mustWrite(t, w.savepoint(t, 3), w.memory(t))
	w.snap.Checkpoint.TriggeredMs++
	if second := mustWrite(t, w.savepoint(t, 3), w.memory(t)); second == first {
		t.Errorf("both are %s", first)
	}
}

// Users are told the name, and it is valid in every storage.
func TestSavepoint_Name(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(15, 16)), "memory", 1)
	name := path.Base(w.savepoint(t, math.MaxUint64).target().Files.URL())
	if !regexp.MustCompile(`^savepoint-[A-Za-z0-9]{1,6}-[0-9a-f]{12}$`).MatchString(name) || storage.CheckName(name) != nil {
		t.Errorf("it is %s", name)
	}
}

// What a try left unfinished, because the storage did not take its end, goes with the
// next try.
func TestSavepoint_UnfinishedFilesGo(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(17, 18)), "memory", 3)
	s := w.savepoint(t, 3)
	dir := strings.TrimPrefix(s.target().Files.URL(), "file://")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, ".tmp-0011223344556677-1-0-a_b")
	if err := os.WriteFile(left, []byte("left"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := mustWrite(t, s, w.memory(t))
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("the unfinished file is left: %v", err)
	}
	w.checkWhole(t, "unfinished files were there", url)
}
