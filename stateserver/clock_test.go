package stateserver

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSteadyClock_ReadsTheWallOnce(t *testing.T) {
	wall := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	reads := 0
	c := newSteadyClock(func() time.Time {
		reads++
		return wall.Add(time.Duration(reads-1) * 5 * time.Hour)
	})
	last := c.now()
	for range 1000 {
		now := c.now()
		if now.Before(last) || now.Sub(wall) > time.Hour {
			t.Fatalf("after %s came %s", last, now)
		}
		last = now
	}
	if reads != 1 {
		t.Errorf("the wall clock was read %d times", reads)
	}
}

// TestSteadyClock_NobodyReadsTheWall finds wall times in what runs on a server:
// only a monotonic reading may be compared, and only the steady clock written.
func TestSteadyClock_NobodyReadsTheWall(t *testing.T) {
	for _, dir := range []string{".", "daemon", "../raftstore", "../coordinator"} {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(names), err)
		}
		for _, name := range names {
			if !strings.HasSuffix(name, "_test.go") && filepath.Base(name) != "clock.go" {
				wallReads(t, name)
			}
		}
	}
}

// wallReads reports time.Now().Unix...(), and .UnixNano() of anything.
func wallReads(t *testing.T, name string) {
	t.Helper()
	src, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !strings.HasPrefix(sel.Sel.Name, "Unix") || len(call.Args) > 0 {
			return true
		}
		text := string(src[sel.X.Pos()-1 : sel.X.End()-1])
		if sel.Sel.Name == "UnixNano" || strings.Contains(text, "time.Now") {
			t.Errorf("%s: %s.%s() is wall time, which may jump; use the steady clock, or time.Since", set.Position(n.Pos()), text, sel.Sel.Name)
		}
		return true
	})
}
