package integration

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The import rules, see the packages in docs/architecture.md:
//
//	cmd -> stateserver -> raftstore -> coordinator -> proto
//
// They are checked on the source of every file, whatever its build tags, so that planted bugs and crash
// points obey them too. A directory at the top that no rule knows is an error: give it a place first.

const modulePath = "github.com/holdfast-io/holdfast"

// mayImport tells for each directory at the top which others its packages may import outside of tests.
// Each may import itself and internal/.
var mayImport = map[string][]string{
	"proto":       {},
	"internal":    {},
	"coordinator": {"proto"},
	"raftstore":   {"proto", "coordinator"},
	"stateserver": {"proto", "coordinator", "raftstore"},
	"clients":     {"proto"},
	"cmd":         {"proto", "coordinator", "raftstore", "stateserver", "clients"},
	"integration": {"proto", "coordinator", "raftstore", "stateserver", "clients", "cmd"},
}

// serverDirs are built with CGO_ENABLED=0.
var serverDirs = []string{"proto", "internal", "coordinator", "raftstore", "stateserver", "cmd"}

// confined are modules that only the named directories may import, tests included.
var confined = []struct {
	module string
	dirs   []string
}{
	{"github.com/hashicorp/raft", []string{"raftstore"}},
	{"github.com/hashicorp/raft-boltdb", []string{"raftstore"}},
	{"github.com/minio/minio-go", []string{"stateserver/storage/s3"}},
	{"github.com/colinmarc/hdfs", []string{"stateserver/storage/hdfs"}},
	{"github.com/confluentinc/confluent-kafka-go", []string{"clients/go/kafka", "clients/go/examples", "integration"}},
}

// clockFuncs are what makes a replicated state machine give different answers on different nodes. Durations
// and given times are fine.
var clockFuncs = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "NewTimer", "NewTicker", "Tick"}

// sourceFile is what the rules look at.
type sourceFile struct {
	name    string // slash-separated, from the top of the module
	imports []string
	clock   []string // uses of clockFuncs, with their lines
}

func (f sourceFile) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// replicated says whether the file's code decides what every node must decide alike.
func (f sourceFile) replicated() bool {
	return under(f.name, "coordinator") || under(f.name, "raftstore/keyed") ||
		strings.HasPrefix(path.Base(f.name), "fsm")
}

func TestImports_PointOneWay(t *testing.T) {
	files := moduleFiles(t)
	if len(files) == 0 {
		t.Fatal("found no Go files: the check would check nothing")
	}
	for _, f := range files {
		for _, v := range violations(f) {
			t.Error(v)
		}
	}
}

// TestImports_RulesBite shows that each rule finds what it is there for.
func TestImports_RulesBite(t *testing.T) {
	const timeNow = "import \"time\"\nvar _ = time.Now\n"
	for _, c := range []struct {
		name, file, code string
		wrong            bool
	}{
		{"downwards", "cmd/holdfastd/main.go", use("stateserver"), false},
		{"skipping a layer", "stateserver/admin.go", use("proto/holdfast/v1"), false},
		{"upwards", "coordinator/machine.go", use("raftstore/keyed"), true},
		{"upwards in a test", "coordinator/machine_test.go", use("raftstore"), false},
		{"server uses its client", "stateserver/edge.go", use("clients/go"), true},
		{"client uses the server", "clients/go/client.go", use("stateserver"), true},
		{"helper with a domain", "internal/ring/ring.go", use("coordinator"), true},
		{"proto uses the project", "proto/holdfast/v1/x.go", use("internal/ring"), true},
		{"proto uses proto", "proto/holdfast/internal/v1/x.go", use("proto/holdfast/v1"), false},
		{"nobody uses integration", "cmd/holdfast/demo.go", use("integration"), true},
		{"directory without a rule", "utils/x.go", "", true},
		{"raft at home", "raftstore/node.go", `import _ "github.com/hashicorp/raft"`, false},
		{"raft in a subdirectory", "raftstore/transport/t.go", `import _ "github.com/hashicorp/raft"`, false},
		{"raft elsewhere", "stateserver/x_test.go", `import _ "github.com/hashicorp/raft"`, true},
		{"log store elsewhere", "cmd/holdfastd/x.go", `import _ "github.com/hashicorp/raft-boltdb/v2"`, true},
		{"librdkafka at home", "clients/go/kafka/source.go", `import _ "github.com/confluentinc/confluent-kafka-go/v2/kafka"`, false},
		{"librdkafka elsewhere", "clients/go/client.go", `import _ "github.com/confluentinc/confluent-kafka-go/v2/kafka"`, true},
		{"server links librdkafka", "cmd/holdfast/demo.go", use("clients/go/kafka"), true},
		{"grpc in the coordinator", "coordinator/x.go", `import _ "google.golang.org/grpc/codes"`, true},
		{"cgo in the server", "raftstore/x.go", `import "C"`, true},
		{"cgo in a client", "clients/go/kafka/x.go", `import "C"`, false},
		{"clock in the coordinator", "coordinator/x.go", timeNow, true},
		{"clock in its test", "coordinator/x_test.go", timeNow, false},
		{"clock under another name", "raftstore/keyed/x.go", "import clock \"time\"\nvar _ = clock.Since", true},
		{"clock in the FSM", "raftstore/fsm_apply.go", "import \"time\"\nvar _ = time.NewTimer", true},
		{"clock without a name", "coordinator/x.go", `import . "time"`, true},
		{"clock behind a build tag", "coordinator/x.go", "import \"time\"\nfunc f() { time.Sleep(1) }", true},
		{"durations", "coordinator/x.go", "import \"time\"\nconst d = 5 * time.Second", false},
		{"clock of the node", "raftstore/node.go", timeNow, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := parseSource(c.file, "//go:build never\n\npackage x\n\n"+c.code)
			if err != nil {
				t.Fatal(err)
			}
			if got := violations(f); (len(got) > 0) != c.wrong {
				t.Errorf("violations = %q, want some: %v", got, c.wrong)
			}
		})
	}
}

