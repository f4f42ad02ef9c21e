package raftstore

import (
	"sort"
	"strings"
)

// canonicalList writes a member list so that equal lists are equal strings:
// sorted by name, "name=address" joined by commas.
func canonicalList(members []InitialMember) string {
	parts := make([]string, 0, len(members))
	for _, m := range members {
		parts = append(parts, m.Name+"="+m.Address)
	}
	sort.Strings(parts)
	return strings.Join(parts, ",")
}
