// Package bug turns a panic into one line for a person, whatever goroutine it is in.
// Where it was is of use to who mends it, so the stack goes to a file.
package bug

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

// Address is where a person reports what should not happen.
const Address = "https://github.com/holdfast-io/holdfast/issues"

// Tell writes the line about a value that was recovered. It must be called from the
// deferred function, where the stack is still that of the panic.
func Tell(w io.Writer, value any) {
	line := fmt.Sprintf("holdfast: a bug of holdfast: %s; please report it at %s", strings.Join(strings.Fields(fmt.Sprint(value)), " "), Address)
	if name := keepStack(value); name != "" {
		line += " with the file " + name
	}
	fmt.Fprintln(w, line)
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

// Go starts a goroutine of the command line. A panic in a goroutine ends the process
// in any case, and nobody else can recover it; here it ends with a line and the exit
// code of a failure.
func Go(f func()) { go Guarded(f)() }

// Guarded is f for goroutines that something else starts: a WaitGroup, an AfterFunc.
func Guarded(f func()) func() {
	return func() {
		defer func() {
			if v := recover(); v != nil {
				Tell(os.Stderr, v)
				os.Exit(int(exit.Failure))
			}
		}()
		f()
	}
}
