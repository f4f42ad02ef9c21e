package cli

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

// A bug is one line that says where to report it. The stack is in a file.
func TestMain_PanicIsOneLine(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var stdout, stderr strings.Builder
	a := &app{stdout: &stdout, stderr: &stderr}
	root := a.root()
	root.AddCommand(&cobra.Command{Use: "boom", RunE: a.do(func(context.Context, []string) error {
		panic("boom\nand more")
	})})
	if code := a.main(root, []string{"boom"}); code != exit.Failure {
		t.Fatalf("exit code %d", code)
	}
	m := regexp.MustCompile(`^holdfast: a bug of holdfast: boom and more; please report it at (https://\S+) with the file (\S+)\n$`).FindStringSubmatch(stderr.String())
	if m == nil || stdout.Len() > 0 {
		t.Fatalf("%q, %q", stderr.String(), stdout.String())
	}
	stack, err := os.ReadFile(m[2])
	if err != nil || !strings.Contains(string(stack), "TestMain_PanicIsOneLine") {
		t.Fatalf("%s, %v", stack, err)
	}
}

// Arguments that no command expects end in a sentence, never in a stack.
func TestMain_OddArgumentsEndInASentence(t *testing.T) {
	hermetic(t)
	f := startFake(t)
	odd := []string{"", "-", "--", "\x00", strings.Repeat("x", 1<<16), "../../etc", "%s%n", "\u202e", "-1", "99999999999999999999"}
	walk((&app{}).root(), func(c *cobra.Command) {
		top := strings.Fields(c.CommandPath() + " -")[1]
		if isTopic(c) || top == "demo" || top == "run" || top == "bench" {
			return // they run programs or a load; their arguments are tested beside them
		}
		for _, word := range odd {
			for n := range 3 {
				args := strings.Fields(c.CommandPath())[1:]
				for range n {
					args = append(args, word)
				}
				code, _, stderr := invoke(f, args...)
				if strings.Contains(stderr, "a bug of holdfast") || strings.Contains(stderr, "goroutine ") || code < 0 {
					t.Errorf("%q: %d, %s", args, code, stderr)
				}
			}
		}
	})
}
