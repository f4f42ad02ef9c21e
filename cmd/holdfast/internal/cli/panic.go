package cli

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

// bugs is where a person reports what should not happen.
const bugs = "https://github.com/holdfast-io/holdfast/issues"

// recovered turns a panic of a command into one line and an exit code. Where the
// panic was is of use to who mends it, so it goes to a file.
func recovered(stderr io.Writer, value any, code *exit.Code) {
	if value == nil {
		return
	}
	line := fmt.Sprintf("holdfast: a bug of holdfast: %s; please report it at %s", strings.Join(strings.Fields(fmt.Sprint(value)), " "), bugs)
	if name := keepStack(value); name != "" {
		line += " with the file " + name
	}
	fmt.Fprintln(stderr, line)
	*code = exit.Failure
}

func keepStack(value any) string {
	f, err := os.CreateTemp("", "holdfast-bug-*.txt")
	if err != nil {
		return ""
	}
	_, err = fmt.Fprintf(f, "%v\n\n%s", value, debug.Stack())
	if e := f.Close(); err != nil || e != nil {
		return ""
	}
	return f.Name()
}
