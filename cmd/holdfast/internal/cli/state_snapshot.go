package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/snapshots"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// openSnapshotState opens the state of the checkpoint or savepoint that the flags name.
func (f *stateFlags) openSnapshotState(ctx context.Context, c *connect.Cluster, keys [][]byte, keysOnly bool) (*snapshots.Reader, error) {
	request := &holdfastv1.ReadSnapshotRequest{Path: f.path(), OperatorUid: f.uid, StateName: f.state, Keys: keys, KeysOnly: keysOnly}
	if f.uid == "" || f.state == "" {
		description, err := snapshots.Describe(ctx, c, f.path())
		if err != nil {
			return nil, err
		}
		if request.OperatorUid, request.StateName, err = onlyState("the "+f.what()+" "+f.path(), operatorsOf(description), f.uid, f.state); err != nil {
			return nil, err
		}
	}
	return snapshots.Open(ctx, c, request)
}

// getFromSnapshot prints keys of a checkpoint or savepoint.
func (a *app) getFromSnapshot(ctx context.Context, f stateFlags, texts []string) error {
	if err := f.check(); err != nil {
		return err
	}
	answer := &holdfastv1.GetResponse{}
	err := a.withCluster("reading the "+f.what(), func(c *connect.Cluster) error {
		description, err := snapshots.Describe(ctx, c, f.path())
		if err != nil {
			return err
		}
		keys, err := f.encode(operatorStateIn(operatorsOf(description), f.uid, f.state), texts)
		if err != nil {
			return err
		}
		r, err := f.openSnapshotState(ctx, c, keys, false)
		if err != nil {
			return err
		}
		defer r.Close()
		found := map[string][]*holdfastv1.StateEntry{}
		for e := r.Next(); e != nil; e = r.Next() {
			found[string(e.GetKey())] = append(found[string(e.GetKey())], e)
		}
		answer.Type, answer.StateDescriptor, answer.OperatorState = r.Descriptor().GetType(), r.Descriptor(), r.OperatorState()
		for _, k := range keys {
			if len(found[string(k)]) == 0 {
				answer.Entries = append(answer.Entries, &holdfastv1.StateEntry{Key: k})
			}
			answer.Entries = append(answer.Entries, found[string(k)]...)
		}
		return r.Err()
	})
	if err != nil {
		return err
	}
	return a.printGot(f.keyType, answer)
}

// listSnapshot prints the first entries of a checkpoint or savepoint.
func (a *app) listSnapshot(ctx context.Context, f stateFlags, limit int, keysOnly bool) error {
	answer, more := &holdfastv1.ScanResponse{}, false
	err := a.withCluster("reading the "+f.what(), func(c *connect.Cluster) error {
		r, err := f.openSnapshotState(ctx, c, nil, keysOnly)
		if err != nil {
			return err
		}
		defer r.Close()
		answer.Type, answer.StateDescriptor, answer.OperatorState = r.Descriptor().GetType(), r.Descriptor(), r.OperatorState()
		for e := r.Next(); e != nil; e = r.Next() {
			if more = len(answer.Entries) == limit; more {
				return nil
			}
			answer.Entries = append(answer.Entries, e)
		}
		return r.Err()
	})
	if err != nil {
		return err
	}
	if err := a.printScan(f.keyType, keysOnly, answer); err != nil {
		return err
	}
	if more {
		a.note("there are more; `holdfast state scan` prints all")
	}
	return nil
}

func (a *app) stateScanCommand() *cobra.Command {
	var f stateFlags
	var keysOnly bool
	cmd := &cobra.Command{
		Use: "scan JOB", Short: "Print all keys and values of one state, as they come", Args: f.args(),
		Long: "State of any size is printed, a line for each key; -o json prints one object on each\nline. Of live state a key that exists throughout is there once.",
		Example: "  holdfast state scan CheckpointExample\n" +
			"  holdfast state scan --savepoint s3://bucket/savepoints/savepoint-0a1b2c-0123456789ab -o json",
	}
	f.register(cmd)
	f.complete(a, cmd)
	cmd.Flags().BoolVar(&keysOnly, "keys-only", false, "leave the values out")
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return a.tellingProgress("reading the state", func(c *connect.Cluster, p *render.Progress) error {
			s := scanner{app: a, flags: f, keysOnly: keysOnly, progress: p}
			if f.path() != "" {
				return s.snapshot(ctx, c)
			}
			return s.job(ctx, c, args[0])
		})
	})
	return cmd
}

// scanner prints entries as they come.
type scanner struct {
	app      *app
	flags    stateFlags
	keysOnly bool
	progress *render.Progress
	printed  uint64
}

func (s *scanner) snapshot(ctx context.Context, c *connect.Cluster) error {
	r, err := s.flags.openSnapshotState(ctx, c, nil, s.keysOnly)
	if err != nil {
		return err
	}
	defer r.Close()
	for e := r.Next(); e != nil; e = r.Next() {
		if err := s.print(declaredState{r.Descriptor(), r.OperatorState()}, e); err != nil {
			return err
		}
	}
	return r.Err()
}

