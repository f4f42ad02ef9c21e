package coordinator

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestDescriptor_Normalized(t *testing.T) {
	for name, c := range map[string]struct {
		d    *holdfastv1.StateDescriptor
		want string // part of the refusal, "" for none
	}{
		"value":             {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64"}, ""},
		"list":              {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_LIST, Type: "json"}, ""},
		"map":               {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_MAP, Type: "json", MapKeyType: "string"}, ""},
		"reducing":          {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_REDUCING, Type: "float64"}, ""},
		"aggregating":       {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_AGGREGATING, Type: "proto:a.B"}, ""},
		"no kind":           {&holdfastv1.StateDescriptor{Type: "int64"}, "unknown kind"},
		"a newer kind":      {&holdfastv1.StateDescriptor{Kind: 99, Type: "int64"}, "unknown kind"},
		"no type":           {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_LIST}, "unknown type"},
		"map without keys":  {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_MAP, Type: "json"}, "of the keys of the map"},
		"keys of a list":    {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_LIST, Type: "json", MapKeyType: "string"}, "no map"},
		"unknown update":    {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_LIST, Type: "json", Ttl: &holdfastv1.StateTtl{TtlMs: 1, UpdateType: 9}}, "update type"},
		"unknown visiblity": {&holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_LIST, Type: "json", Ttl: &holdfastv1.StateTtl{TtlMs: 1, Visibility: 9}}, "visibility"},
	} {
		if got := normalizeDescriptor(c.d); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	off := &holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64", Ttl: &holdfastv1.StateTtl{UpdateType: 2}}
	if normalizeDescriptor(off); off.Ttl != nil {
		t.Errorf("a TTL of 0 ms is %v", off.Ttl)
	}
	on := &holdfastv1.StateDescriptor{Kind: holdfastv1.StateKind_STATE_KIND_VALUE, Type: "int64", Ttl: &holdfastv1.StateTtl{TtlMs: 1 << 63}}
	normalizeDescriptor(on)
	if !proto.Equal(on.Ttl, &holdfastv1.StateTtl{TtlMs: longestMs, UpdateType: 1, Visibility: 1}) {
		t.Errorf("the TTL is %v", on.Ttl)
	}
}

func TestDescriptor_Restorable(t *testing.T) {
	base := func(edit func(*holdfastv1.StateDescriptor)) *holdfastv1.StateDescriptor {
		d := &holdfastv1.StateDescriptor{Name: "s", Kind: holdfastv1.StateKind_STATE_KIND_MAP, Type: "json", MapKeyType: "string", TypeVersion: 3}
		edit(d)
		return d
	}
	ttl := func(ms uint64) *holdfastv1.StateTtl { return &holdfastv1.StateTtl{TtlMs: ms} }
	for name, c := range map[string]struct {
		snapshot, job func(*holdfastv1.StateDescriptor)
		want          string
	}{
		"the same":       {func(*holdfastv1.StateDescriptor) {}, func(*holdfastv1.StateDescriptor) {}, ""},
		"a newer type":   {func(*holdfastv1.StateDescriptor) {}, func(d *holdfastv1.StateDescriptor) { d.TypeVersion = 4 }, ""},
		"an older type":  {func(*holdfastv1.StateDescriptor) {}, func(d *holdfastv1.StateDescriptor) { d.TypeVersion = 2 }, "version 3"},
		"kind":           {func(d *holdfastv1.StateDescriptor) { d.Kind = holdfastv1.StateKind_STATE_KIND_LIST }, func(*holdfastv1.StateDescriptor) {}, "the kind LIST"},
		"value, reduced": {func(d *holdfastv1.StateDescriptor) { d.Kind = holdfastv1.StateKind_STATE_KIND_VALUE }, func(d *holdfastv1.StateDescriptor) { d.Kind = holdfastv1.StateKind_STATE_KIND_REDUCING }, "declares REDUCING"},
		"type":           {func(d *holdfastv1.StateDescriptor) { d.Type = "bytes" }, func(*holdfastv1.StateDescriptor) {}, `the type "bytes"`},
		"key type":       {func(d *holdfastv1.StateDescriptor) { d.MapKeyType = "int64" }, func(*holdfastv1.StateDescriptor) {}, `keys of the type "int64"`},
		"TTL on":         {func(*holdfastv1.StateDescriptor) {}, func(d *holdfastv1.StateDescriptor) { d.Ttl = ttl(5) }, "declares a TTL"},
		"TTL off":        {func(d *holdfastv1.StateDescriptor) { d.Ttl = ttl(5) }, func(*holdfastv1.StateDescriptor) {}, "declares no TTL"},
		"TTL longer":     {func(d *holdfastv1.StateDescriptor) { d.Ttl = ttl(5) }, func(d *holdfastv1.StateDescriptor) { d.Ttl = ttl(6) }, ""},
	} {
		e := CheckRestorable("op", base(c.snapshot), base(c.job))
		if (c.want == "") != (e == nil) || !strings.Contains(e.GetMessage(), c.want) {
			t.Errorf("%s: %v", name, e)
		}
		if e != nil && (e.Reason != holdfastv1.ErrorReason_ERROR_REASON_STATE_INCOMPATIBLE || !strings.Contains(e.Message, `state "s" of operator "op"`)) {
			t.Errorf("%s: %v", name, e)
		}
	}
}
