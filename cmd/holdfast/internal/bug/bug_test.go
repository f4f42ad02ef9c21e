package bug

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

const childEnv = "HOLDFAST_BUG_TEST_CHILD"

// TestMain lets the test binary be a command with a bug in a goroutine.
func TestMain(m *testing.M) {
	boom := func() { panic("boom\nand more") }
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "Go":
		Go(boom)
	case "WaitGroup":
		var wg sync.WaitGroup
		wg.Go(Guarded(boom))
		wg.Wait()
	case "AfterFunc":
		ctx, cancel := context.WithCancel(context.Background())
		context.AfterFunc(ctx, Guarded(boom))
		cancel()
	}
	select {}
}

// A panic in a goroutine of a command is one line on standard error and an exit code;
// the stack is in a file.
func TestGo_PanicIsOneLine(t *testing.T) {
	for _, how := range []string{"Go", "WaitGroup", "AfterFunc"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+how, "TMPDIR="+t.TempDir())
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		var ended *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &ended) || ended.ExitCode() != 1 {
			t.Errorf("%s: %v", how, err)
		}
		m := regexp.MustCompile(`^holdfast: a bug of holdfast: boom and more; please report it at https://\S+ with the file (\S+)\n$`).FindStringSubmatch(stderr.String())
		if m == nil || stdout.Len() > 0 {
			t.Errorf("%s: %q, %q", how, stderr.String(), stdout.String())
			continue
		}
		stack, err := os.ReadFile(m[1])
		if err != nil || !strings.Contains(string(stack), "bug.TestMain") {
			t.Errorf("%s: %s, %v", how, stack, err)
		}
	}
}

// Every goroutine of the command line is started by this package, or guarded by it.
func TestGo_StartsEveryGoroutine(t *testing.T) {
	top, files := filepath.Join("..", ".."), token.NewFileSet()
	found := 0
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || filepath.Base(filepath.Dir(path)) == "bug" {
			return err
		}
		f, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return fmt.Errorf("parse: %w", err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if why := bare(n, &found); why != "" {
				t.Errorf("%s: %s", files.Position(n.Pos()), why)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Error("found no goroutine at all")
	}
}

// bare tells why a node starts a goroutine whose panic would be told with a stack.
func bare(n ast.Node, found *int) string {
	if _, ok := n.(*ast.GoStmt); ok {
		return "a bare go statement; use bug.Go"
	}
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return ""
	}
	switch pkg, name := selector(call.Fun); {
	case name == "Go" && pkg == "bug":
		*found++
	case name == "Go" || name == "AfterFunc":
		*found++
		if guard, ok := call.Args[len(call.Args)-1].(*ast.CallExpr); ok {
			if pkg, name := selector(guard.Fun); pkg == "bug" && name == "Guarded" {
				return ""
			}
		}
		return "a goroutine without a guard; use bug.Guarded"
	}
	return ""
}

func selector(e ast.Expr) (pkg, name string) {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	if id, ok := s.X.(*ast.Ident); ok {
		pkg = id.Name
	}
	return pkg, s.Sel.Name
}
