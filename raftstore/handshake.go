package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/holdfast-io/holdfast/coordinator"
)

// Each connection to a peer port begins with one frame from the dialer and one
// from the acceptor. A frame is
//
//	bytes 0-3   magic "HFP\n"
//	byte  4     version, 1
//	byte  5     kind of the connection, or the answer's code
//	bytes 6-7   length of the body, big endian, at most maxFrameBody
//	            body: strings, each a 16-bit length and its bytes
//	4 bytes     CRC32C of everything before
//
// The checksum is against programs that speak something else, not against an
// enemy: that is what TLS is for, below the frames (peertls.go).
const (
	frameMagic   = "HFP\n"
	frameVersion = 1
	frameHeader  = 8
	maxFrameBody = 16 << 10

	// tlsHandshake begins every connection with TLS, before a version of 3.x.
	tlsHandshake = 22
)

// connKind says what a connection is for.
type connKind uint8

const (
	kindRaft  connKind = 1
	kindRPC   connKind = 2
	kindHello connKind = 3
)

// answerCode is the acceptor's verdict.
type answerCode uint8

const (
	answerOK           answerCode = 1
	answerWrongCluster answerCode = 2
	answerWrongTarget  answerCode = 3
	answerBadVersion   answerCode = 4
	answerBadKind      answerCode = 5
	answerNotReady     answerCode = 6
	// The dialer, or the acceptor itself, does not support the cluster version.
	answerDialerVersion answerCode = 7
	answerOwnVersion    answerCode = 8
	answerRemoved       answerCode = 9
	// answerWrongCertificate: the dialer's certificate is not that of the node
	// which it says it is.
	answerWrongCertificate answerCode = 10
	// answerNeedsTLS is all that a dialer without TLS is told.
	answerNeedsTLS answerCode = 11
)

// errVersion is a frame of another version than this build speaks.
var errVersion = fmt.Errorf("%w: another version of the peer protocol", ErrHandshake)

// versionError is errVersion with the version that came.
type versionError struct{ got byte }

// Error implements error.
func (e *versionError) Error() string {
	return fmt.Sprintf("%s: the other node speaks version %d, this build version %d; %s", errVersion, e.got, frameVersion, runTogether)
}

// Unwrap gives the sentinel to errors.Is.
func (e *versionError) Unwrap() error { return errVersion }

// runTogether is the remedy for builds that do not understand each other.
const runTogether = "run builds of releases that work together, see docs/upgrades.md"

// errNotReady is the refusal of a node that has no cluster yet.
var errNotReady = errors.New("raftstore: peer has no cluster yet")

// errRefusedVersion is the refusal of a peer for the sake of the cluster version;
// its text says which node does not support it.
var errRefusedVersion = errors.New("raftstore: peer refuses the connection")

// greeting is what the dialer says first.
type greeting struct {
	Kind      connKind
	ClusterID string // empty: not known yet, only with kindHello
	From      string // node id of the dialer
	FromName  string
	To        string // node id of the acceptor; empty: not known, only with kindHello
	List      string // kindHello: canonical list of initial members
	Versions  spokenVersions
}

// spokenVersions is what a node says of cluster versions: those that it supports,
// and the one that it has applied, 0 if it has no cluster yet.
type spokenVersions struct {
	coordinator.Versions
	Cluster uint32
}

func (v spokenVersions) field() string {
	b := binary.BigEndian.AppendUint32(nil, v.Min)
	b = binary.BigEndian.AppendUint32(b, v.Max)
	return string(binary.BigEndian.AppendUint32(b, v.Cluster))
}

func readVersions(field string) (v spokenVersions, err error) {
	b := []byte(field)
	if len(b) != 12 {
		return v, fmt.Errorf("%w: versions of %d bytes", ErrHandshake, len(b))
	}
	v.Min, v.Max, v.Cluster = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	return v, nil
}

// answer is the reply to a greeting.
type answer struct {
	Code    answerCode
	Message string // why, if Code is not answerOK
	hello
}

// hello is what a node tells about itself in every answer.
type hello struct {
	NodeID    string
	Name      string
	ClusterID string // empty: the node has no cluster yet
	List      string // canonical list of initial members it was started with
	Applied   uint64
	Versions  spokenVersions
	Initial   []initialRecord // the first members, once they are settled
}

// err translates a refusal.
func (a answer) err() error {
	switch a.Code {
	case answerOK:
		return nil
	case answerWrongCluster:
		return fmt.Errorf("%w: %s", ErrWrongCluster, a.Message)
	case answerWrongTarget:
		return fmt.Errorf("%w: %s", ErrWrongNode, a.Message)
	case answerBadVersion:
		return fmt.Errorf("%w: %s", errVersion, a.Message)
	case answerRemoved:
		return fmt.Errorf("%w: %s", ErrRemoved, a.Message)
	case answerNotReady:
		return fmt.Errorf("%w: %s", errNotReady, a.Message)
	case answerDialerVersion, answerOwnVersion:
		return fmt.Errorf("%w: %s", errRefusedVersion, a.Message)
	case answerWrongCertificate:
		// The message begins with the error itself.
		return fmt.Errorf("%w%s", ErrWrongCertificate, strings.TrimPrefix(a.Message, ErrWrongCertificate.Error()))
	case answerNeedsTLS:
		return fmt.Errorf("%w: %s", ErrHandshake, a.Message)
	default:
		return fmt.Errorf("%w: refused with code %d: %s", ErrHandshake, a.Code, a.Message)
	}
}

