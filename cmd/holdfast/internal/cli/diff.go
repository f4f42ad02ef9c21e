package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/snapshots"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/values"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func (a *app) diffCommand() *cobra.Command {
	var f stateFlags
	cmd := &cobra.Command{
		Use: "diff PATH1 PATH2", GroupID: groupState, Short: "Compare the state of two checkpoints or savepoints, key by key", Args: exactly("PATH1", "PATH2"),
		Long: `Prints a line for each key that was added (+), removed (-) or changed (~) from PATH1
to PATH2, with its values by their declared type, and for each state that only one of
them has. The exit code is 1 if there is a difference, as that of diff. State of any
size can be compared; -o json prints one object on each line. Of operator state a key is
SUBTASK/KEY, or SUBTASK/PLACE in a list.`,
		Example:           "  holdfast diff s3://bucket/sp/savepoint-0a1b2c-0123456789ab s3://bucket/sp/savepoint-0a1b2c-ba9876543210\n  holdfast diff PATH1 PATH2 --uid mapper --state counters --key-type int64   # holdfast verify checks the files",
		ValidArgsFunction: fixedWords(),
	}
	f.registerState(cmd)
	completeFlag(cmd, "uid", fixedWords())
	completeFlag(cmd, "state", fixedWords())
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		d := differ{app: a, flags: f, paths: [2]string{snapshots.URL(args[0]), snapshots.URL(args[1])}}
		return a.tellingProgress("comparing", func(c *connect.Cluster, p *render.Progress) error {
			d.cluster, d.progress = c, p
			return d.run(ctx)
		})
	})
	return exits(cmd, exit.NotFound, exit.Unavailable, exit.Refused)
}

// differ is one `holdfast diff`.
type differ struct {
	app      *app
	cluster  *connect.Cluster
	progress *render.Progress
	flags    stateFlags
	paths    [2]string
	sum      snapshots.Counts
	// states are differences of whole states.
	states int
}

// stateRef names a state of a checkpoint or savepoint.
type stateRef struct{ uid, name string }

type snapshotState struct {
	declaredState
	// maxParallelism is 0 of an operator state, which has no key groups.
	maxParallelism uint32
}

// diffView is one line of `diff -o json`.
type diffView struct {
	Change string `json:"change"`
	UID    string `json:"uid,omitempty"`
	State  string `json:"state,omitempty"`
	// Subtask and Place are those of an operator state.
	Subtask *uint32        `json:"subtask,omitempty"`
	Place   *uint64        `json:"place,omitempty"`
	Key     any            `json:"key,omitempty"`
	KeyHex  values.Hex     `json:"key_hex,omitempty"`
	Before  any            `json:"before,omitempty"`
	After   any            `json:"after,omitempty"`
	Counts  map[string]any `json:"counts,omitempty"`
}

func (d *differ) run(ctx context.Context) error {
	var sides [2]map[stateRef]snapshotState
	for i, path := range d.paths {
		description, err := snapshots.Describe(ctx, d.cluster, path)
		if err != nil {
			return err
		}
		sides[i] = statesOf(description)
	}
	refs, err := d.choose(sides)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if err := d.state(ctx, ref, sides[0][ref], sides[1][ref]); err != nil {
			return err
		}
	}
	return d.end()
}

func statesOf(s *holdfastv1.SnapshotDescription) map[stateRef]snapshotState {
	out := map[stateRef]snapshotState{}
	for _, o := range s.GetOperators() {
		for _, st := range o.GetStates() {
			out[stateRef{o.GetOperator().GetUid(), st.GetState().GetName()}] = snapshotState{declaredState{value: st.GetState()}, o.GetOperator().GetMaxParallelism()}
		}
		for _, st := range o.GetOperatorStates() {
			out[stateRef{o.GetOperator().GetUid(), st.GetState().GetName()}] = snapshotState{declaredState: elementState(st.GetState())}
		}
	}
	return out
}

// choose lists the states that --uid and --state leave, of both sides.
func (d *differ) choose(sides [2]map[stateRef]snapshotState) ([]stateRef, error) {
	var out []stateRef
	for _, side := range sides {
		for ref := range side {
			fits := (d.flags.uid == "" || d.flags.uid == ref.uid) && (d.flags.state == "" || d.flags.state == ref.name)
			if fits && !slices.Contains(out, ref) {
				out = append(out, ref)
			}
		}
	}
	if len(out) == 0 && (d.flags.uid != "" || d.flags.state != "") {
		return nil, exit.Errorf(exit.NotFound, "neither of the two has such a state; `holdfast diff` without --uid and --state compares all")
	}
	slices.SortFunc(out, func(a, b stateRef) int { return slices.Compare([]string{a.uid, a.name}, []string{b.uid, b.name}) })
	return out, nil
}

