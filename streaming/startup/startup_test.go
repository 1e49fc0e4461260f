// SPDX-License-Identifier: Apache-2.0

package startup

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// gather returns the values of a registry by name and label.
func gather(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			values[name] = metric.GetGauge().GetValue()
		}
	}
	return values
}

func sleep(d time.Duration) func() error {
	return func() error {
		time.Sleep(d)
		return nil
	}
}

// Parts that do not need one another come up at the same time; what that has
// gained is measured over all modules of the config.
func TestPartsComeUpAtTheSameTime(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := Of(registry)
		end := s.Module()
		if err := s.Together(Part{"clients", sleep(3 * time.Second)}, Part{"prices", sleep(2 * time.Second)}); err != nil {
			t.Fatal(err)
		}
		end()
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %s", took)
		}

		other := Of(registry)
		end = other.Module()
		if err := other.Do("prices", sleep(time.Second)); err != nil {
			t.Fatal(err)
		}
		end()
		if other != s {
			t.Error("two modules of a config have two starts")
		}
	})
	for name, want := range map[string]float64{
		"caddy_llm_startup_seconds clients": 3, "caddy_llm_startup_seconds prices": 3,
		"caddy_llm_startup_total_seconds": 4, "caddy_llm_startup_parallel_efficiency": 1.5,
	} {
		if got, ok := gather(t, registry)[name]; !ok || got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// When parts fail the others are waited for, and all errors are told.
func TestFailedParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := false
		err := Of(prometheus.NewRegistry()).Together(
			Part{"a", func() error { return errors.New("a is broken") }},
			Part{"b", func() error { time.Sleep(time.Second); done = true; return nil }},
			Part{"c", func() error { return errors.New("c is broken") }},
		)
		if !done || err == nil || !strings.Contains(err.Error(), "a is broken") || !strings.Contains(err.Error(), "c is broken") {
			t.Errorf("done %t, %v", done, err)
		}
	})
}

// The log says once how a config came up, and of the first one how long after
// the beginning of the process.
func TestReport(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	ready.Store(0)
	registry := prometheus.NewPedanticRegistry()
	for range 2 {
		s := Of(registry)
		_ = s.Do("clients", sleep(time.Millisecond))
		s.Report(zap.New(core))
	}
	Of(prometheus.NewPedanticRegistry()).Report(zap.New(core))
	if logs.Len() != 2 {
		t.Fatalf("two configs were told of %d times", logs.Len())
	}
	first, second := logs.All()[0].ContextMap(), logs.All()[1].ContextMap()
	if first["clients"] == nil || first["since_process_began"] == nil || second["since_process_began"] != nil {
		t.Errorf("the log says %v and %v", first, second)
	}
	if gather(t, registry)["caddy_llm_startup_ready_seconds"] <= 0 {
		t.Error("the metrics do not say when the first config was ready")
	}
}
