package cli

import (
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/contexts"
	"github.com/holdfast-io/holdfast/internal/grpctls"
	"github.com/holdfast-io/holdfast/internal/tlsfiles"
)

// tlsFlags say how calls to nodes are secured. Each weighs more than what the
// context has, and that more than the environment.
type tlsFlags struct{ ca, cert, key, serverName string }

func (f *tlsFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.ca, "tls-ca-file", "", "authorities of the nodes, in PEM; turns TLS on (default $"+grpctls.CAVariable+", else no TLS)")
	flags.StringVar(&f.cert, "tls-cert-file", "", "certificate for nodes that demand one, in PEM (default $"+grpctls.CertVariable+")")
	flags.StringVar(&f.key, "tls-key-file", "", "private key of --tls-cert-file, in PEM (default $"+grpctls.KeyVariable+")")
	flags.StringVar(&f.serverName, "tls-server-name", "", "what the nodes' certificates are for, if it is not the host in the address (default $"+grpctls.ServerNameVariable+")")
}

// settings are those of the flags, else of the context if that has TLS, else of
// the environment.
func (f *tlsFlags) settings(c contexts.Context) grpctls.Settings {
	s := grpctls.FromEnvironment(os.Getenv)
	if c.TLSCA != "" {
		file := func(field, name string) tlsfiles.File {
			return tlsfiles.File{Setting: field + " of the context", Name: name}
		}
		s = grpctls.Settings{
			Files:      tlsfiles.Files{CA: file("tls-ca", c.TLSCA), Cert: file("tls-cert", c.TLSCert), Key: file("tls-key", c.TLSKey)},
			ServerName: c.TLSServerName, ServerNameSetting: "tls-server-name of the context",
		}
	}
	for _, o := range []struct {
		to         *tlsfiles.File
		flag, name string
	}{{&s.Files.CA, "--tls-ca-file", f.ca}, {&s.Files.Cert, "--tls-cert-file", f.cert}, {&s.Files.Key, "--tls-key-file", f.key}} {
		if o.name != "" {
			*o.to = tlsfiles.File{Setting: o.flag, Name: o.name}
		} else if *f != (tlsFlags{}) && o.to.Name == "" {
			o.to.Setting = o.flag // who uses flags is told of flags
		}
	}
	if f.serverName != "" {
		s.ServerName, s.ServerNameSetting = f.serverName, "--tls-server-name"
	}
	return s
}

// tlsEnvironment makes operator processes use the same settings, wherever they
// are when they read the files.
func tlsEnvironment(s grpctls.Settings) []string {
	if !s.On() {
		return nil
	}
	for _, f := range []*tlsfiles.File{&s.Files.CA, &s.Files.Cert, &s.Files.Key} {
		if abs, err := filepath.Abs(f.Name); err == nil && f.Name != "" {
			f.Name = abs
		}
	}
	return s.Environment()
}
