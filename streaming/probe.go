// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

const (
	defaultProbe = 15 * time.Second
	minProbe     = time.Second
	// probeTime is how long a provider has to answer a probe.
	probeTime = 10 * time.Second
	// In each fifteenth part of the interval at most four keys are probed, so
	// that a provider is not asked for hundreds of them at once.
	probeParts   = 15
	probesInPart = 4
)

// prober finds out in the background which keys of a provider are accepted,
// by asking for what costs nothing. It belongs to one transport and ends with
// it.
type prober struct {
	provider *Provider
	every    time.Duration
	logger   *zap.Logger
	// cancel ends it, and done says that it has ended; both are nil before it
	// is at work.
	cancel context.CancelFunc
	done   chan struct{}
}

// newProbers makes probers for the providers for which that is wanted, and that
// have something to ask for.
func (t *Transport) newProbers() {
	for _, p := range t.Providers {
		every := cmp.Or(time.Duration(p.Probe), time.Duration(t.Probe), defaultProbe)
		if every < 0 || p.family.ProbeURL(p.base, "") == nil {
			continue
		}
		t.probers = append(t.probers, &prober{provider: p, every: every, logger: t.logger})
	}
}

// checkProbe refuses to ask a provider all the time. Nothing stands for the
// default, and less for never.
func checkProbe(every caddy.Duration) error {
	if every > 0 && every < caddy.Duration(minProbe) {
		return fmt.Errorf("probe: must be at least %s", minProbe)
	}
	return nil
}

// startProbes sets the probers to work.
func (t *Transport) startProbes() {
	for _, b := range t.probers {
		var ctx context.Context
		ctx, b.cancel = context.WithCancel(context.Background())
		b.done = make(chan struct{})
		go b.run(ctx)
	}
}

// stopProbes ends all probing.
func (t *Transport) stopProbes() {
	for _, b := range t.probers {
		if b.cancel != nil {
			b.cancel()
			<-b.done
		}
	}
	t.probers = nil
}

// run probes keys that need it. It waits before the first: most keys need none
// once a call has used them.
func (b *prober) run(ctx context.Context) {
	defer close(b.done)
	wait := b.every/3 + rand.N(b.every/3)
	for sleep(ctx, wait) {
		for range probesInPart {
			// Half the jitter is in when a key is due, half in when it is asked.
			next, ok := b.provider.pool.Load().NextProbe(b.every - rand.N(b.every/4))
			if !ok {
				break
			}
			if !b.probe(ctx, next) {
				return
			}
		}
		wait = b.every/probeParts/2 + rand.N(b.every/probeParts)
	}
}

// probe makes a probe. It reports false if another would be no use.
func (b *prober) probe(ctx context.Context, next keypool.Probe) bool {
	verdict, err := b.ask(ctx, next)
	if errors.Is(err, errNoList) {
		b.logger.Info("the provider has no list of models: its keys are not probed", zap.String("provider", b.provider.Name))
		return false
	}
	if c := b.logger.Check(zapcore.DebugLevel, "probed a key"); c != nil {
		c.Write(
			zap.String("provider", b.provider.Name), zap.String("key", next.KeyID()), zap.String("model", next.Model()),
			zap.Stringer("class", verdict.Class), zap.Error(withoutKey(err, next.Secret())),
		)
	}
	next.Report(verdict)
	return true
}

// errNoList is a provider without a list of models.
var errNoList = errors.New("there is no list of models")

// ask asks the provider for its list of models, or for one of them.
func (b *prober) ask(ctx context.Context, next keypool.Probe) (keypool.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	p := b.provider
	nothing := keypool.Verdict{Class: keypool.ClassCanceled}
	with, err := p.credential(ctx, next.KeyID(), next.Secret())
	if err != nil {
		return nothing, err
	}
	header := http.Header{"Accept": {"application/json"}, "Accept-Encoding": {"identity"}}
	with.place(p, header)
	req := &http.Request{
		Method: http.MethodGet, URL: p.family.ProbeURL(p.base, next.Model()),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Host: p.base.Host,
	}
	if err := with.sign(req, nil); err != nil {
		return nothing, err
	}
	res, err := p.transport.RoundTrip(req.WithContext(context.WithValue(ctx, dialInfoKey, p.dial)))
	if err != nil {
		return nothing, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	switch status := res.StatusCode; {
	case (status == http.StatusNotFound || status == http.StatusMethodNotAllowed) && next.Model() == "":
		return keypool.Verdict{}, errNoList
	case status >= 200 && status < 300:
		return keypool.Verdict{Class: keypool.ClassOK}, nil
	case status < http.StatusBadRequest: // it leads elsewhere
		return keypool.Verdict{Class: keypool.ClassCaller}, nil
	}
	verdict := p.rules.Judge(&wire.Request{Family: p.family}, res.StatusCode, res.Header, body, time.Now())
	if with.mayHaveExpired(verdict) {
		return nothing, err // which the next call mends
	}
	return verdict, err
}
