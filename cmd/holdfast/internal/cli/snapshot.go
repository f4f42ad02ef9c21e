package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/nodes"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
)

func (a *app) snapshotCommand() *cobra.Command {
	cmd := a.parent("snapshot", groupCluster, "Back up a cluster's own state, look into a backup, begin a cluster from one",
		"  holdfast snapshot save backup.snap\n  holdfast snapshot inspect backup.snap\n  holdfast snapshot restore backup.snap --data-dir /var/lib/holdfast")
	cmd.AddCommand(a.snapshotSaveCommand(), a.snapshotInspectCommand(), a.snapshotRestoreCommand())
	return cmd
}

func (a *app) snapshotSaveCommand() *cobra.Command {
	var stale bool
	cmd := &cobra.Command{
		Use: "save FILE", Short: "Write the whole replicated state into a file", Args: exactly("FILE"),
		Long: `The file has jobs, the keyed state of the memory backend, and checkpoints, as of one
index of the log, with checksums over every byte. Any node gives it, after it has caught up with the
leader. An old file is replaced only when the new one is complete and checked.
Files of checkpoints are not in it, nor what is in Kafka.`,
		Example: "  holdfast snapshot save backup.snap\n  holdfast snapshot save backup.snap --stale --address HOST1:7070   # no leader: what this node has",
	}
	cmd.Flags().BoolVar(&stale, "stale", false, "do not ask the leader; the file may lack the newest entries")
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		info, err := a.saveSnapshot(ctx, args[0], stale)
		if err != nil {
			return err
		}
		return a.printSnapshot(args[0], info)
	})
	return cmd
}

// saveSnapshot writes a file beside the one that is wanted, and puts it in its
// place when it is complete.
func (a *app) saveSnapshot(ctx context.Context, file string, stale bool) (info raftstore.SnapshotInfo, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".part-*")
	if err != nil {
		return info, fmt.Errorf("write %s: %w", file, err)
	}
	defer func() {
		_ = tmp.Close() // closed before, if all is well
		_ = os.Remove(tmp.Name())
	}()
	err = a.tellingProgress("waiting for the snapshot", func(c *connect.Cluster, p *render.Progress) error {
		return c.DoWithin(ctx, memberLimit, func(ctx context.Context, conn grpc.ClientConnInterface) error {
			return receiveSnapshot(ctx, conn, stale, tmp, p)
		})
	})
	if err != nil {
		return info, err
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return info, err
	}
	if info, err = raftstore.InspectSnapshot(tmp); err != nil {
		return info, fmt.Errorf("what came is no good snapshot, %s is left as it was: %w", file, err)
	}
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return info, fmt.Errorf("write %s: %w", tmp.Name(), err)
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return info, fmt.Errorf("write %s: %w", file, err)
	}
	return info, syncDir(filepath.Dir(file))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// receiveSnapshot streams from one node; a file that another one began is begun
// anew.
func receiveSnapshot(ctx context.Context, conn grpc.ClientConnInterface, stale bool, out *os.File, p *render.Progress) error {
	if err := out.Truncate(0); err != nil {
		return err
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	stream, err := holdfastv1.NewClusterServiceClient(conn).SaveSnapshot(ctx, &holdfastv1.SaveSnapshotRequest{Stale: stale})
	if err != nil {
		return err
	}
	var got, total uint64
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		total = max(total, m.GetTotalBytes())
		if _, err := out.Write(m.GetData()); err != nil {
			return err
		}
		got += uint64(len(m.GetData()))
		p.Set(fmt.Sprintf("got %s of %s of the snapshot", render.Bytes(got), render.Bytes(total)))
	}
	if got != total {
		return fmt.Errorf("the snapshot ended after %d of %d bytes", got, total)
	}
	return nil
}

func (a *app) snapshotInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "inspect FILE", Short: "Show what a snapshot holds; checks every checksum", Args: exactly("FILE"),
		Example: "  holdfast snapshot inspect backup.snap",
		RunE: a.do(func(_ context.Context, args []string) error {
			f, err := openSnapshot(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := raftstore.InspectSnapshot(f)
			if err != nil {
				return badSnapshot(args[0], err)
			}
			return a.printSnapshot(args[0], info)
		}),
	}
}

func openSnapshot(file string) (*os.File, error) {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, exit.Errorf(exit.NotFound, "no file %s", file)
	case err == nil && info.IsDir():
		return nil, exit.Errorf(exit.Failure, "%s is a directory; give the file that `holdfast snapshot save` wrote", file)
	}
	return os.Open(file)
}

// plain leaves the package names out of a sentence for a person.
func plain(err error) string { return strings.ReplaceAll(err.Error(), "raftstore: ", "") }

func badSnapshot(file string, err error) error {
	if errors.Is(err, raftstore.ErrBadSnapshot) {
		return exit.Errorf(exit.Failure, "%s cannot be used: %s; take another backup, this one is lost", file, plain(err))
	}
	return fmt.Errorf("%s: %w", file, err)
}

