// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"sync"
	"time"
)

const (
	// maxGood and maxBad bound how many answers are remembered. They are apart,
	// so that invented tokens crowd out no good one.
	maxGood = 1 << 14
	maxBad  = 1 << 14
)

// answer is what an issuer has said of a token.
type answer struct {
	// claims are those of a good token; nil if it is not good.
	claims Claims
	// fresh is until when the answer is believed, and until when it is where
	// the issuer cannot be asked again; never if the token is not good.
	fresh, until time.Time
}

func (a answer) judge() (Claims, error) {
	if a.claims == nil {
		return nil, errInactive
	}
	return a.claims, nil
}

// answers are those that are remembered, by the hash of the token.
type answers struct {
	mu        sync.Mutex
	good, bad map[Digest]answer
}

func (a *answers) find(token Digest) (answer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.good[token]; ok {
		return known, true
	}
	known, ok := a.bad[token]
	return known, ok
}

func (a *answers) remember(token Digest, said answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	into, other, most := &a.good, a.bad, maxGood
	if said.claims == nil {
		into, other, most = &a.bad, a.good, maxBad
	}
	delete(other, token)
	if _, known := (*into)[token]; !known {
		*into = WithRoom(*into, most, func(old answer) time.Time { return old.fresh })
	}
	(*into)[token] = said
}
