// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profile does every work once more to each Caddy, and lets Caddy's admin API
// write down where the time goes.
func (b *bench) profile(p *plan) error {
	if err := os.MkdirAll(b.options.profile, 0o755); err != nil {
		return fmt.Errorf("making the directory for profiles: %w", err)
	}
	for i := range p.works {
		w := &p.works[i]
		for _, name := range w.targets {
			t := b.targets[name]
			if w.fresh || t.admin == "" {
				continue
			}
			fetched := make(chan error, 1)
			path := filepath.Join(b.options.profile, w.name+"-"+name+".pprof")
			time.AfterFunc(w.ramp+w.warm, func() { fetched <- fetchProfile(t.admin, w.measure, path) })
			drive(t, w, &sample{Values: map[string]float64{}})
			if err := <-fetched; err != nil {
				return fmt.Errorf("profiling %s: %w", name, err)
			}
		}
	}
	return nil
}

func fetchProfile(admin string, d time.Duration, path string) error {
	res, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", admin, max(int(d.Seconds()), 1)))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	profile, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(path, profile, 0o644)
}
