// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// split shares the calls of a model line among the first of its targets.
type split struct {
	// shares are those of the stable target and, behind it, of the canaries.
	shares []*share
	// others are the targets that have no share.
	others []target
	rules  Canary
	turn   *atomic.Uint64
	logger *zap.Logger
	match  string
}

// share is a target's part in a split.
type share struct {
	split  *split
	to     target
	weight float64
	trial  *trial
}

// newSplit makes the split of a line, whose targets are those of one family.
func (t *Transport) newSplit(line *ModelRoute, targets []target) (*split, error) {
	s := &split{
		others: targets[len(line.Split):], rules: line.Canary.withDefaults(),
		logger: t.logger, match: line.Match, turn: new(atomic.Uint64),
	}
	for i, weight := range line.Split {
		to := targets[i]
		known, err := t.openTrial(trialKey{line.Match, to.provider.Name, to.provider.base.String(), to.model})
		if err != nil {
			return nil, err
		}
		s.shares = append(s.shares, &share{split: s, to: to, weight: float64(weight), trial: known})
	}
	return s, nil
}

// trials holds what is known of the targets of splits. It outlives configs, so
// that a reload brings no bad canary back.
var trials = caddy.NewUsagePool()

// trialKey says whose trial it is: that of a target under one line, as
// another's calls may be of another kind.
type trialKey struct{ match, provider, base, model string }

func (t *Transport) openTrial(key trialKey) (*trial, error) {
	known, _, err := trials.LoadOrNew(key, func() (caddy.Destructor, error) { return new(trial), nil })
	if err != nil {
		return nil, fmt.Errorf("loading what is known of the split: %w", err)
	}
	t.trials = append(t.trials, key)
	return known.(*trial), nil
}

// among returns the split among those of its targets that may serve a call. Who
// is left shares by the same weights, and is judged as before.
func (s *split) among(a allowed) *split {
	narrow := &split{others: a.of(s.others), rules: s.rules, logger: s.logger, match: s.match, turn: s.turn}
	for _, share := range s.shares {
		if a.allows(share.to.provider) {
			narrow.shares = append(narrow.shares, share)
		}
	}
	if len(narrow.shares) == 0 {
		return nil
	}
	return narrow
}

// order returns the targets for a call: the one whose turn it is, the others of
// the split, those without a share, and last the canaries that are withdrawn.
// Only the first is judged by how the call goes. What fails with one target may
// be a request that fails with any; who is asked only for such would look
// worse than they are.
func (s *split) order() []target {
	now := time.Now()
	weights := make([]float64, len(s.shares))
	for i, share := range s.shares {
		weights[i] = share.weight * s.part(share, now)
	}
	first := pick(weights, s.turn.Add(1))
	ordered := make([]target, 0, len(s.shares)+len(s.others))
	ordered = append(ordered, s.shares[first].to)
	ordered[0].share = s.shares[first]
	var withdrawn []target
	for i, share := range s.shares {
		switch {
		case i == first:
		case weights[i] == 0 && share.weight > 0:
			withdrawn = append(withdrawn, share.to)
		default:
			ordered = append(ordered, share.to)
		}
	}
	return append(append(ordered, s.others...), withdrawn...)
}

// part returns how much of its weight a target gets at the moment.
func (s *split) part(of *share, now time.Time) float64 {
	if of == of.split.shares[0] {
		return 1
	}
	part, back := of.trial.part(now, &s.rules)
	if back {
		s.logger.Info("canary back", zap.String("model", s.match), zap.Stringer("canary", of.to))
	}
	return part
}

// goldenRatio spreads turns evenly: 2^64 times the golden ratio's fraction.
const goldenRatio = 0x9e3779b97f4a7c15

// pick returns whose turn it is. Turns are multiples of an irrational number,
// so that any number of calls in a row is shared by weight about as well as
// it can be, and yet no rhythm of calls falls in with them.
func pick(weights []float64, turn uint64) int {
	total := 0.0
	for _, weight := range weights {
		total += weight
	}
	at := float64(turn*goldenRatio>>11) / (1 << 53) * total
	for i, weight := range weights {
		if at < weight {
			return i
		}
		at -= weight
	}
	return 0
}

// answered notes that an attempt has begun to be answered well.
func (s *share) answered(l *leg) {
	if s == nil {
		return
	}
	o := outcome{began: l.began, call: true}
	if l.stream {
		o.firstToken = l.firstToken
	}
	s.note(o)
}

// failed notes how an attempt failed, or an answer that had begun well: then
// the call is no new one.
func (s *share) failed(began time.Time, v keypool.Verdict, anew bool) {
	if s != nil && blames(v.Class, s.to.named) {
		s.note(outcome{began: began, call: anew, fault: true})
	}
}

// keyless notes that there was no key for a call.
func (s *share) keyless() {
	if s != nil {
		s.note(outcome{began: time.Now(), call: true, fault: true})
	}
}

func (s *share) note(o outcome) {
	now, rules, stable := time.Now(), &s.split.rules, s.split.shares[0]
	if s == stable {
		s.trial.note(o, now, rules)
		return
	}
	reference := stable.trial.standing(now, rules)
	own, rest := s.trial.judge(o, reference, now, rules)
	if rest == 0 {
		return
	}
	s.split.logger.Warn("canary withdrawn",
		zap.String("model", s.split.match), zap.Stringer("canary", s.to), zap.Stringer("stable", stable.to),
		zap.Float64("error_rate", own.errorRate(0)), zap.Float64("stable_error_rate", reference.errorRate(0)),
		zap.Duration("first_token", own.median()), zap.Duration("stable_first_token", reference.median()),
		zap.Int("calls", own.calls), zap.Duration("rest", rest),
	)
}
