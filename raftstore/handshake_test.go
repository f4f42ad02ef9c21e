package raftstore

import (
	"bytes"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
)

var (
	someVersions = spokenVersions{Versions: coordinator.Versions{Min: 1, Max: 3}, Cluster: 2}
	someGreeting = greeting{Kind: kindRaft, ClusterID: "c", From: "f", FromName: "n1", To: "t", List: "n1=a:1,n2=b:2", Versions: someVersions}
	someAnswer   = answer{Code: answerOK, Message: "m", hello: hello{
		NodeID: "t", Name: "n2", ClusterID: "c", List: "l", Applied: 17, Versions: someVersions,
		Initial: []initialRecord{{ID: "f", Name: "n1", Address: "a:1"}, {ID: "t", Name: "n2", Address: "b:2"}},
	}}
)

func TestHandshake_RoundTrip(t *testing.T) {
	var buf bytes.Buffer
	if err := writeGreeting(&buf, someGreeting); err != nil {
		t.Fatal(err)
	}
	buf.WriteString("what follows")
	g, err := readGreeting(&buf)
	if err != nil || g != someGreeting {
		t.Fatalf("greeting %+v, %v", g, err)
	}
	if rest := buf.String(); rest != "what follows" {
		t.Fatalf("the reader took too much: %q is left", rest)
	}
	buf.Reset()
	if err := writeAnswer(&buf, someAnswer); err != nil {
		t.Fatal(err)
	}
	a, err := readAnswer(&buf)
	if err != nil || !reflect.DeepEqual(a, someAnswer) {
		t.Fatalf("answer %+v, %v", a, err)
	}
}

func TestHandshake_DamageIsSeen(t *testing.T) {
	var buf bytes.Buffer
	if err := writeGreeting(&buf, someGreeting); err != nil {
		t.Fatal(err)
	}
	good := buf.Bytes()
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := readGreeting(bytes.NewReader(bad)); !errors.Is(err, ErrHandshake) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
		if _, err := readGreeting(bytes.NewReader(good[:i])); !errors.Is(err, ErrHandshake) {
			t.Errorf("cut to %d: %v", i, err)
		}
	}
	if err := writeGreeting(io.Discard, greeting{List: strings.Repeat("x", maxFrameBody+1)}); !errors.Is(err, ErrHandshake) {
		t.Errorf("too large: %v", err)
	}
}

func FuzzHandshake(f *testing.F) {
	var g, a bytes.Buffer
	if err := errors.Join(writeGreeting(&g, someGreeting), writeAnswer(&a, someAnswer)); err != nil {
		f.Fatal(err)
	}
	f.Add(g.Bytes())
	f.Add(a.Bytes())
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if g, err := readGreeting(bytes.NewReader(data)); err == nil {
			if _, fields, _ := readFrame(bytes.NewReader(data)); len(fields) > greetingFields {
				return // of a later build, which says more
			}
			var out bytes.Buffer
			if err := writeGreeting(&out, g); err != nil || !bytes.HasPrefix(data, out.Bytes()) {
				t.Fatalf("greeting %+v does not encode to what it was read from: %v", g, err)
			}
		}
		if a, err := readAnswer(bytes.NewReader(data)); err == nil {
			if err := writeAnswer(io.Discard, a); err != nil {
				t.Fatalf("answer %+v: %v", a, err)
			}
		}
		// The sum hides most of the decoder from the fuzzer.
		if _, err := splitFields(data); err != nil && !errors.Is(err, ErrHandshake) {
			t.Fatal(err)
		}
	})
}

func mustDeadline(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
}

func TestPeerPort_Garbage(t *testing.T) {
	tn := startSingle(t)
	waitLeader(t, tn)
	var newer bytes.Buffer
	if err := writeGreeting(&newer, someGreeting); err != nil {
		t.Fatal(err)
	}
	newer.Bytes()[4] = 9
	for _, garbage := range []string{"", "GET / HTTP/1.1\r\n\r\n", strings.Repeat("\xff", 100_000), newer.String()} {
		conn, err := net.Dial("tcp", tn.Address())
		if err != nil {
			t.Fatal(err)
		}
		mustDeadline(t, conn)
		// The node may close its end first.
		_, _ = io.WriteString(conn, garbage)
		_ = conn.(*net.TCPConn).CloseWrite()
		reply, _ := io.ReadAll(conn)
		conn.Close()
		if garbage == newer.String() {
			if a, err := readAnswer(bytes.NewReader(reply)); err != nil || a.Code != answerBadVersion {
				t.Errorf("newer version: %+v, %v", a, err)
			}
		} else if len(reply) > 0 {
			t.Errorf("%d bytes of answer to garbage", len(reply))
		}
	}
	mustAppend(t, "still alive", tn)
}

// A connection that says nothing must not stay.
func TestPeerPort_SilentConnectionEnds(t *testing.T) {
	cfg := testConfig(t)
	cfg.PeerTimeout = 50 * time.Millisecond
	tn := newTestNode(t, cfg)
	tn.mustStart()
	conn, err := net.Dial("tcp", tn.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	mustDeadline(t, conn)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("read: %v", err)
	}
}

func TestPeerPort_WrongTargetAndCluster(t *testing.T) {
	tn := startSingle(t)
	other := startSingle(t)
	ctx := t.Context()
	if _, _, err := other.port.dial(ctx, kindRPC, other.ID(), tn.Address()); !errors.Is(err, ErrWrongNode) {
		t.Errorf("wrong target: %v", err)
	}
	if _, _, err := other.port.dial(ctx, kindRaft, tn.ID(), tn.Address()); !errors.Is(err, ErrWrongCluster) {
		t.Errorf("wrong cluster: %v", err)
	}
	if _, _, err := other.port.dial(ctx, connKind(77), tn.ID(), tn.Address()); !errors.Is(err, ErrHandshake) {
		t.Errorf("unknown kind: %v", err)
	}
	if h, err := other.port.askHello(ctx, "", tn.Address()); err != nil || h.NodeID != tn.ID() || h.ClusterID != tn.ClusterID() {
		t.Errorf("hello %+v, %v", h, err)
	}
}

func TestNode_PeerConnection(t *testing.T) {
	c := startCluster(t, 3, nil)
	from, to := c.nodes[0], c.nodes[1]
	go func() {
		conn, err := to.PeerListener().Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(conn, conn)
		conn.Close()
	}()
	conn, err := from.DialPeer(t.Context(), to.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ping" {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := from.DialPeer(t.Context(), "nobody"); !errors.Is(err, ErrUnknownMember) {
		t.Errorf("dial nobody: %v", err)
	}
}
