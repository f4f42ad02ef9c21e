package config

import (
	_ "embed"
	"maps"
	"slices"
	"strings"
	"text/template"
)

//go:embed reference.md.tmpl
var referenceText string

// Reference is the text of docs/configuration.md.
func Reference() string {
	data := struct {
		Node, Job         []*Key
		Reserved          any
		Planned, Prefixes []string
	}{
		Reserved: reserved, Planned: slices.Sorted(maps.Keys(plannedKeys)), Prefixes: plannedPrefixes,
	}
	for _, k := range Keys() {
		if k.Scope == ScopeNode {
			data.Node = append(data.Node, k)
		} else {
			data.Job = append(data.Job, k)
		}
	}
	var b strings.Builder
	t := template.Must(template.New("reference").Parse(referenceText))
	if err := t.Execute(&b, data); err != nil {
		panic("config: the template of the reference page: " + err.Error())
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// DefaultCell is the default as the reference page has it.
func (k *Key) DefaultCell() string {
	if k.Derived != "" {
		return k.Derived
	}
	return "`" + k.Default + "`"
}

// ValuesText lists the words that are possible, with their aliases.
func (k *Key) ValuesText() string {
	var parts []string
	for _, w := range k.Values {
		part := "`" + w.Name + "`"
		if w.Aliases != nil {
			part += " (or `" + strings.Join(w.Aliases, "`, `") + "`)"
		}
		parts = append(parts, part)
	}
	if parts == nil {
		return ""
	}
	text := " One of " + strings.Join(parts, ", ")
	if k.Open != "" {
		text += ", or " + k.Open
	}
	return text + "."
}

// BoundsText tells the bounds that somebody could meet.
func (k *Key) BoundsText() string {
	var parts []string
	if k.Min != "" && k.Min != "1 ms" && k.Min != "1 bytes" && k.Min != "1" {
		parts = append(parts, "at least "+k.Min)
	}
	if k.Max != "" && k.Max != k.Min {
		parts = append(parts, "at most "+k.Max)
	}
	if parts == nil {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
