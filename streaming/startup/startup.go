// SPDX-License-Identifier: Apache-2.0

// Package startup brings up the parts of a config, those at the same time that
// do not need one another, and measures how long each takes.
package startup

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// processBegan is about when the process began.
var processBegan = time.Now()

// ready is how long after that the first config was in force, in nanoseconds;
// 0 before that.
var ready atomic.Int64

// Start is how one config comes up. It is shared by all modules of the config
// and safe for concurrent use.
type Start struct {
	now func() time.Time

	mu sync.Mutex
	// total is how long the modules have taken, one after the other, and parts
	// the components of which they are made.
	total    time.Duration
	parts    []measure
	reported bool
}

// measure is how long all that has one name took.
type measure struct {
	name string
	took time.Duration
}

// Part is one component that comes up.
type Part struct {
	// Name is what logs and metrics call it.
	Name string
	// Do brings it up.
	Do func() error
}

// Of returns the start of the config that has this registry, in which its
// metrics appear.
func Of(registry *prometheus.Registry) *Start {
	s := &Start{now: time.Now}
	var already prometheus.AlreadyRegisteredError
	if err := registry.Register(s); errors.As(err, &already) {
		if other, ok := already.ExistingCollector.(*Start); ok {
			return other
		}
	}
	return s
}

// Module measures how long a module takes as a whole: until the function that
// it returns is called.
func (s *Start) Module() func() {
	began := s.now()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.total += s.now().Sub(began)
	}
}

// Do brings up a part.
func (s *Start) Do(name string, do func() error) error {
	began := s.now()
	err := do()
	took := s.now().Sub(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.parts {
		if s.parts[i].name == name {
			s.parts[i].took += took
			return err
		}
	}
	s.parts = append(s.parts, measure{name, took})
	return err
}

// Together brings up parts that do not need one another at the same time. It
// waits for all of them, also when some fail, so that what they hold can be
// given back, and returns all their errors.
func (s *Start) Together(parts ...Part) error {
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, part := range parts {
		wg.Go(func() { errs[i] = s.Do(part.Name, part.Do) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// efficiencyLocked is what was gained by doing things at the same time: the
// sum of the parts by the total. It is 1 where nothing was.
func (s *Start) efficiencyLocked() float64 {
	if s.total <= 0 {
		return 1
	}
	sum := time.Duration(0)
	for _, part := range s.parts {
		sum += part.took
	}
	return float64(sum) / float64(s.total)
}

// Report says in the log how the config came up, now that it is in force. It
// does so once.
func (s *Start) Report(logger *zap.Logger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reported {
		return
	}
	s.reported = true
	fields := []zap.Field{zap.Duration("took", s.total), zap.Float64("parallel_efficiency", s.efficiencyLocked())}
	for _, part := range s.parts {
		fields = append(fields, zap.Duration(part.name, part.took))
	}
	if sinceBegin := s.now().Sub(processBegan); ready.CompareAndSwap(0, int64(max(sinceBegin, 1))) {
		fields = append(fields, zap.Duration("since_process_began", sinceBegin))
	}
	logger.Info("the gateway is ready", fields...)
}

var (
	partDesc       = prometheus.NewDesc("caddy_llm_startup_seconds", "How long a component of the config took to come up.", []string{"component"}, nil)
	totalDesc      = prometheus.NewDesc("caddy_llm_startup_total_seconds", "How long the gateway's part of the config took to come up.", nil, nil)
	efficiencyDesc = prometheus.NewDesc("caddy_llm_startup_parallel_efficiency", "The sum of the components by the total: more than 1 where they came up at the same time.", nil, nil)
	readyDesc      = prometheus.NewDesc("caddy_llm_startup_ready_seconds", "Time from the beginning of the process until its first config was in force.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *Start) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{partDesc, totalDesc, efficiencyDesc, readyDesc} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (s *Start) Collect(metrics chan<- prometheus.Metric) {
	tell := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, part := range s.parts {
		tell(partDesc, part.took.Seconds(), part.name)
	}
	tell(totalDesc, s.total.Seconds())
	tell(efficiencyDesc, s.efficiencyLocked())
	tell(readyDesc, time.Duration(ready.Load()).Seconds())
}

// Interface guard
var _ prometheus.Collector = (*Start)(nil)
