package harness

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// MetricsAddress is where a node that runs serves /metrics, /healthz and /readyz.
func (c *Cluster) MetricsAddress(i int) (string, error) {
	b, err := os.ReadFile(filepath.Join(c.nodes[i].DataDir, "daemon.json"))
	if err != nil {
		return "", err
	}
	var f struct {
		MetricsAddress string `json:"metrics_address"`
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return "", err
	}
	return f.MetricsAddress, nil
}

// HTTP asks a node's HTTP port for a page.
func (c *Cluster) HTTP(i int, path string) (code int, body string, err error) {
	addr, err := c.MetricsAddress(i)
	if err != nil {
		return 0, "", err
	}
	client := http.Client{Timeout: 5 * time.Second}
	r, err := client.Get("http://" + addr + path)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	var text strings.Builder
	for s := bufio.NewScanner(r.Body); s.Scan(); {
		text.WriteString(s.Text() + "\n")
	}
	return r.StatusCode, text.String(), nil
}

// Metrics reads a node's metrics, by series: holdfast_raft_term, or
// holdfast_coordinator_commands_refused_total{command="flush",reason="FENCED"}.
func (c *Cluster) Metrics(i int) map[string]float64 {
	c.t.Helper()
	var out map[string]float64
	Until(c.t, "the metrics of "+c.nodes[i].Name, func() (err error) {
		out, err = c.readMetrics(i)
		return err
	})
	return out
}

func (c *Cluster) readMetrics(i int) (map[string]float64, error) {
	code, text, err := c.HTTP(i, "/metrics")
	if err != nil || code != http.StatusOK {
		return nil, fmt.Errorf("%d, %w", code, err)
	}
	out := map[string]float64{}
	for line := range strings.SplitSeq(text, "\n") {
		if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
				out[line[:at]] = v
			}
		}
	}
	return out, nil
}