// TestImports_ServerBuildsWithoutCgo asks the go command for everything that the server's packages link.
func TestImports_ServerBuildsWithoutCgo(t *testing.T) {
	root := moduleRoot(t)
	patterns := make([]string, 0, len(serverDirs))
	for _, dir := range serverDirs {
		if hasGoFiles(moduleFiles(t), dir) {
			patterns = append(patterns, "./"+dir+"/...")
		}
	}
	args := append([]string{"list", "-deps", "-f", "{{.ImportPath}}"}, patterns...)
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the server's packages do not resolve with CGO_ENABLED=0: %v\n%s", err, stderr.Bytes())
	}
	for _, dep := range strings.Fields(string(out)) {
		if under(dep, "github.com/confluentinc/confluent-kafka-go") || under(dep, modulePath+"/clients/go/kafka") {
			t.Errorf("the server links %s, which needs cgo", dep)
		}
	}
}

// violations names every rule that the file breaks.
func violations(f sourceFile) []string {
	top, _, _ := strings.Cut(f.name, "/")
	allowed, known := mayImport[top]
	if !known {
		return []string{fmt.Sprintf("%s: no import rule for the directory %s/, add one to mayImport", f.name, top)}
	}
	var found []string
	bad := func(format string, args ...any) { found = append(found, f.name+": "+fmt.Sprintf(format, args...)) }
	for _, imp := range f.imports {
		if rest, ours := strings.CutPrefix(imp, modulePath+"/"); ours && !f.isTest() {
			other, _, _ := strings.Cut(rest, "/")
			inside := other == top || slices.Contains(allowed, other) || other == "internal" && top != "proto"
			if !inside {
				bad("imports %s; %s may import %s", imp, top, strings.Join(append([]string{top}, allowed...), ", "))
			}
			if slices.Contains(serverDirs, top) && under(rest, "clients/go/kafka") {
				bad("imports %s, which needs cgo", imp)
			}
		}
		for _, c := range confined {
			at := func(dir string) bool { return under(f.name, dir) }
			if (under(imp, c.module)) && !slices.ContainsFunc(c.dirs, at) {
				bad("imports %s, which belongs to %s alone", imp, strings.Join(c.dirs, ", "))
			}
		}
		if imp == "C" && slices.Contains(serverDirs, top) {
			bad("uses cgo; the server is built without")
		}
		if top == "coordinator" && under(imp, "google.golang.org/grpc") {
			bad("imports %s; the coordinator knows no gRPC", imp)
		}
	}
	if f.replicated() && !f.isTest() {
		for _, use := range f.clock {
			bad("%s: this code gives every node the same answer, so it may not look at a clock", use)
		}
	}
	return found
}

// moduleFiles parses every Go file of the module, sorted by name.
func moduleFiles(t *testing.T) []sourceFile {
	t.Helper()
	root := moduleRoot(t)
	files := map[string]sourceFile{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != root && skipDir(name) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		files[rel], err = parseSource(rel, string(src))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sorted := make([]sourceFile, 0, len(files))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sorted = append(sorted, files[name])
	}
	return sorted
}

// skipDir leaves out what the go command leaves out, and what is built or fetched.
func skipDir(name string) bool {
	base := filepath.Base(name)
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	if slices.Contains([]string{"testdata", "build", "bin", "node_modules", "target"}, base) {
		return true
	}
	_, err := os.Stat(filepath.Join(name, "go.mod")) // a module of its own
	return err == nil
}

func parseSource(name, src string) (sourceFile, error) {
	f := sourceFile{name: name}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return f, err
	}
	timeName := ""
	for _, spec := range file.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return f, err
		}
		f.imports = append(f.imports, imp)
		if imp == "time" {
			timeName = "time"
			if spec.Name != nil {
				timeName = spec.Name.Name
			}
		}
	}
	if timeName == "." {
		f.clock = append(f.clock, `import . "time"`)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if ok && timeName != "" && x.Name == timeName && slices.Contains(clockFuncs, sel.Sel.Name) {
			f.clock = append(f.clock, fmt.Sprintf("line %d uses time.%s", fset.Position(sel.Pos()).Line, sel.Sel.Name))
		}
		return true
	})
	return f, nil
}

// moduleRoot is the nearest directory above with a go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			t.Fatalf("no go.mod above the test: %v", err)
		}
		dir = filepath.Dir(dir)
	}
}

func hasGoFiles(files []sourceFile, dir string) bool {
	return slices.ContainsFunc(files, func(f sourceFile) bool { return under(f.name, dir) })
}

// under says whether a slash-separated path is dir or lies below it.
func under(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, dir+"/")
}

// use is an import of a package of the project.
func use(dir string) string { return fmt.Sprintf("import _ %q", modulePath+"/"+dir) }
