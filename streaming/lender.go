// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// sources is the namespace of the guest modules that obtain credentials.
const sources = "llm.credentials"

// lender is where a key's credentials come from.
type lender struct {
	source credentials.Source
	// config tells apart sources that are not configured alike.
	config string
}

// loadSource loads the guest module of a key that has no secret of its own. It
// returns what stands for the secret where keys are told apart.
func (k *Key) loadSource(ctx caddy.Context, p *Provider) (*lender, string, error) {
	if k.Secret != "" {
		return nil, "", errors.New("it has both a secret and 'credentials': one of them must go")
	}
	config := string(k.CredentialsRaw)
	module, err := ctx.LoadModule(k, "CredentialsRaw")
	if err != nil {
		var named struct {
			Source string `json:"source"`
		}
		if json.Unmarshal([]byte(config), &named) == nil && !isSource(named.Source) {
			return nil, "", errors.New(noSource(named.Source))
		}
		return nil, "", fmt.Errorf("loading credentials: %w", err)
	}
	source, ok := module.(credentials.Source)
	if !ok {
		return nil, "", fmt.Errorf("credentials: a %T obtains none", module)
	}
	if addressed, ok := source.(credentials.Addressed); ok {
		if err := addressed.Address(p.base); err != nil {
			return nil, "", fmt.Errorf("credentials: %w", err)
		}
	}
	id := string(module.(caddy.Module).CaddyModule().ID)
	return &lender{source, config}, strings.TrimPrefix(id, sources+".") + " " + source.Identity(), nil
}

// provisionKeepers makes the keepers of what the keys are lent, over what
// earlier configs have obtained.
func (p *Provider) provisionKeepers(t *Transport) error {
	for id, lender := range p.lenders {
		name := "credentials/" + id + "/" + keypool.Fingerprint(lender.source.Identity()+lender.config)
		state, err := p.borrow(&p.borrowed, name, func() (caddy.Destructor, error) { return credentials.NewState(), nil })
		if err != nil {
			return err
		}
		if p.keepers == nil {
			p.keepers = map[string]*credentials.Keeper{}
		}
		p.keepers[id] = credentials.NewKeeper(lender.source, state.(*credentials.State), func(e credentials.Event) { t.logCredentials(p, id, e) })
	}
	return nil
}

// logCredentials says that a key's credentials have ceased to be had, or can
// be had again.
func (t *Transport) logCredentials(p *Provider, keyID string, e credentials.Event) {
	fields := []zap.Field{zap.String("provider", p.Name), zap.String("key", keyID)}
	if e.Err == nil {
		t.logger.Info("credentials are obtained again", fields...)
		return
	}
	fields = append(fields, zap.Error(e.Err), zap.Time("retry", e.Retry))
	if !e.Until.IsZero() {
		fields = append(fields, zap.Time("good_until", e.Until))
	}
	t.logger.Warn("obtaining credentials fails; the key is passed over while it has none", fields...)
}

// parseSource parses the guest module's block.
func (k *Key) parseSource(d *caddyfile.Dispenser) error {
	if k.CredentialsRaw != nil {
		return d.Err("credentials: already specified")
	}
	if !d.NextArg() {
		return d.Errf("credentials: of which kind? Known are %s", strings.Join(sourceNames(), ", "))
	}
	name := d.Val()
	if !isSource(name) {
		return d.Err(noSource(name))
	}
	module, err := caddyfile.UnmarshalModule(d, sources+"."+name)
	if err != nil {
		return err
	}
	k.CredentialsRaw = caddyconfig.JSONModuleObject(module, "source", name, nil)
	return nil
}

// addable are the sources that belong to this project, but weigh too much to
// be in every build.
var addable = []string{"aws", "azure"}

// noSource says that this Caddy lacks a module, and how to add it.
func noSource(name string) string {
	if slices.Contains(addable, name) {
		return fmt.Sprintf("credentials: %s is not built into this Caddy; build it with --with github.com/seed83435595/caddy-llm-proxy/credentials/%s", name, name)
	}
	return fmt.Sprintf("credentials: there is no module %s.%s; known are %s", sources, name, strings.Join(sourceNames(), ", "))
}

func isSource(name string) bool { return slices.Contains(sourceNames(), name) }

// sourceNames returns the names of the sources that are built in.
func sourceNames() []string {
	var names []string
	for _, module := range caddy.GetModules(sources) {
		names = append(names, module.ID.Name())
	}
	slices.Sort(names)
	return names
}
