package rocksdb

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// keptDir has the local copies of states that are closed.
const keptDir = "kept"

// keepFor is how long the local copy of a closed state waits for its successor.
const keepFor = 15 * time.Minute

// localFiles knows the files of checkpoints that are on this node's disk, so that a
// state that is restored here need not be downloaded (task-local recovery). A file
// is known by size and hash, both of what this process wrote or read itself.
type localFiles struct {
	dir     string
	keepFor time.Duration

	mu    sync.Mutex
	paths map[string]string // by fileKey
	left  []keptSet         // of closed states, oldest first
	moved int               // sets so far
	// tidier runs when the oldest of left has waited enough; nil: none has waited yet.
	tidier *time.Timer
	closed bool
}

// keptSet is the local copy of one checkpoint.
type keptSet struct {
	checkpoint uint64
	dir        string
	files      map[string]string // path by fileKey
	closed     time.Time
}

// sharesWith reports whether a file is in both.
func (k keptSet) sharesWith(other keptSet) bool {
	for key := range k.files {
		if _, ok := other.files[key]; ok {
			return true
		}
	}
	return false
}

func newLocalFiles(dir string, keepFor time.Duration) *localFiles {
	return &localFiles{dir: dir, keepFor: keepFor, paths: map[string]string{}}
}

// fileKey is what a file is known by. A part that is inline has no hash, so nothing
// knows it; there is nothing to download of it either.
func fileKey(h *holdfastv1.StateHandle) (key string, ok bool) {
	if len(h.GetSha256()) == 0 {
		return "", false
	}
	return fmt.Sprintf("%d-%s", h.GetSize(), hex.EncodeToString(h.GetSha256())), true
}

// add makes the files of a set known.
func (l *localFiles) add(set keptSet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, path := range set.files {
		l.paths[key] = path
	}
}

// link links the file of a handle to path, if it is on this disk.
func (l *localFiles) link(h *holdfastv1.StateHandle, path string) bool {
	key, ok := fileKey(h)
	if !ok {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	have, ok := l.paths[key]
	return ok && os.Link(have, path) == nil
}

// drop removes a set.
func (l *localFiles) drop(set keptSet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked(set)
}

func (l *localFiles) dropLocked(set keptSet) {
	for key, path := range set.files {
		if l.paths[key] == path {
			delete(l.paths, key)
		}
	}
	_ = os.RemoveAll(set.dir) // what stays goes with the backend's directory
}

// leave keeps the sets of a state that is closed, for its successor. What an earlier
// attempt of the same subtask left goes: that is who had the same files.
func (l *localFiles) leave(sets []keptSet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = slices.DeleteFunc(l.left, func(old keptSet) bool {
		same := slices.ContainsFunc(sets, old.sharesWith)
		if same {
			l.dropLocked(old)
		}
		return same
	})
	for _, set := range sets {
		l.moved++
		dir := filepath.Join(l.dir, fmt.Sprint(l.moved))
		if os.MkdirAll(l.dir, 0o700) != nil || os.Rename(set.dir, dir) != nil {
			l.dropLocked(set)
			continue
		}
		for key, path := range set.files {
			moved := filepath.Join(dir, filepath.Base(path))
			set.files[key], l.paths[key] = moved, moved
		}
		set.dir, set.closed = dir, time.Now()
		l.left = append(l.left, set)
	}
	l.expire()
}

// expire drops the sets that waited too long, and sees to it that the others go in
// their turn, though no state may be opened or closed here any more.
func (l *localFiles) expire() {
	for len(l.left) > 0 && !l.closed {
		wait := l.keepFor - time.Since(l.left[0].closed)
		if wait > 0 {
			if l.tidier == nil {
				l.tidier = time.AfterFunc(wait, l.tidy)
			} else {
				l.tidier.Reset(wait)
			}
			return
		}
		l.dropLocked(l.left[0])
		l.left = l.left[1:]
	}
}

// tidy drops what waited too long.
func (l *localFiles) tidy() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire()
}

// close ends the waiting. What is left goes with the backend's directory.
func (l *localFiles) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.tidier != nil {
		l.tidier.Stop()
	}
}
