package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/contexts"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
)

func (a *app) contextCommand() *cobra.Command {
	cmd := a.parent("context", groupOther, "Keep the clusters that you work with by name",
		"  holdfast context add prod --address n1:7070,n2:7070\n  holdfast context use prod\n  holdfast context list")
	cmd.Long = `A context is a name for a cluster: its addresses, and its TLS files where it has
some. They are kept in holdfast/contexts.yaml of your configuration directory.

Which cluster a command is about is said by --address, --context,
HOLDFAST_ADDRESS, HOLDFAST_CONTEXT or the current context; the first of them that
is set counts. Without any of them it is 127.0.0.1:7070.`
	cmd.AddCommand(a.contextAddCommand(), a.contextUseCommand(), a.contextListCommand(), a.contextShowCommand(), a.contextRemoveCommand())
	return cmd
}

// contextView is a context as it is printed.
type contextView struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	contexts.Context
}

func loadContexts() (*contexts.File, error) {
	path, err := contexts.Path()
	if err != nil {
		return nil, err
	}
	return contexts.Load(path)
}

// changeContexts changes the file and prints a sentence about one of them.
func (a *app) changeContexts(name string, change func(*contexts.File) error, sentence string) error {
	f, err := loadContexts()
	if err != nil {
		return err
	}
	if err := change(f); err != nil {
		return err
	}
	if err := f.Save(); err != nil {
		return err
	}
	v := contextView{Name: name, Current: f.Current == name, Context: f.Contexts[name]}
	return a.print(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, sentence+"\n", name)
		if err == nil && f.Current == "" && len(f.Contexts) > 0 {
			a.note("no context is the current one; `holdfast context use NAME` chooses")
		}
		return err
	})
}

func (a *app) contextAddCommand() *cobra.Command {
	var c contexts.Context
	var replace bool
	cmd := &cobra.Command{
		Use: "add NAME --address HOST:PORT,...", Short: "Keep a cluster under a name", Args: exactly("NAME"),
		Long:    "The first context becomes the current one.",
		Example: "  holdfast context add dev --address 127.0.0.1:7070\n  holdfast context add prod --address n1:7070,n2:7070,n3:7070 --tls-ca-file ca.crt --tls-cert-file me.crt --tls-key-file me.key",
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "change a context that is there")
	cmd.RunE = a.do(func(_ context.Context, args []string) error {
		if a.addressList == "" {
			return exit.Errorf(exit.Usage, "--address is needed: the client addresses of the cluster's nodes")
		}
		if _, err := named(a.addressList, ""); err != nil {
			return err
		}
		c = contexts.Context{Address: a.addressList, TLSCA: a.tlsFlags.ca, TLSCert: a.tlsFlags.cert, TLSKey: a.tlsFlags.key, TLSServerName: a.tlsFlags.serverName}
		if _, err := a.tlsFlags.settings(contexts.Context{}).Open(); err != nil {
			return exit.Errorf(exit.Usage, "%w", err)
		}
		for _, file := range []*string{&c.TLSCA, &c.TLSCert, &c.TLSKey} {
			if *file == "" {
				continue
			}
			abs, err := filepath.Abs(*file)
			if err != nil {
				return err
			}
			*file = abs
		}
		return a.changeContexts(args[0], func(f *contexts.File) error { return f.Add(args[0], c, replace) }, "kept the context %s")
	})
	return cmd
}

func (a *app) contextUseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Make a context the current one", Args: exactly("NAME"),
		Example: "  holdfast context use prod", ValidArgsFunction: completeContexts,
		RunE: a.do(func(_ context.Context, args []string) error {
			return a.changeContexts(args[0], func(f *contexts.File) error { return f.Use(args[0]) }, "the current context is %s")
		}),
	}
}

func (a *app) contextRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Forget a context; the cluster does not notice", Args: exactly("NAME"),
		Example: "  holdfast context remove dev", ValidArgsFunction: completeContexts,
		RunE: a.do(func(_ context.Context, args []string) error {
			return a.changeContexts(args[0], func(f *contexts.File) error { return f.Remove(args[0]) }, "removed the context %s")
		}),
	}
}

func (a *app) contextListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the contexts; the current one has a star", Args: exactly(),
		Example: "  holdfast context list",
		RunE: a.do(func(context.Context, []string) error {
			f, err := loadContexts()
			if err != nil {
				return err
			}
			views := []contextView{}
			t := render.Table{Header: []string{"CURRENT", "NAME", "ADDRESS", "TLS"}}
			for _, name := range f.Names() {
				v := contextView{Name: name, Current: f.Current == name, Context: f.Contexts[name]}
				views = append(views, v)
				star, tls := "", "no"
				if v.Current {
					star = "*"
				}
				if v.TLSCA != "" || v.TLSCert != "" {
					tls = "yes"
				}
				t.Add(star, name, v.Address, tls)
			}
			return a.print(map[string]any{"contexts": views}, func(w io.Writer) error { return a.table(w, t) })
		}),
	}
}

func (a *app) contextShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show which cluster commands are about here, and what says so", Args: exactly(),
		Example: "  holdfast context show\n  HOLDFAST_CONTEXT=dev holdfast context show",
		RunE: a.do(func(context.Context, []string) error {
			t, err := a.target()
			if err != nil {
				return err
			}
			path, err := contexts.Path()
			if err != nil {
				return err
			}
			v := struct {
				Context   string           `json:"context"`
				Addresses []string         `json:"addresses"`
				Origin    string           `json:"origin"`
				File      string           `json:"file"`
				Settings  contexts.Context `json:"settings"`
			}{t.context, t.addresses, t.origin, path, t.tls}
			return a.print(v, func(w io.Writer) error {
				for _, line := range [][2]string{
					{"context", orDash(t.context)}, {"origin", t.origin}, {"tls-ca", t.tls.TLSCA}, {"tls-cert", t.tls.TLSCert},
					{"tls-key", t.tls.TLSKey}, {"tls-server-name", t.tls.TLSServerName}, {"file", path},
				} {
					if line[1] == "" {
						continue
					}
					fmt.Fprintf(w, "%-16s%s\n", line[0], line[1])
				}
				for _, address := range t.addresses {
					fmt.Fprintf(w, "%-16s%s\n", "address", address)
				}
				return nil
			})
		}),
	}
}
