//go:build !linux

package procs

import "os/exec"

func startBound(cmd *exec.Cmd) error { return cmd.Start() }
