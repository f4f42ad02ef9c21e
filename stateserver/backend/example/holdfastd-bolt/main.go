// Command holdfastd-bolt is holdfastd with one more state backend: an example of a
// daemon with a backend of one's own. Jobs name it as state.backend: bolt.
package main

import (
	"github.com/holdfast-io/holdfast/stateserver/backend/example/boltbackend"
	"github.com/holdfast-io/holdfast/stateserver/daemon"
)

func main() { daemon.Main(boltbackend.Register) }
