package cli

import (
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

// A node that was just restarted does not know yet where clients reach the others.
// Asked first, it must not make them look dead.
func TestStatus_TheFirstAddressIsOfANodeThatCatchesUp(t *testing.T) {
	hermetic(t)
	f, late := startFake(t), startFake(t)
	late.restarted = true
	for _, addresses := range []string{late.address + "," + f.address, f.address + "," + late.address} {
		var stdout, stderr strings.Builder
		code := Main([]string{"cluster", "status", "--address", addresses}, &stdout, &stderr)
		if code != exit.OK || !strings.Contains(stdout.String(), "n1    leader") || !strings.Contains(stdout.String(), "\nleader n1, cluster cc at version 2\n") {
			t.Errorf("%d, %s%s", code, stdout.String(), stderr.String())
		}
	}
}

func TestStatus_OnlyTheNodeThatCatchesUpIsAsked(t *testing.T) {
	hermetic(t)
	f := startFake(t)
	f.restarted = true
	code, stdout, stderr := invoke(f, "cluster", "status")
	if code != exit.OK || !strings.Contains(stdout, "n2    follower") || strings.Contains(stdout, "NO_QUORUM") || strings.Contains(stdout, "(does not answer)") ||
		!strings.Contains(stdout, "the client address of n1 is not known yet to the node that was asked; wait until") {
		t.Errorf("%d, %s%s", code, stdout, stderr)
	}
}
