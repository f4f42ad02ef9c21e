// Package hdfs keeps checkpoints in HDFS, by its native protocol.
package hdfs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path"
	"strings"

	"github.com/colinmarc/hdfs/v2"
	"github.com/colinmarc/hdfs/v2/hadoopconf"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

const (
	// tempPrefix begins the name of a file that is not finished.
	tempPrefix = ".tmp-"

	defaultPort = "8020"

	dirMode = 0o750
)

// Scheme is hdfs://. A name without a port that HADOOP_CONF_DIR knows as a name
// service means its name nodes; else the port is 8020. It may be used concurrently.
type Scheme struct {
	// User that the name node is told, else HADOOP_USER_NAME, else the one that the
	// process runs as.
	User string
}

// Open connects to the name node.
func (s Scheme) Open(_ context.Context, root, dir storage.Location) (storage.Storage, error) {
	if dir.Authority == "" {
		return nil, fmt.Errorf("%w: directory %s names no host; it is written like hdfs://host:port/path", storage.ErrInvalidName, dir)
	}
	options, err := s.options(dir.Authority)
	if err != nil {
		return nil, &storage.Error{Op: "open", URL: dir.String(), Err: err}
	}
	client, err := hdfs.NewClient(options)
	if err != nil {
		return nil, &storage.Error{
			Op: "open", URL: dir.String(), Kind: storage.ErrUnavailable, Err: err, Remedy: "look whether the name node runs and the address is right",
		}
	}
	st := &tree{client: client, url: dir.String(), dir: dir.Path + "/"}
	err = st.prepare(options)
	if err == nil {
		err = st.checkRoot(root, dir)
	}
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	return st, nil
}

func (s Scheme) options(authority string) (hdfs.ClientOptions, error) {
	conf, err := hadoopconf.LoadFromEnvironment()
	if err != nil {
		return hdfs.ClientOptions{}, fmt.Errorf("configuration of Hadoop: %w", err)
	}
	options := hdfs.ClientOptionsFromConf(conf)
	if options.KerberosClient != nil {
		return options, errors.New("the authentication kerberos of HADOOP_CONF_DIR is not supported")
	}
	options.Addresses = addresses(conf, authority)
	options.NamenodeDialFunc, options.DatanodeDialFunc = dial(nameNodeTimeout), dial(dataNodeTimeout)
	if options.User, err = s.user(); err != nil {
		return options, fmt.Errorf("name of the user: %w; set HADOOP_USER_NAME", err)
	}
	return options, nil
}

// addresses are the name nodes of a name service, or the one host.
func addresses(conf hadoopconf.HadoopConf, authority string) []string {
	var found []string
	for _, node := range strings.Split(conf["dfs.ha.namenodes."+authority], ",") {
		if a := conf["dfs.namenode.rpc-address."+authority+"."+strings.TrimSpace(node)]; a != "" {
			found = append(found, a)
		}
	}
	if len(found) > 0 {
		return found
	}
	if _, _, err := net.SplitHostPort(authority); err != nil {
		return []string{net.JoinHostPort(authority, defaultPort)}
	}
	return []string{authority}
}

func (s Scheme) user() (string, error) {
	for _, name := range []string{s.User, os.Getenv("HADOOP_USER_NAME")} {
		if name != "" {
			return name, nil
		}
	}
	u, err := user.Current()
	if err != nil {
		return "", err
	}
	return u.Username, nil
}

// tree is a directory.
type tree struct {
	client *hdfs.Client
	url    string
	dir    string // with a slash at its end
}

// prepare lets the client fetch what it keeps, while it is not shared yet: it does
// not lock it. What it keeps of encryption cannot be fetched here.
func (t *tree) prepare(options hdfs.ClientOptions) error {
	defaults, err := t.client.ServerDefaults()
	if err != nil {
		return t.wrap("open", "", err)
	}
	if defaults.EncryptDataTransfer || options.DataTransferProtection != "" {
		return t.wrap("open", "", errors.New("protected data transfer (dfs.encrypt.data.transfer, dfs.data.transfer.protection) is not supported"))
	}
	return nil
}

// checkRoot: the root must be there, and what exists of the directory be one.
func (t *tree) checkRoot(root, dir storage.Location) error {
	if _, err := t.client.Stat(root.Path + "/"); err != nil {
		e := t.error("open the root", "", err)
		e.URL = root.String()
		if errors.Is(e.Kind, storage.ErrNotFound) {
			e.Remedy = "make it with `hdfs dfs -mkdir`: a root that is not there is never made"
		}
		return e
	}
	info, err := t.client.Stat(dir.Path + "/")
	if err == nil && !info.IsDir() {
		return &storage.Error{Op: "open", URL: t.url, Kind: storage.ErrInvalidName, Err: errors.New("it is a file; a directory is needed")}
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return t.wrap("open", "", err)
	}
	return nil
}

func (t *tree) URL() string { return t.url }

func (t *tree) Close() error { return t.client.Close() }

// at is the path of a name.
func (t *tree) at(name string) string { return path.Join(t.dir, name) }

func (t *tree) checkFile(op, name string) error {
	if err := storage.CheckName(name); err != nil {
		return &storage.Error{Op: op, URL: t.url, Kind: storage.ErrInvalidName, Err: err}
	}
	return nil
}

func (t *tree) checkDir(op, dir string) error {
	if dir == "" {
		return nil
	}
	return t.checkFile(op, dir)
}
