// Command holdfastd is one node of a Holdfast cluster.
package main

import "github.com/holdfast-io/holdfast/stateserver/daemon"

func main() { daemon.Main() }
