package cli

import (
	"io"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

// recovered turns a panic of a command into one line and an exit code. Those of its
// goroutines are seen to by who starts them, package bug.
func recovered(stderr io.Writer, value any, code *exit.Code) {
	if value != nil {
		bug.Tell(stderr, value)
		*code = exit.Failure
	}
}
