package hdfs

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/colinmarc/hdfs/v2/hadoopconf"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

func TestAddresses_Table(t *testing.T) {
	conf := hadoopconf.HadoopConf{
		"dfs.ha.namenodes.prod":              "nn1, nn2",
		"dfs.namenode.rpc-address.prod.nn1":  "a:8020",
		"dfs.namenode.rpc-address.prod.nn2":  "b:8020",
		"dfs.namenode.rpc-address.other.nn1": "c:8020",
	}
	for authority, want := range map[string][]string{"prod": {"a:8020", "b:8020"}, "host": {"host:8020"}, "host:9000": {"host:9000"}} {
		if got := addresses(conf, authority); !slices.Equal(got, want) {
			t.Errorf("%s is at %q, want %q", authority, got, want)
		}
	}
}

func TestUser_FromTheEnvironment(t *testing.T) {
	t.Setenv("HADOOP_USER_NAME", "flink")
	if u, err := (Scheme{}).user(); u != "flink" || err != nil {
		t.Errorf("user %q, %v", u, err)
	}
	if u, err := (Scheme{User: "x"}).user(); u != "x" || err != nil {
		t.Errorf("user %q, %v", u, err)
	}
}

// Kerberos is refused by its name, and not with a failure somewhere else.
func TestOpen_KerberosIsRefused(t *testing.T) {
	dir := t.TempDir()
	site := `<configuration><property><name>hadoop.security.authentication</name><value>kerberos</value></property></configuration>`
	if err := os.WriteFile(filepath.Join(dir, "core-site.xml"), []byte(site), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HADOOP_CONF_DIR", dir)
	_, err := storage.NewRegistry(storage.AnyRoot(), map[string]storage.Scheme{"hdfs": Scheme{}}).Open(t.Context(), "hdfs://127.0.0.1:1/x")
	if err == nil || !strings.Contains(err.Error(), "the authentication kerberos of HADOOP_CONF_DIR is not supported") {
		t.Errorf("open: %v", err)
	}
}

// remote is an exception of a name node.
type remote struct{ exception, message string }

func (r remote) Error() string     { return r.exception }
func (remote) Method() string      { return "create" }
func (remote) Desc() string        { return "ERROR_APPLICATION" }
func (r remote) Exception() string { return r.exception }
func (r remote) Message() string   { return r.message }

func TestErrors_Kinds(t *testing.T) {
	tr := &tree{url: "hdfs://nn:8020/c"}
	for _, c := range []struct {
		err       error
		kind      error
		permanent bool
		text      string
	}{
		{&fs.PathError{Op: "open", Path: "/x", Err: os.ErrNotExist}, storage.ErrNotFound, true, "write hdfs://nn:8020/c/f: file does not exist"},
		{&fs.PathError{Op: "open", Path: "/x", Err: os.ErrPermission}, storage.ErrAccessDenied, true, "HADOOP_USER_NAME"},
		{&fs.PathError{Op: "create", Path: "/x", Err: remote{"org.apache.hadoop.hdfs.protocol.DSQuotaExceededException", "The DiskSpace quota\n\tat java"}}, storage.ErrNoSpace, true, "create: The DiskSpace quota; free space there"},
		{remote{"org.apache.hadoop.security.AccessControlException", ""}, storage.ErrAccessDenied, true, ""},
		{remote{"org.apache.hadoop.hdfs.server.namenode.SafeModeException", "in safe mode"}, storage.ErrUnavailable, false, "in safe mode"},
		{remote{"java.io.IOException", "could only be written to 0 of the 1 minReplication nodes"}, nil, false, "could only be written to 0"},
		{errors.New("no available namenodes: connection refused"), nil, false, "no available namenodes"},
	} {
		err := tr.wrap("write", "f", c.err)
		if c.kind != nil && !errors.Is(err, c.kind) || storage.Permanent(err) != c.permanent || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v became %v, permanent %v", c.err, err, storage.Permanent(err))
		}
	}
}

// A silent peer blocks nobody for ever, and its connection is used no more.
func TestConn_SilentPeer(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := &conn{Conn: ours, timeout: time.Millisecond}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read from a silent peer: %v", err)
	}
	if _, err := c.Write([]byte{1}); err == nil {
		t.Error("the connection is used after an error")
	}
}
