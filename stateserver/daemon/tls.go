package daemon

import (
	"google.golang.org/grpc/credentials"

	"github.com/holdfast-io/holdfast/internal/config"
	"github.com/holdfast-io/holdfast/internal/grpctls"
	"github.com/holdfast-io/holdfast/internal/tlsfiles"
)

// clientCredentials reads the files of the client port, nil where it has no TLS.
func clientCredentials(cfg Config) (credentials.TransportCredentials, error) {
	files := clientFiles(cfg.TLS.Client)
	if files.Cert.Name == "" {
		return nil, nil
	}
	src, err := tlsfiles.Open(files, nil, cfg.Logger.With("component", "clientport"))
	if err != nil {
		return nil, err
	}
	return grpctls.NewServer(src, cfg.Logger.With("component", "clientport")), nil
}

func clientFiles(p config.TLSPort) tlsfiles.Files {
	return tlsfiles.Files{
		Cert: tlsfiles.File{Setting: "tls.client.cert-file", Name: p.CertFile},
		Key:  tlsfiles.File{Setting: "tls.client.key-file", Name: p.KeyFile},
		CA:   tlsfiles.File{Setting: "tls.client.ca-file", Name: p.CAFile},
	}
}

func peerFiles(p config.TLSPeer) tlsfiles.Files {
	return tlsfiles.Files{
		Cert: tlsfiles.File{Setting: "tls.peer.cert-file", Name: p.CertFile},
		Key:  tlsfiles.File{Setting: "tls.peer.key-file", Name: p.KeyFile},
		CA:   tlsfiles.File{Setting: "tls.peer.ca-file", Name: p.CAFile},
	}
}
