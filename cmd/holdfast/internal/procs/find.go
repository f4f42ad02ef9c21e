package procs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Find looks for a program: in the environment variable env (which must then
// be right), beside this executable, in PATH.
func Find(name, env string) (string, error) {
	if path := os.Getenv(env); path != "" {
		if _, err := exec.LookPath(path); err != nil {
			return "", fmt.Errorf("%s=%s: %w", env, path, err)
		}
		return filepath.Abs(path)
	}
	if self, err := os.Executable(); err == nil {
		path := filepath.Join(filepath.Dir(self), name)
		if _, err := exec.LookPath(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside this program nor in PATH; %s can name it", name, env)
	}
	return filepath.Abs(path)
}
