// Command holdfast starts clusters and operator processes, administers jobs,
// reads state and shows the whole in a demo. `holdfast --help` lists it all.
package main

import (
	"os"
	"runtime/debug"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/cli"
)

func main() {
	// A panic of a command's own goroutine is one line; one elsewhere shows no
	// stacks either.
	debug.SetTraceback("none")
	os.Exit(int(cli.Main(os.Args[1:], os.Stdout, os.Stderr)))
}
