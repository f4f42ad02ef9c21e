package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// watchEvery is the precision of the measured gaps.
const watchEvery = 5 * time.Millisecond

// line is what the example prints: time, word and count.
var line = regexp.MustCompile(`^\S+: \((.*),(\d+)\)$`)

// watcher follows what all operator processes print. Progress is a number that
// its word has not had before; what is printed again after a rollback is none.
// Safe for concurrent use.
type watcher struct {
	dir string

	mu      sync.Mutex
	offsets map[string]int64
	rest    map[string][]byte
	highest map[string]int64
	lines   int64
	// repeated are lines whose number had been printed before.
	repeated int64
	// grew is when each file got its newest line.
	grew map[string]time.Time
	gaps map[*gap]bool
	err  error
}

// gap measures from a kill on.
type gap struct {
	// sent is what had been sent of each word at the kill.
	sent map[string]int64
	// longest is the longest time without progress up to now.
	longest time.Duration
	since   time.Time
	// flows is closed when a record was printed that was sent after the kill.
	flows   chan struct{}
	flowing bool
}

func newWatcher(dir string) *watcher {
	return &watcher{
		dir: dir, offsets: map[string]int64{}, rest: map[string][]byte{},
		highest: map[string]int64{}, grew: map[string]time.Time{}, gaps: map[*gap]bool{},
	}
}

// run follows the files until ctx ends.
func (w *watcher) run(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.look(time.Now())
		}
	}
}

func (w *watcher) look(now time.Time) {
	files, err := filepath.Glob(filepath.Join(w.dir, "*.out"))
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range files {
		err = errors.Join(err, w.read(f, now))
	}
	if err != nil && w.err == nil {
		w.err = err
	}
}

func (w *watcher) read(path string, now time.Time) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.NewSectionReader(f, w.offsets[path], 1<<62))
	if err != nil {
		return err
	}
	w.offsets[path] += int64(len(raw))
	text := append(w.rest[path], raw...)
	for {
		one, after, ok := bytes.Cut(text, []byte("\n"))
		if !ok {
			w.rest[path] = text
			return nil
		}
		text = after
		w.take(path, string(one), now)
	}
}

// take takes one line. One that is none is for the checker to tell.
func (w *watcher) take(path, text string, now time.Time) {
	m := line.FindStringSubmatch(text)
	if m == nil {
		return
	}
	n, err := strconv.ParseInt(m[2], 10, 64)
	if err != nil {
		return
	}
	w.lines++
	w.grew[path] = now
	if n <= w.highest[m[1]] {
		w.repeated++
		return
	}
	w.highest[m[1]] = n
	for g := range w.gaps {
		g.progress(m[1], n, now)
	}
}

func (g *gap) progress(word string, n int64, now time.Time) {
	g.longest = max(g.longest, now.Sub(g.since))
	g.since = now
	if n > g.sent[word] && !g.flowing {
		g.flowing = true
		close(g.flows)
	}
}

// begin starts to measure; at is when it was killed, sent what was sent then.
func (w *watcher) begin(at time.Time, sent map[string]int64) *gap {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := &gap{sent: sent, since: at, flows: make(chan struct{})}
	w.gaps[g] = true
	return g
}

// end stops to measure and tells the longest time without progress. The
// silence that goes on now counts too.
func (w *watcher) end(g *gap) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.gaps, g)
	return max(g.longest, time.Since(g.since))
}

// reached reports whether every word was printed with its number in want.
func (w *watcher) reached(want map[string]int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for word, n := range want {
		if w.highest[word] < n {
			return false
		}
	}
	return true
}

// newest is the one of these files that got a line last, or "" if none has any.
func (w *watcher) newest(files []string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	newest := ""
	for _, f := range files {
		if at, ok := w.grew[f]; ok && (newest == "" || at.After(w.grew[newest])) {
			newest = f
		}
	}
	return newest
}

// count tells how many lines there were and how many of them were repeated.
func (w *watcher) count() (lines, repeated int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines, w.repeated
}

func (w *watcher) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