func (s *scanner) job(ctx context.Context, c *connect.Cluster, job string) error {
	selector, err := s.flags.selector(ctx, c, job)
	if err != nil {
		return err
	}
	request := &holdfastv1.ScanRequest{State: selector, PageSize: 10000, KeysOnly: s.keysOnly}
	for {
		answer, err := scanPage(ctx, c, request)
		if err != nil {
			return err
		}
		d := declared(answer)
		for _, e := range answer.GetEntries() {
			if err := s.print(d, e); err != nil {
				return err
			}
		}
		if request.PageToken = answer.GetNextPageToken(); len(request.PageToken) == 0 {
			return nil
		}
	}
}

func (s *scanner) print(d declaredState, e *holdfastv1.StateEntry) error {
	views, err := viewEntries(s.flags.keyType, d, []*holdfastv1.StateEntry{e}, s.keysOnly)
	if err != nil {
		return err
	}
	if s.printed++; s.printed%4096 == 0 {
		s.progress.Set(fmt.Sprintf("reading the state: %d keys so far", s.printed))
	}
	v := views[0]
	if s.app.format == render.FormatJSON {
		return render.JSONLine(s.app.stdout, v)
	}
	text := v.keyText()
	if !s.keysOnly {
		text += "\t" + v.valueText()
	}
	_, err = fmt.Fprintln(s.app.stdout, text)
	return err
}

// stateView is one state of a job, checkpoint or savepoint. What only its backend could count is
// absent.
type stateView struct {
	UID  string `json:"uid"`
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Mode is that of an operator state.
	Mode    string  `json:"mode,omitempty"`
	Type    string  `json:"type"`
	MapKey  string  `json:"map_key_type,omitempty"`
	TTLMs   uint64  `json:"ttl_ms,omitempty"`
	Entries *uint64 `json:"entries,omitempty"`
	Bytes   *uint64 `json:"bytes,omitempty"`

	text string
}

func viewState(uid string, d *holdfastv1.StateDescriptor, entries, bytes *uint64) stateView {
	return stateView{
		UID: uid, Name: d.GetName(), Kind: kindName(d.GetKind()), Type: d.GetType(), MapKey: d.GetMapKeyType(),
		TTLMs: d.GetTtl().GetTtlMs(), Entries: entries, Bytes: bytes, text: descriptorText(d),
	}
}

func kindName(k holdfastv1.StateKind) string {
	return strings.ToLower(strings.TrimPrefix(k.String(), "STATE_KIND_"))
}

func (a *app) stateStatesCommand() *cobra.Command {
	var f stateFlags
	cmd := &cobra.Command{
		Use: "states JOB", Short: "List the named states of a job, a checkpoint or a savepoint", Args: f.args(),
		Example: "  holdfast state states CheckpointExample\n  holdfast state states --savepoint s3://bucket/savepoints/savepoint-0a1b2c-0123456789ab",
	}
	f.keyType = "string"
	cmd.Flags().StringVar(&f.checkpoint, "checkpoint", "", "directory of a retained checkpoint, in place of JOB")
	cmd.Flags().StringVar(&f.savepoint, "savepoint", "", "directory of a savepoint, in place of JOB")
	completeFlag(cmd, "checkpoint", fixedWords())
	completeFlag(cmd, "savepoint", fixedWords())
	cmd.ValidArgsFunction = a.completeJobs(anyJob, nil)
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		var list []stateView
		err := a.withCluster("asking for the states", func(c *connect.Cluster) (err error) {
			if f.path() != "" {
				list, err = snapshotStates(ctx, c, f.path())
			} else {
				list, err = jobStates(ctx, c, args[0])
			}
			return err
		})
		if err != nil {
			return err
		}
		return a.printStates(list)
	})
	return exits(cmd, exit.NotFound, exit.Unavailable, exit.Refused)
}

func snapshotStates(ctx context.Context, c *connect.Cluster, path string) ([]stateView, error) {
	list := []stateView{}
	s, err := snapshots.Describe(ctx, c, path)
	for _, o := range s.GetOperators() {
		for _, st := range o.GetStates() {
			list = append(list, viewState(o.GetOperator().GetUid(), st.GetState(), st.Entries, st.Bytes))
		}
		for _, st := range o.GetOperatorStates() {
			list = append(list, viewOperatorState(o.GetOperator().GetUid(), st.GetState(), st.Entries, st.Bytes))
		}
	}
	return list, err
}

// jobStates adds up what the subtasks have.
func jobStates(ctx context.Context, c *connect.Cluster, job string) ([]stateView, error) {
	list := []stateView{}
	d, err := jobs.Describe(ctx, c, job)
	for _, o := range d.GetSpec().GetOperators() {
		for _, st := range o.GetStates() {
			list = append(list, viewState(o.GetUid(), st, nil, nil))
		}
		for _, st := range o.GetOperatorStates() {
			list = append(list, viewOperatorState(o.GetUid(), st, nil, nil))
		}
	}
	return list, err
}

func (a *app) printStates(list []stateView) error {
	t := render.Table{Header: []string{"OPERATOR", "STATE", "DECLARED AS", "ENTRIES", "SIZE"}}
	for _, s := range list {
		entries, size := "-", "-"
		if s.Entries != nil {
			entries = fmt.Sprint(*s.Entries)
		}
		if s.Bytes != nil {
			size = render.Bytes(*s.Bytes)
		}
		t.Add(s.UID, s.Name, s.text, entries, size)
	}
	return a.print(map[string]any{"states": list}, func(w io.Writer) error { return a.table(w, t) })
}
