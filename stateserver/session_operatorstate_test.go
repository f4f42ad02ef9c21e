package stateserver

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Contents of any size arrive whole, in messages that a client takes.
func TestRestoredMessages_AreTheContents(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var states []*holdfastv1.OperatorState
		want := map[string][]byte{}
		for i := range r.IntN(5) {
			name := string(rune('a' + i))
			content := bytes.Repeat([]byte{byte(i)}, r.IntN(2)*r.IntN(3*restoredBytes)+r.IntN(100))
			states, want[name] = append(states, &holdfastv1.OperatorState{OperatorUid: "op", StateName: name, Content: content}), content
		}
		got := map[string][]byte{}
		for _, m := range restoredMessages(7, states) {
			if n := proto.Size(m); n > maxMessageBytes/2 || len(m.States) == 0 || m.FencingToken != 7 {
				t.Fatalf("a message of %d bytes with %d states", n, len(m.States))
			}
			for _, s := range m.States {
				got[s.StateName] = append(got[s.StateName], s.Content...)
			}
		}
		for name, content := range want {
			if !bytes.Equal(got[name], content) {
				t.Fatalf("state %s has %d bytes, want %d", name, len(got[name]), len(content))
			}
		}
	}
}
