package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	"github.com/holdfast-io/holdfast/internal/config"
	configflags "github.com/holdfast-io/holdfast/internal/config/flags"
)

func (a *app) configCommand() *cobra.Command {
	cmd := a.parent("config", groupOther, "Check and show the configuration of nodes and jobs",
		"  holdfast config check holdfast.yaml\n  holdfast config show --config holdfast.yaml")
	cmd.AddCommand(a.configCheckCommand(), a.configShowCommand())
	return cmd
}

// problemView is one line of `config check -o json`.
type problemView struct {
	Source  config.SourceKind `json:"source"`
	Name    string            `json:"name,omitempty"`
	Line    int               `json:"line,omitempty"`
	Key     string            `json:"key,omitempty"`
	Message string            `json:"message"`
}

type checkView struct {
	File     string        `json:"file"`
	Valid    bool          `json:"valid"`
	Problems []problemView `json:"problems"`
	Notes    []string      `json:"notes"`
}

func (a *app) configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Short: "Tell everything that is wrong with a configuration file", Args: exactly("FILE"),
		Long: `Reads the file as nodes and programs do, without the environment, and lists every
problem with its line. The exit code is 0 if there is none and 1 otherwise.`,
		Example: "  holdfast config check holdfast.yaml\n  holdfast config check holdfast.yaml -o json",
		RunE: a.do(func(_ context.Context, args []string) error {
			return a.checkConfig(args[0])
		}),
	}
}

func (a *app) checkConfig(file string) error {
	r := config.Load(config.Sources{Reader: config.ForCheck, File: file})
	v := checkView{File: file, Valid: r.Err() == nil, Problems: viewProblems(r.Problems), Notes: append([]string{}, r.Notes...)}
	err := a.print(v, func(w io.Writer) error {
		for _, p := range r.Problems {
			fmt.Fprintln(w, p.Error())
		}
		for _, n := range r.Notes {
			fmt.Fprintln(w, n)
		}
		if v.Valid {
			fmt.Fprintf(w, "%s is valid\n", file)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return problemsFound(r)
}

func viewProblems(problems config.Problems) []problemView {
	out := []problemView{}
	for _, p := range problems {
		out = append(out, problemView{Source: p.Source.Kind, Name: p.Source.Name, Line: p.Source.Line, Key: p.Key, Message: p.Message})
	}
	return out
}

// problemsFound is the failure of a command that has listed the problems.
func problemsFound(r *config.Result) error {
	switch n := len(r.Problems); n {
	case 0:
		return nil
	case 1:
		return exit.Errorf(exit.Failure, "the configuration has 1 problem")
	default:
		return exit.Errorf(exit.Failure, "the configuration has %d problems", n)
	}
}

// settingView is one key of `config show -o json`.
type settingView struct {
	Key string `json:"key"`
	// Value is null for a key that follows from others.
	Value   *string           `json:"value"`
	Derived string            `json:"derived,omitempty"`
	Source  config.SourceKind `json:"source"`
	Name    string            `json:"name,omitempty"`
	Line    int               `json:"line,omitempty"`
}

func (a *app) configShowCommand() *cobra.Command {
	var file string
	var given *configflags.Set
	cmd := &cobra.Command{
		Use: "show", Short: "Print the value of every key and where it came from", Args: exactly(),
		Long: `Prints what holdfastd would use if it were started here with the same flags: the
value of every key, and whether it comes from a flag, the environment, the file
or is the default. Keys of jobs are what a program would get that sets nothing
itself.`,
		Example: "  holdfast config show\n  holdfast config show --config holdfast.yaml --name n1 -o json",
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&file, "config", "", "configuration file (default: $"+config.FileVariable+", else none)")
	given = configflags.Register(cmd.Flags())
	cmd.RunE = a.do(func(context.Context, []string) error {
		if file == "" {
			file = os.Getenv(config.FileVariable)
		}
		return a.showConfig(config.Sources{File: file, Environ: os.Environ(), Flags: given.Values()})
	})
	return cmd
}

func (a *app) showConfig(from config.Sources) error {
	r := config.Load(from)
	for _, n := range r.Notes {
		a.note("%s", n)
	}
	if r.Err() != nil {
		for _, p := range r.Problems {
			a.note("%s", p.Error())
		}
		return problemsFound(r)
	}
	return a.print(map[string]any{"settings": viewSettings(r)}, func(w io.Writer) error {
		t := render.Table{Header: []string{"KEY", "VALUE", "FROM"}}
		for _, s := range r.Settings() {
			t.Add(s.Key.Name, s.Shown(), s.Source)
		}
		return a.table(w, t)
	})
}

func viewSettings(r *config.Result) []settingView {
	var out []settingView
	for _, s := range r.Settings() {
		v := settingView{Key: s.Key.Name, Source: s.Source.Kind, Name: s.Source.Name, Line: s.Source.Line}
		if s.Source.Kind == config.SourceDefault && s.Key.Derived != "" {
			v.Derived = s.Key.Derived
		} else {
			shown := s.Shown()
			v.Value = &shown
		}
		out = append(out, v)
	}
	return out
}
