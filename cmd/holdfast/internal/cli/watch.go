package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// watchEvery is the pause between two looks where nothing tells of changes.
const watchEvery = time.Second

// watchFlag adds --watch.
func watchFlag(cmd *cobra.Command, on *bool) {
	cmd.Flags().BoolVarP(on, "watch", "w", false, "show it again whenever it changes, until Ctrl-C; with -o json one line a change")
}

// seen is one look: what to print, as JSON and as tables.
type seen struct {
	view  any
	table func(io.Writer) error
	// last ends the watch: nothing will change any more.
	last bool
}

// showOrWatch prints one look, or with --watch every one that differs from the
// look before. changes, if not nil, tells when to look; else it is a matter of time.
func (a *app) showOrWatch(ctx context.Context, watch bool, changes <-chan struct{}, look func(context.Context) (seen, error)) error {
	first, err := look(ctx)
	if err != nil {
		return err
	}
	if !watch {
		return a.print(first.view, first.table)
	}
	w := &watcher{app: a, redraw: a.format == render.FormatTable && render.IsTerminal(a.stdout)}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for now := first; ; {
		if err := w.show(now); err != nil || now.last {
			return err
		}
		for {
			select {
			case <-ctx.Done():
				// A person ends a watch; that is no failure.
				return nil
			case <-changes:
			case <-tick.C:
			}
			next, err := look(ctx)
			if err == nil {
				now = next
				break
			}
			if ctx.Err() != nil {
				return nil
			}
			var e *exit.Error
			if !errors.As(err, &e) || e.Code != exit.Unavailable {
				return err
			}
			w.trouble(e)
		}
	}
}

// watcher prints looks that differ from the one before.
type watcher struct {
	app    *app
	redraw bool
	before []byte
	// silent is the trouble that was told last.
	silent string
}

func (w *watcher) show(s seen) error {
	var b bytes.Buffer
	var err error
	if w.app.format == render.FormatJSON {
		err = render.JSONLine(&b, s.view)
	} else {
		err = s.table(&b)
	}
	if err != nil || bytes.Equal(b.Bytes(), w.before) && w.silent == "" {
		return err
	}
	first := w.before == nil
	w.before, w.silent = bytes.Clone(b.Bytes()), ""
	switch {
	case w.redraw:
		w.draw(b.Bytes(), first)
	case w.app.format == render.FormatTable && !first:
		_, err = fmt.Fprintf(w.app.stdout, "\n%s", b.Bytes())
	default:
		_, err = w.app.stdout.Write(b.Bytes())
	}
	return err
}

// draw puts a look in the place of the one before: from the top, each line up to
// its end, then what is left below, so that nothing flickers.
func (w *watcher) draw(text []byte, first bool) {
	clear := ""
	if first {
		clear = "\x1b[2J"
	}
	head := w.app.style.Dim(time.Now().Format("15:04:05") + "  Ctrl-C ends")
	text = bytes.ReplaceAll(text, []byte("\n"), []byte("\x1b[K\n"))
	fmt.Fprintf(w.app.stdout, "%s\x1b[H%s\x1b[K\n\x1b[K\n%s\x1b[J", clear, head, text)
}

// trouble tells once that nobody answers; the watch goes on.
func (w *watcher) trouble(e *exit.Error) {
	if w.silent == e.Error() {
		return
	}
	w.silent = e.Error()
	w.app.note("%s; trying again", e)
}

// jobChanges tells of changes of a job until ctx ends, by its Watch stream, which is
// opened anew on another node when it breaks.
func jobChanges(ctx context.Context, c *connect.Cluster, job string) <-chan struct{} {
	changes := make(chan struct{}, 1)
	bug.Go(func() {
		for ctx.Err() == nil {
			// A stream that breaks is no news: the looks say what is wrong.
			_ = jobs.Watch(ctx, c, job, func(*holdfastv1.JobDescription) {
				select {
				case changes <- struct{}{}:
				default:
				}
			})
			if jobs.Pause(ctx, watchEvery) != nil {
				return
			}
		}
	})
	return changes
}

// watchJob is showOrWatch for what belongs to a job.
func (a *app) watchJob(ctx context.Context, watch bool, what, job string, look func(context.Context, *connect.Cluster) (seen, error)) error {
	c, _, err := a.open()
	if err != nil {
		return err
	}
	defer c.Close()
	var changes <-chan struct{}
	if watch {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		changes = jobChanges(ctx, c, job)
	}
	return a.showOrWatch(ctx, watch, changes, a.withProgress(what, c, look))
}

// withProgress tells of the first look that takes long; later ones are not waited
// for by anybody.
func (a *app) withProgress(what string, c *connect.Cluster, look func(context.Context, *connect.Cluster) (seen, error)) func(context.Context) (seen, error) {
	waited := false
	return func(ctx context.Context) (seen, error) {
		if !waited {
			waited = true
			progress := render.StartProgress(a.stderr, what)
			defer progress.Stop()
		}
		return look(ctx, c)
	}
}
