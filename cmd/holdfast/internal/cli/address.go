package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/contexts"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

// The variables that say which cluster is meant.
const (
	addressVariable = "HOLDFAST_ADDRESS"
	contextVariable = "HOLDFAST_CONTEXT"
)

// target is which cluster a command is about, and what said so.
type target struct {
	addresses []string
	// origin is where the addresses came from, for errors.
	origin string
	// context is the name of the context that they came from, "" if from none.
	context string
	tls     contexts.Context
}

// target takes, in this order, --address, --context, HOLDFAST_ADDRESS,
// HOLDFAST_CONTEXT, the current context, the default.
func (a *app) target() (target, error) {
	switch variable := os.Getenv(addressVariable); {
	case a.addressList != "":
		return named(a.addressList, "from --address")
	case a.contextName != "":
		return a.fromContext(a.contextName, "of the context "+a.contextName+", from --context")
	case variable != "":
		return named(variable, "from "+addressVariable)
	case os.Getenv(contextVariable) != "":
		name := os.Getenv(contextVariable)
		return a.fromContext(name, "of the context "+name+", from "+contextVariable)
	}
	path, err := contexts.Path()
	if err != nil {
		// Who has no home has no contexts.
		return named(connect.DefaultAddress, "the default")
	}
	f, err := contexts.Load(path)
	if err != nil {
		return target{}, err
	}
	if f.Current == "" {
		return named(connect.DefaultAddress, "the default")
	}
	return a.fromContext(f.Current, "of the current context "+f.Current)
}

func named(list, origin string) (target, error) {
	addresses, err := connect.Split(list)
	return target{addresses: addresses, origin: origin}, err
}

func (a *app) fromContext(name, origin string) (target, error) {
	path, err := contexts.Path()
	if err != nil {
		return target{}, err
	}
	f, err := contexts.Load(path)
	if err != nil {
		return target{}, err
	}
	c, err := f.Get(name)
	if err != nil {
		return target{}, err
	}
	t, err := named(c.Address, origin)
	t.context, t.tls = name, c
	return t, err
}

// open makes a Cluster of what the flags, the environment and the contexts say.
func (a *app) open() (*connect.Cluster, target, error) {
	t, err := a.target()
	if err != nil {
		return nil, t, err
	}
	client, err := a.tlsFlags.settings(t.tls).Open()
	if err != nil {
		return nil, t, exit.Errorf(exit.Usage, "%w", err)
	}
	c, err := connect.Open(t.addresses, a.patience, client)
	if err != nil {
		return nil, t, err
	}
	c.Origin = t.origin
	return c, t, nil
}

// contextFlag adds --context to every command.
func (a *app) contextFlag(root *cobra.Command) {
	root.PersistentFlags().StringVar(&a.contextName, "context", "", "`name` of a cluster, as holdfast context add keeps it (default $HOLDFAST_CONTEXT, else the current one)")
}
