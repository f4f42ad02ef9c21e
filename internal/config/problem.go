package config

import (
	"fmt"
	"strings"
)

// SourceKind says what kind of place a value came from.
type SourceKind string

// The kinds of places, in order of rising weight. A program's own calls weigh
// more than all of them.
const (
	SourceDefault     SourceKind = "default"
	SourceFile        SourceKind = "file"
	SourceEnvironment SourceKind = "environment"
	SourceFlag        SourceKind = "flag"
)

// Source is the place that a value came from.
type Source struct {
	Kind SourceKind
	// Name is that of the file, the variable or the flag (with its dashes).
	Name string
	// Line is the line of the file, from 1.
	Line int
}

// String is hf.yaml:3, environment HOLDFAST_NAME, flag --name, or default.
func (s Source) String() string {
	switch s.Kind {
	case SourceFile:
		return fmt.Sprintf("%s:%d", s.Name, s.Line)
	case SourceEnvironment, SourceFlag:
		return string(s.Kind) + " " + s.Name
	}
	return string(SourceDefault)
}

// Problem is one thing that is wrong, in one sentence.
type Problem struct {
	Source Source
	// Key is the key as it was written, or empty where it is not about one.
	Key     string
	Message string
}

// Error implements error: place, key and message.
func (p Problem) Error() string {
	var parts []string
	switch p.Source.Kind {
	case SourceFile:
		at := p.Source.Name
		if p.Source.Line > 0 {
			at = p.Source.String()
		}
		parts = append(parts, at)
		if p.Key != "" {
			parts = append(parts, p.Key)
		}
	case SourceEnvironment, SourceFlag:
		parts = append(parts, p.Source.Name)
	default:
		parts = append(parts, p.Key)
	}
	return strings.Join(append(parts, p.Message), ": ")
}

// Problems is everything that is wrong, in the order of files, variables and
// flags.
type Problems []Problem

// Error implements error; more than one problem are lines of their own.
func (ps Problems) Error() string {
	if len(ps) == 1 {
		return ps[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d problems in the configuration", len(ps))
	for _, p := range ps {
		b.WriteString("\n  " + p.Error())
	}
	return b.String()
}
