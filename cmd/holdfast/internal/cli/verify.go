package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/snapshots"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func (a *app) verifyCommand() *cobra.Command {
	return exits(&cobra.Command{
		Use: "verify PATH", GroupID: groupState, Short: "Read every file of a checkpoint or savepoint and tell what is wrong", Args: exactly("PATH"),
		Long: `PATH is the directory of _metadata: that of a savepoint, or chk-N of a job. Every
file that it names is read and compared with its size and hash. The exit code is 1 if
one is MISSING, TRUNCATED, TOO_LONG or FLIPPED, or if the directory has a FOREIGN one.`,
		Example:           "  holdfast verify s3://bucket/savepoints/savepoint-0a1b2c-0123456789ab",
		ValidArgsFunction: fixedWords(),
		RunE:              a.do(func(ctx context.Context, args []string) error { return a.verify(ctx, args[0]) }),
	}, exit.Unavailable, exit.Refused)
}

type fileProblemView struct {
	Fault       string `json:"fault"`
	Path        string `json:"path"`
	Detail      string `json:"detail,omitempty"`
	OperatorUID string `json:"operator_uid,omitempty"`
	Subtask     uint32 `json:"subtask"`
}

type verifyView struct {
	Path     string            `json:"path"`
	Files    uint64            `json:"files"`
	Bytes    uint64            `json:"bytes"`
	Problems []fileProblemView `json:"problems"`
}

func (a *app) verify(ctx context.Context, path string) error {
	var found *snapshots.Verification
	err := a.tellingProgress("reading every file", func(c *connect.Cluster, p *render.Progress) (err error) {
		found, err = snapshots.Verify(ctx, c, path, func(n int) { p.Set(fmt.Sprintf("reading every file: %d problems so far", n)) })
		return err
	})
	if err != nil {
		return err
	}
	v := verifyView{Path: path, Files: found.Verified.GetFiles(), Bytes: found.Verified.GetBytes(), Problems: []fileProblemView{}}
	t := render.Table{Header: []string{"FAULT", "FILE", "SUBTASK", "DETAIL"}}
	for _, p := range found.Problems {
		pv := viewFileProblem(p)
		v.Problems = append(v.Problems, pv)
		subtask := "-"
		if pv.OperatorUID != "" {
			subtask = fmt.Sprintf("%s/%d", pv.OperatorUID, pv.Subtask)
		}
		t.Add(pv.Fault, pv.Path, subtask, pv.Detail)
	}
	err = a.print(v, func(w io.Writer) error {
		if len(v.Problems) > 0 {
			if err := a.table(w, t); err != nil {
				return err
			}
			fmt.Fprintln(w)
		}
		_, err := fmt.Fprintf(w, "%s: %d files with %s were read, %d problems\n", path, v.Files, render.Bytes(v.Bytes), len(v.Problems))
		return err
	})
	if err == nil && len(v.Problems) > 0 {
		return exit.Errorf(exit.Failure, "%s is not as its _metadata says: %d problems", path, len(v.Problems))
	}
	return err
}

func viewFileProblem(p *holdfastv1.SnapshotProblem) fileProblemView {
	return fileProblemView{
		Fault: strings.TrimPrefix(p.GetFault().String(), "SNAPSHOT_FAULT_"), Path: p.GetPath(), Detail: p.GetDetail(),
		OperatorUID: p.GetOperatorUid(), Subtask: p.GetSubtaskIndex(),
	}
}