// state compares one state of both sides.
func (d *differ) state(ctx context.Context, ref stateRef, a, b snapshotState) error {
	switch {
	case a.value == nil:
		return d.whole("state_added", ref, fmt.Sprintf("+ state %s/%s", ref.uid, ref.name))
	case b.value == nil:
		return d.whole("state_removed", ref, fmt.Sprintf("- state %s/%s", ref.uid, ref.name))
	case a.mode() != b.mode():
		return d.whole("state_changed", ref, fmt.Sprintf("~ state %s/%s: %s -> %s", ref.uid, ref.name, a.text(), b.text()))
	case a.maxParallelism != b.maxParallelism:
		return exit.Errorf(exit.Refused, "state %s/%s has %d key groups in one and %d in the other, so its keys are in another order", ref.uid, ref.name, a.maxParallelism, b.maxParallelism)
	}
	if !proto.Equal(a.value, b.value) || !proto.Equal(a.operator, b.operator) {
		if err := d.whole("state_changed", ref, fmt.Sprintf("~ state %s/%s: %s -> %s", ref.uid, ref.name, a.text(), b.text())); err != nil {
			return err
		}
	}
	d.progress.Set(fmt.Sprintf("comparing %s/%s", ref.uid, ref.name))
	var readers [2]*snapshots.Reader
	for i, path := range d.paths {
		r, err := snapshots.Open(ctx, d.cluster, &holdfastv1.ReadSnapshotRequest{Path: path, OperatorUid: ref.uid, StateName: ref.name})
		if err != nil {
			return err
		}
		defer r.Close()
		readers[i] = r
	}
	n, err := snapshots.Merge(readers[0], readers[1], func(before, after *holdfastv1.StateEntry) error {
		return d.key(ref, [2]declaredState{a.declaredState, b.declaredState}, [2]*holdfastv1.StateEntry{before, after})
	})
	d.sum.Added, d.sum.Removed, d.sum.Changed = d.sum.Added+n.Added, d.sum.Removed+n.Removed, d.sum.Changed+n.Changed
	return err
}

func (d *differ) whole(change string, ref stateRef, text string) error {
	d.states++
	return d.print(diffView{Change: change, UID: ref.uid, State: ref.name}, text)
}

// key prints a key that differs.
func (d *differ) key(ref stateRef, types [2]declaredState, entries [2]*holdfastv1.StateEntry) error {
	v := diffView{UID: ref.uid, State: ref.name}
	var shown [2]any
	var key entryView
	for i, e := range entries {
		if e == nil {
			continue
		}
		views, err := viewEntries(d.flags.keyType, types[i], []*holdfastv1.StateEntry{e}, false)
		if err != nil {
			return err
		}
		key, shown[i] = views[0], views[0].Value
	}
	v.Subtask, v.Place, v.Key, v.KeyHex, v.Before, v.After = key.Subtask, key.Place, key.Key, key.KeyHex, shown[0], shown[1]
	name := fmt.Sprintf("%s/%s %s", ref.uid, ref.name, key.keyText())
	switch {
	case entries[0] == nil:
		v.Change = "added"
		return d.print(v, fmt.Sprintf("+ %s: %s", name, values.Text(shown[1])))
	case entries[1] == nil:
		v.Change = "removed"
		return d.print(v, fmt.Sprintf("- %s: %s", name, values.Text(shown[0])))
	}
	v.Change = "changed"
	text := fmt.Sprintf("~ %s: %s -> %s", name, values.Text(shown[0]), values.Text(shown[1]))
	if values.Text(shown[0]) == values.Text(shown[1]) {
		text += " (updated at another time)"
	}
	return d.print(v, text)
}

func (d *differ) print(v diffView, text string) error {
	if d.app.format == render.FormatJSON {
		return render.JSONLine(d.app.stdout, v)
	}
	_, err := fmt.Fprintln(d.app.stdout, text)
	return err
}

// end prints the sum, and makes a difference exit code 1.
func (d *differ) end() error {
	counts := map[string]any{"added": d.sum.Added, "removed": d.sum.Removed, "changed": d.sum.Changed, "states": d.states}
	text := fmt.Sprintf("%d keys added, %d removed, %d changed; %d states differ as a whole", d.sum.Added, d.sum.Removed, d.sum.Changed, d.states)
	if !d.sum.Any() && d.states == 0 {
		text = "no difference"
	}
	if err := d.print(diffView{Change: "sum", Counts: counts}, text); err != nil {
		return err
	}
	if d.sum.Any() || d.states > 0 {
		return &exit.Error{Code: exit.Failure} // the lines have said it
	}
	return nil
}

// descriptorText is a descriptor for a person.
func descriptorText(s *holdfastv1.StateDescriptor) string {
	kind := kindName(s.GetKind())
	text := kind + " " + s.GetType()
	if s.GetMapKeyType() != "" {
		text = kind + " " + s.GetMapKeyType() + " to " + s.GetType()
	}
	if v := s.GetTypeVersion(); v > 0 {
		text += fmt.Sprintf(" version %d", v)
	}
	if ms := s.GetTtl().GetTtlMs(); ms > 0 {
		text += ", TTL " + durationText(ms)
	}
	return text
}
