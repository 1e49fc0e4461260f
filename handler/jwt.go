// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// JWT lets in callers who bring a JSON Web Token in the place of a key. It
// must be signed by the issuer (RS, PS, ES or EdDSA), be meant for us, and
// expire. JWKS, Issuer and Audience may hold placeholders.
type JWT struct {
	// JWKS is where the issuer's public keys are: the URL or the file of a
	// JSON Web Key Set. They are fetched again every hour (a file every
	// minute), and when a token names a key that is not known; as long as
	// that fails, the known ones serve.
	JWKS string `json:"jwks"`

	// Issuer is the iss claim that tokens must have.
	Issuer string `json:"issuer"`

	// Audience is what the aud claim must name, one of it at least.
	Audience []string `json:"audience"`

	// Leeway is by how much the issuer's clock may differ. Default: 1m.
	Leeway caddy.Duration `json:"leeway,omitempty"`

	Claims

	line     syntax.Line
	verifier *auth.Verifier
}

const (
	defaultLeeway = time.Minute
	// maxKeySet bounds a key set, in bytes.
	maxKeySet = 1 << 20
)

// keySets holds the issuers' keys by their source. They outlive the configs:
// a reload works also while an issuer is away.
var keySets = caddy.NewUsagePool()

// sharedKeys is a key set with its owner.
type sharedKeys struct {
	auth.KeySet
	stop context.CancelFunc
}

// Destruct ends the owner.
func (k *sharedKeys) Destruct() error {
	k.stop()
	return nil
}

// openJWT gets ready what tells who brings a token.
func (who *Callers) openJWT() error {
	for i, j := range who.JWT {
		if err := j.provision(who); err != nil {
			return fmt.Errorf("jwt %d (%q): %w", i+1, j.Issuer, err)
		}
	}
	return nil
}

// check refuses what would let in tokens that are not meant for us.
func (j *JWT) check(who *Callers) error {
	switch {
	case j.JWKS == "" || j.Issuer == "" || len(j.Audience) == 0:
		return errors.New("jwks, issuer and audience are needed")
	case j.Leeway < 0:
		return errors.New("leeway: must not be negative")
	}
	return j.Claims.check(who)
}

// closeJWT gives the issuers' keys back.
func (who *Callers) closeJWT() error {
	var errs []error
	for _, j := range who.JWT {
		if j != nil && j.verifier != nil {
			_, err := keySets.Delete(j.JWKS)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// verify returns what a JSON Web Token of one of the issuers says of its
// client. It fails with [errUnknownKey] if it is none of theirs.
func (who *Callers) verify(ctx context.Context, secret string) (*grant, error) {
	if len(who.JWT) == 0 || !auth.IsToken(secret) {
		return nil, errUnknownKey
	}
	token, err := auth.ReadToken(secret)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnknownKey, err)
	}
	refused := errOtherIssuer
	for _, j := range who.JWT {
		if j.Issuer != token.Issuer {
			continue
		}
		claims, err := j.verifier.Verify(ctx, time.Now(), token)
		if err == nil {
			granted, err := j.grant(who, claims)
			if err != nil {
				err = fmt.Errorf("%w (of issuer %s)", err, j.Issuer)
			}
			return granted, err
		}
		if !errors.Is(refused, auth.ErrUnjudged) {
			refused = err
		}
	}
	return nil, refused
}

func (j *JWT) provision(who *Callers) error {
	if err := j.resolve(); err != nil {
		return err
	}
	if err := j.check(who); err != nil { // what a placeholder stands for may be nothing
		return err
	}
	if j.Leeway == 0 {
		j.Leeway = caddy.Duration(defaultLeeway)
	}
	keys, err := openKeys(j.JWKS)
	if err != nil {
		return err
	}
	j.verifier = &auth.Verifier{
		Keys: keys, Issuer: j.Issuer, Audience: j.Audience, Leeway: time.Duration(j.Leeway),
	}
	return nil
}

// resolve puts what placeholders stand for in their place.
func (j *JWT) resolve() error {
	j.Audience = slices.Clone(j.Audience)
	texts := []*string{&j.JWKS, &j.Issuer}
	for i := range j.Audience {
		texts = append(texts, &j.Audience[i])
	}
	for _, text := range texts {
		if *text == "" {
			continue
		}
		resolved, err := caddy.NewReplacer().ReplaceOrErr(*text, true, true)
		if err != nil {
			return err
		}
		*text = resolved
	}
	return nil
}

// openKeys returns the keys of a source. A file must be readable; a URL may
// be away, for the network does not hold up the start.
func openKeys(source string) (*auth.KeySet, error) {
	shared, _, err := keySets.LoadOrNew(source, func() (caddy.Destructor, error) {
		keys := new(sharedKeys)
		keys.Now = time.Now
		keys.Report = func(err error) {
			caddy.Log().Named("http.handlers.llm_proxy").Warn("getting an issuer's keys; the known ones serve on",
				zap.String("jwks", source), zap.Error(err))
		}
		keys.Init()
		location, err := url.Parse(source)
		if err == nil && (location.Scheme == "https" || location.Scheme == "http") {
			keys.Fetch = func(ctx context.Context) ([]byte, error) { return fetchKeys(ctx, source) }
			keys.Every, keys.Again = time.Hour, 30*time.Second
		} else {
			keys.Fetch = func(context.Context) ([]byte, error) { return filewatch.Read(source, maxKeySet) }
			keys.Every, keys.Again = time.Minute, time.Minute
			if err := keys.Load(context.Background()); err != nil {
				return nil, err
			}
		}
		ctx, stop := context.WithCancel(context.Background())
		keys.stop = stop
		go keys.Run(ctx)
		return keys, nil
	})
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	return &shared.(*sharedKeys).KeySet, nil
}

var keyClient = &http.Client{Timeout: 10 * time.Second}

// fetchKeys gets a key set from its URL.
func fetchKeys(ctx context.Context, source string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, source, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := keyClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the issuer answers %s", res.Status)
	}
	return filewatch.ReadAtMost(res.Body, maxKeySet)
}

// parseJWT parses "jwt { … }".
func (who *Callers) parseJWT(d *caddyfile.Dispenser) error {
	line := syntax.At(d)
	if d.NextArg() {
		return d.ArgErr()
	}
	j := &JWT{line: line}
	block := j.Claims.options()
	block["jwks"], block["issuer"], block["audience"], block["leeway"] = &j.JWKS, &j.Issuer, &j.Audience, &j.Leeway
	if err := block.parse(d, "jwt"); err != nil {
		return err
	}
	who.JWT = append(who.JWT, j)
	return nil
}
