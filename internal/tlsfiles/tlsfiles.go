// Package tlsfiles keeps certificates that come from files and takes up what
// changes in them, so that they are rotated without a restart.
//
// The files are read at every handshake, and parsed when their content has
// changed. That is some microseconds beside the signatures of the handshake, and
// it needs no watcher that can miss an event, no timer and no goroutine; it works
// with files that are replaced, written in place, or behind links that are
// switched. Names come up in errors with the setting that they are the value of.
package tlsfiles

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// File is the name of a file and the setting that has it.
type File struct{ Setting, Name string }

// Files are the files of one end of connections.
type Files struct {
	// Cert has this end's certificate, with those between it and the authority
	// behind it, and Key its private key; both in PEM. Without them this end shows
	// no certificate.
	Cert, Key File
	// CA has the authorities whose certificates are accepted, in PEM.
	CA File
}

// Missing is the file that is not set although another one needs it.
type Missing struct {
	// Setting is the one that is not set.
	Setting string
	// Because says why it is needed.
	Because string
}

// Error implements error.
func (m *Missing) Error() string { return m.Setting + ": it is not set, and " + m.Because }

// Incomplete tells what is missing of a certificate and its key, nil if nothing
// is.
func (f Files) Incomplete() *Missing {
	switch {
	case f.Cert.Name != "" && f.Key.Name == "":
		return &Missing{f.Key.Setting, fmt.Sprintf("%s is %s, which needs its key", f.Cert.Setting, f.Cert.Name)}
	case f.Cert.Name == "" && f.Key.Name != "":
		return &Missing{f.Cert.Setting, fmt.Sprintf("%s is %s, which needs its certificate", f.Key.Setting, f.Key.Name)}
	}
	return nil
}

// Material is what the files held when they were read.
type Material struct {
	// Cert is nil where there is none.
	Cert *tls.Certificate
	// Roots is nil where there is no file of authorities.
	Roots *x509.CertPool
}

// Source gives the material of files as they are now. Safe for concurrent use.
type Source struct {
	files Files
	check func(*Material) error
	log   *slog.Logger

	mu     sync.Mutex
	now    *Material
	raw    [][]byte // what now was made of
	warned string
}

// Open reads the files, all that are set. check, which may be nil, says what else
// the material must be, at the beginning and whenever it has changed. The
// logger, which may be nil, is told of changes.
func Open(files Files, check func(*Material) error, log *slog.Logger) (*Source, error) {
	if m := files.Incomplete(); m != nil {
		return nil, m
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if check == nil {
		check = func(*Material) error { return nil }
	}
	s := &Source{files: files, check: check, log: log}
	raw, err := s.read()
	if err != nil {
		return nil, err
	}
	if s.now, err = s.parse(raw); err != nil {
		return nil, err
	}
	s.raw = raw
	return s, nil
}

// Files are those that the source reads.
func (s *Source) Files() Files { return s.files }

// Current is what the files hold. Where that cannot be used (one file is
// replaced and the other one not yet, say) it is what they held before, and the
// log says why.
func (s *Source) Current() *Material {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, err := s.read()
	if err == nil && slices.EqualFunc(raw, s.raw, bytes.Equal) {
		s.warned = ""
		return s.now
	}
	var m *Material
	if err == nil {
		m, err = s.parse(raw)
	}
	if err != nil {
		if text := err.Error(); text != s.warned {
			s.warned = text
			s.log.Warn("changed TLS files cannot be used; those from before stay in use", "error", err)
		}
		return s.now
	}
	s.now, s.raw, s.warned = m, raw, ""
	s.log.Info("TLS files have changed and are in use", "files", s.describe())
	return s.now
}

func (s *Source) describe() string {
	if s.now.Cert == nil {
		return s.files.CA.Name
	}
	return fmt.Sprintf("%s (%s, until %s)", s.files.Cert.Name, subject(s.now.Cert.Leaf), s.now.Cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
}

// read returns the content of certificate, key and authorities, nil for what is
// not set.
func (s *Source) read() ([][]byte, error) {
	out := make([][]byte, 3)
	var errs []error
	for i, f := range []File{s.files.Cert, s.files.Key, s.files.CA} {
		if f.Name == "" {
			continue
		}
		b, err := os.ReadFile(f.Name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.Setting, err))
			continue
		}
		out[i] = b
	}
	return out, errors.Join(errs...)
}
