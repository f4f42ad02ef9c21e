package cli

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/snapshots"
)

// restoreFlags say what a job begins from. The program is told by the variables of
// execution.state-recovery.*.
type restoreFlags struct {
	path, claimMode string
	allow           bool
}

func (f *restoreFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.path, "from-savepoint", "s", "", "directory of a savepoint or retained checkpoint to begin from")
	flags.BoolVarP(&f.allow, "allow-non-restored-state", "n", false, "begin although the savepoint has state that the program does not have")
	flags.StringVar(&f.claimMode, "claim-mode", "", "whose its files are: NO_CLAIM or CLAIM (default NO_CLAIM)")
	completeFlag(cmd, "from-savepoint", fixedWords())
	completeFlag(cmd, "claim-mode", fixedWords("NO_CLAIM", "CLAIM"))
}

func (f *restoreFlags) check() error {
	switch mode := strings.ToUpper(f.claimMode); {
	case mode != "" && mode != "NO_CLAIM" && mode != "CLAIM":
		return exit.Errorf(exit.Usage, "--claim-mode is NO_CLAIM or CLAIM, not %q", f.claimMode)
	case f.path == "" && (f.allow || mode != ""):
		return exit.Errorf(exit.Usage, "--allow-non-restored-state and --claim-mode need --from-savepoint")
	}
	return nil
}

// environment is what the program is told; nothing without --from-savepoint, so that
// what its own environment says counts then.
func (f *restoreFlags) environment() []string {
	if f.path == "" {
		return nil
	}
	mode := strings.ToUpper(f.claimMode)
	if mode == "" {
		mode = "NO_CLAIM"
	}
	const family = "HOLDFAST_EXECUTION_STATE_RECOVERY_"
	return []string{
		family + "PATH=" + snapshots.URL(f.path),
		family + "IGNORE_UNCLAIMED_STATE=" + strconv.FormatBool(f.allow),
		family + "CLAIM_MODE=" + mode,
	}
}
