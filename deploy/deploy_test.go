// SPDX-License-Identifier: Apache-2.0

// Package deploy tests what operators take from this folder.
package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed83435595/caddy-llm-proxy/handler/metrics"
	"github.com/seed83435595/caddy-llm-proxy/streaming/startup"
)

// collectors are all that a gateway exposes.
func collectors() []prometheus.Collector {
	return []prometheus.Collector{metrics.New(), startup.Of(prometheus.NewRegistry())}
}

var (
	// describedName and describedLabels find what a description says of itself.
	describedName   = regexp.MustCompile(`fqName: "([^"]+)"`)
	describedLabels = regexp.MustCompile(`variableLabels: \{([^}]*)\}`)
	// metricName finds the metrics of ours in a text.
	metricName = regexp.MustCompile(`\b(?:caddy_llm|gen_ai_(?:client|server))_[a-z_]+\b`)
	// suffix is what Prometheus appends to the names of histograms.
	suffix = regexp.MustCompile(`_(?:bucket|sum|count)$`)
)

// exposed returns the metrics that there are, with their labels.
func exposed(t *testing.T) map[string]string {
	t.Helper()
	descs := make(chan *prometheus.Desc, 1000)
	for _, c := range collectors() {
		c.Describe(descs)
	}
	close(descs)
	names := map[string]string{}
	for desc := range descs {
		name, labels := describedName.FindStringSubmatch(desc.String()), describedLabels.FindStringSubmatch(desc.String())
		if name == nil || labels == nil {
			t.Fatalf("a description says nothing of itself: %s", desc)
		}
		names[name[1]] = labels[1]
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every metric that an alert or the dashboard asks for exists.
func TestNamedMetricsExist(t *testing.T) {
	names := exposed(t)
	for _, path := range []string{"prometheus/alerts.yml", "prometheus/alerts_test.yml", "prometheus/alerts_day_test.yml", "grafana/dashboard.json"} {
		found := metricName.FindAllString(read(t, path), -1)
		if len(found) < 10 {
			t.Errorf("%s names only %d metrics", path, len(found))
		}
		for _, name := range found {
			if _, ok := names[name]; ok {
				continue
			}
			if _, ok := names[suffix.ReplaceAllString(name, "")]; !ok {
				t.Errorf("%s names %s, which does not exist", path, name)
			}
		}
	}
}

// variables are those of Grafana that the queries hold.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$instance", ".*")

// Prometheus understands every query of the dashboard.
func TestDashboardQueries(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out what needs promtool")
	}
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for i, panel := range readDashboard(t).Panels {
		for j, target := range panel.Targets {
			fmt.Fprintf(&rules, "  - record: panel_%d_%d\n    expr: %q\n", i, j, variables.Replace(target.Expr))
		}
	}
	path := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(path, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool(t), "check", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// dashboard is what Grafana reads of it, as far as it concerns us.
type dashboard struct {
	Panels []struct {
		Title   string
		Type    string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, "grafana/dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// The panels of the dashboard ask for something, and do not overlap.
func TestDashboardPanels(t *testing.T) {
	taken := map[[2]int]string{}
	for _, panel := range readDashboard(t).Panels {
		if panel.Title == "" || panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("a panel of type %s has no title, or asks for nothing", panel.Type)
		}
		for x := range panel.GridPos.W {
			for y := range panel.GridPos.H {
				at := [2]int{panel.GridPos.X + x, panel.GridPos.Y + y}
				if other := taken[at]; other != "" || at[0] >= 24 {
					t.Fatalf("%s and %s overlap, or stand beside the grid", panel.Title, other)
				}
				taken[at] = panel.Title
			}
		}
	}
}

// documented finds a line of the page's tables: name, labels and meaning.
var documented = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|([^|]*)\\| [^|]+ \\|$")

// Every metric is documented with its labels, and nothing else is.
func TestMetricsAreDocumented(t *testing.T) {
	names := exposed(t)
	for _, line := range documented.FindAllStringSubmatch(read(t, "../docs/reference/metrics.md"), -1) {
		labels, ok := names[line[1]]
		if !ok {
			t.Errorf("%s is documented, and does not exist or was documented before", line[1])
			continue
		}
		said := strings.Split(strings.NewReplacer("`", "", " ", "").Replace(line[2]), ",")
		are := strings.Split(labels, ",")
		slices.Sort(said)
		slices.Sort(are)
		if !slices.Equal(said, are) {
			t.Errorf("%s has the labels %v, documented are %v", line[1], are, said)
		}
		delete(names, line[1])
	}
	for name := range names {
		t.Errorf("%s is not documented", name)
	}
}

// promtool returns Prometheus' own tool, which checks and tests rules.
func promtool(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("promtool"); err == nil {
		return path
	}
	const unpacked = "../bin/prometheus/usr/bin/promtool"
	if _, err := os.Stat(unpacked); err != nil {
		t.Fatal("promtool is missing: run scripts/install-promtool.sh, as 'make test' does")
	}
	return unpacked
}

// The alerts fire when they should, and are silent when all is well.
func TestAlerts(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out what needs promtool")
	}
	tool := promtool(t)
	for _, args := range [][]string{
		{"check", "rules", "prometheus/alerts.yml"},
		{"test", "rules", "prometheus/alerts_test.yml", "prometheus/alerts_day_test.yml"},
	} {
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	// Each alert has a test in which it fires.
	tests := read(t, "prometheus/alerts_test.yml") + read(t, "prometheus/alerts_day_test.yml")
	for _, alert := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(read(t, "prometheus/alerts.yml"), -1) {
		if !strings.Contains(tests, "- alertname: "+alert[1]+"\n") {
			t.Errorf("there is no test in which %s fires", alert[1])
		}
	}
}