func writeGreeting(w io.Writer, g greeting) error {
	return writeFrame(w, uint8(g.Kind), []string{g.ClusterID, g.From, g.FromName, g.To, g.List, g.Versions.field()})
}

func readGreeting(r io.Reader) (greeting, error) {
	kind, fields, err := readFrame(r)
	if err != nil {
		return greeting{}, err
	}
	// A later build may say more.
	if len(fields) < greetingFields {
		return greeting{}, fmt.Errorf("%w: greeting of %d fields", ErrHandshake, len(fields))
	}
	versions, err := readVersions(fields[5])
	if err != nil {
		return greeting{}, err
	}
	return greeting{
		Kind: connKind(kind), ClusterID: fields[0], From: fields[1], FromName: fields[2], To: fields[3], List: fields[4], Versions: versions,
	}, nil
}

// greetingFields is the number of strings of a greeting, answerFields that of an
// answer before the initial records.
const greetingFields, answerFields = 6, 7

func writeAnswer(w io.Writer, a answer) error {
	applied := string(binary.BigEndian.AppendUint64(nil, a.Applied))
	fields := []string{a.Message, a.NodeID, a.Name, a.ClusterID, a.List, applied, a.Versions.field()}
	for _, r := range a.Initial {
		fields = append(fields, r.ID, r.Name, r.Address)
	}
	return writeFrame(w, uint8(a.Code), fields)
}

func readAnswer(r io.Reader) (answer, error) {
	code, fields, err := readFrame(r)
	if err != nil {
		return answer{}, err
	}
	if len(fields) < answerFields || (len(fields)-answerFields)%3 != 0 || len(fields[5]) != 8 {
		return answer{}, fmt.Errorf("%w: answer of %d fields", ErrHandshake, len(fields))
	}
	versions, err := readVersions(fields[6])
	if err != nil {
		return answer{}, err
	}
	a := answer{Code: answerCode(code), Message: fields[0], hello: hello{
		NodeID: fields[1], Name: fields[2], ClusterID: fields[3], List: fields[4],
		Applied: binary.BigEndian.Uint64([]byte(fields[5])), Versions: versions,
	}}
	for rest := fields[answerFields:]; len(rest) > 0; rest = rest[3:] {
		a.Initial = append(a.Initial, initialRecord{ID: rest[0], Name: rest[1], Address: rest[2]})
	}
	return a, nil
}

// writeFrame sends one frame in one write.
func writeFrame(w io.Writer, code uint8, fields []string) error {
	buf := append([]byte(frameMagic), frameVersion, code, 0, 0)
	for _, f := range fields {
		if len(f) > maxFrameBody {
			return fmt.Errorf("%w: field of %d bytes", ErrHandshake, len(f))
		}
		buf = binary.BigEndian.AppendUint16(buf, uint16(len(f)))
		buf = append(buf, f...)
	}
	body := len(buf) - frameHeader
	if body > maxFrameBody {
		return fmt.Errorf("%w: body of %d bytes", ErrHandshake, body)
	}
	binary.BigEndian.PutUint16(buf[6:8], uint16(body))
	buf = binary.BigEndian.AppendUint32(buf, crc32.Checksum(buf, castagnoli))
	_, err := w.Write(buf)
	return err
}

// readFrame reads exactly one frame, so that what follows it stays in r.
func readFrame(r io.Reader) (code uint8, fields []string, err error) {
	head := make([]byte, frameHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, fmt.Errorf("%w: read header: %w", ErrHandshake, err)
	}
	if head[0] == tlsHandshake && head[1] == 3 {
		return 0, nil, fmt.Errorf("%w: it speaks TLS, and this node's peer port has none", ErrHandshake)
	}
	if string(head[:4]) != frameMagic {
		return 0, nil, fmt.Errorf("%w: not a Holdfast peer connection", ErrHandshake)
	}
	if head[4] != frameVersion {
		return 0, nil, &versionError{head[4]}
	}
	n := int(binary.BigEndian.Uint16(head[6:8]))
	if n > maxFrameBody {
		return 0, nil, fmt.Errorf("%w: body of %d bytes", ErrHandshake, n)
	}
	rest := make([]byte, n+4)
	if _, err := io.ReadFull(r, rest); err != nil {
		return 0, nil, fmt.Errorf("%w: read body: %w", ErrHandshake, err)
	}
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, rest[:n])
	if sum != binary.BigEndian.Uint32(rest[n:]) {
		return 0, nil, fmt.Errorf("%w: checksum", ErrHandshake)
	}
	fields, err = splitFields(rest[:n])
	return head[5], fields, err
}

func splitFields(body []byte) ([]string, error) {
	var fields []string
	for len(body) > 0 {
		if len(body) < 2 {
			return nil, fmt.Errorf("%w: field cut short", ErrHandshake)
		}
		n := int(binary.BigEndian.Uint16(body))
		if n > len(body)-2 {
			return nil, fmt.Errorf("%w: field of %d bytes in %d", ErrHandshake, n, len(body)-2)
		}
		fields = append(fields, string(body[2:2+n]))
		body = body[2+n:]
	}
	return fields, nil
}