type snapshotView struct {
	File      string            `json:"file"`
	ClusterID string            `json:"cluster_id"`
	Index     uint64            `json:"index"`
	Term      uint64            `json:"term"`
	Checksum  string            `json:"checksum"`
	Bytes     map[string]uint64 `json:"bytes"`
	Jobs      []snapshotJobView `json:"jobs"`
}

type snapshotJobView struct {
	jobView
	KeyedBytes  uint64           `json:"keyed_bytes"`
	Checkpoints []checkpointView `json:"checkpoints"`
}

func (a *app) printSnapshot(file string, info raftstore.SnapshotInfo) error {
	v := snapshotView{
		File: file, ClusterID: info.ClusterID, Index: info.Index, Term: info.Term,
		Checksum: fmt.Sprintf("%08x", info.Sum), Bytes: info.Bytes, Jobs: []snapshotJobView{},
	}
	t := render.Table{Header: []string{"JOB", "STATUS", "CHECKPOINT", "CHECKPOINTS KEPT", "KEYED STATE", "JOB ID"}}
	for _, j := range info.Jobs {
		jv := snapshotJobView{jobView: viewJob(j.Summary), KeyedBytes: j.KeyedBytes, Checkpoints: []checkpointView{}}
		kept := 0
		for _, k := range j.Checkpoints {
			jv.Checkpoints = append(jv.Checkpoints, viewCheckpoint(k))
			if k.GetRetained() {
				kept++
			}
		}
		v.Jobs = append(v.Jobs, jv)
		t.Add(jv.Name, jv.Status, jv.LatestCompletedCheckpoint, kept, render.Bytes(j.KeyedBytes), jv.JobID)
	}
	return a.print(v, func(w io.Writer) error {
		fmt.Fprintf(w, "snapshot %s of cluster %s at index %d, term %d; checksum %s is right\n", v.File, v.ClusterID, v.Index, v.Term, v.Checksum)
		var sizes []string
		for _, kind := range slices.Sorted(maps.Keys(v.Bytes)) {
			sizes = append(sizes, fmt.Sprintf("%s %s", kind, render.Bytes(v.Bytes[kind])))
		}
		fmt.Fprintf(w, "bytes by kind: %s\n\n", strings.Join(sizes, ", "))
		return a.table(w, t)
	})
}

func (a *app) snapshotRestoreCommand() *cobra.Command {
	var dataDir, dir, tlsDir string
	var count int
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Make the data directory of a new cluster from a snapshot", Args: exactly("FILE"),
		Long: `Makes a new data directory; holdfastd then starts on it as on any new one, alone or
with --initial-cluster. For a cluster of several nodes do it on each, with the
same file. It is a NEW cluster: it has another id, no node of the old one can
speak to it, and every attempt of the old one is over. Jobs with checkpoints go on
from the newest completed one in the file, as long as its files are there; others on
the memory backend from their state in it and from where their source properties
say; others are SUSPENDED with STATE_LOST.

Be sure that no node of the old cluster runs any more: operators that still reach
one would go on there.

With --dir: lays out a local cluster of --nodes nodes, for "holdfast cluster start".`,
		Example: "  holdfast snapshot restore backup.snap --data-dir /var/lib/holdfast\n  holdfast snapshot restore backup.snap --dir ./hf2 --nodes 3",
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "data directory to make, which must be new or empty")
	cmd.Flags().StringVar(&dir, "dir", "", "directory of a local cluster to make")
	cmd.Flags().IntVar(&count, "nodes", 3, "number of nodes, with --dir")
	tlsDirFlag(cmd, &tlsDir)
	cmd.RunE = a.do(func(_ context.Context, args []string) error {
		if (dataDir == "") == (dir == "") {
			return exit.Errorf(exit.Usage, "one of --data-dir and --dir is needed: where the new cluster is to be")
		}
		if dir == "" {
			return a.restoreInto(args[0], []string{dataDir}, "start holdfastd with --data-dir "+dataDir+"; with --initial-cluster once every member has such a directory")
		}
		c, err := nodes.Create(dir, count, 0, tlsDir)
		if err != nil {
			return err
		}
		var dirs []string
		for _, n := range c.Nodes() {
			dirs = append(dirs, n.DataDir())
		}
		return a.restoreInto(args[0], dirs, "holdfast cluster start --dir "+dir)
	})
	return cmd
}

func (a *app) restoreInto(file string, dirs []string, next string) error {
	var info raftstore.SnapshotInfo
	for _, dir := range dirs {
		f, err := openSnapshot(file)
		if err != nil {
			return err
		}
		info, err = raftstore.Refound(f, dir)
		_ = f.Close() // it was only read
		switch {
		case errors.Is(err, raftstore.ErrDirNotEmpty):
			return exit.Errorf(exit.Refused, "%s", plain(err))
		case err != nil:
			return badSnapshot(file, err)
		}
	}
	v := map[string]any{"file": file, "cluster_id": info.ClusterID, "index": info.Index, "data_dirs": dirs, "next": next}
	return a.print(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "made %s with the state of cluster %s at index %d: %d jobs\nnext: %s\n",
			strings.Join(dirs, ", "), info.ClusterID, info.Index, len(info.Jobs), next)
		return err
	})
}
