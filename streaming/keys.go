// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
)

var errNoKeys = errors.New("no key: a provider needs at least one 'key', 'keys' or 'keys_file', such as 'key {env.OPENAI_API_KEY}'; if it answers without, say 'key none'")

// maxKeysFile bounds the file of keys, in bytes.
const maxKeysFile = 4 << 20

// provisionKeys resolves the secrets and builds the pool over the state that
// earlier configs left behind.
func (p *Provider) provisionKeys(ctx caddy.Context, logger *zap.Logger, persist bool) error {
	var err error
	if p.fixed, err = p.findKeys(ctx); err != nil {
		return err
	}
	upstream, err := p.borrow(&p.borrowed, p.base.String(), func() (caddy.Destructor, error) { return keypool.NewUpstream(), nil })
	if err != nil {
		return err
	}
	p.options.Upstream = upstream.(*keypool.Upstream)
	memory, err := p.borrow(&p.borrowed, "stored", func() (caddy.Destructor, error) { return newStored(), nil })
	if err != nil {
		return err
	}
	p.stored = memory.(stored)
	if persist {
		if err := p.remember(ctx.Storage()); err != nil {
			return err
		}
	}
	if p.KeysFile == "" {
		return p.usePool(p.fixed)
	}
	path, err := caddy.NewReplacer().ReplaceOrErr(p.KeysFile, true, true)
	if err != nil {
		return fmt.Errorf("keys_file: %w", err)
	}
	p.file = &filewatch.File{Path: path, Holds: "keys", Most: maxKeysFile, Take: p.takeKeys}
	return p.file.Open(logger.With(zap.String("provider", p.Name)))
}

// takeKeys puts the keys of the file in force, beside those of the config.
func (p *Provider) takeKeys(text []byte) ([]zap.Field, error) {
	keys, err := p.parseKeys(text)
	if err == nil && len(keys) == 0 {
		err = errors.New("it holds no key")
	}
	if err == nil {
		err = p.usePool(slices.Concat(p.fixed, keys))
	}
	if err != nil {
		return nil, err
	}
	return []zap.Field{zap.Int("keys", p.pool.Load().Size())}, nil
}

// parseKeys reads a file of keys: a JSON object, or secrets.
func (p *Provider) parseKeys(text []byte) ([]keypool.Key, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return p.splitKeys(string(text))
	}
	var content struct {
		Keys []*Key `json:"keys"`
	}
	if err := filewatch.Decode(text, &content); err != nil {
		return nil, err
	}
	repl := caddy.NewReplacer()
	var keys []keypool.Key
	for i, key := range content.Keys {
		if key == nil || key.Secret == "" || key.CredentialsRaw != nil || key.None {
			return nil, fmt.Errorf("key %d: a secret is needed, and no other credentials", i+1)
		}
		secret, err := key.resolveSecret(repl)
		if err == nil {
			err = p.checkSecret(secret)
		}
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		ready, err := key.ready(secret)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		keys = append(keys, ready)
	}
	return keys, nil
}

// usePool puts a pool of these keys in the place of the one before, over what
// is known of them. Calls that use a key of the old one go on.
func (p *Provider) usePool(keys []keypool.Key) error {
	if len(keys) == 0 {
		return errNoKeys
	}
	var err error
	opts := p.options
	if opts.Policy, err = p.policy(keys); err != nil {
		return err
	}
	var names []string
	states := make([]*keypool.State, len(keys))
	for i, key := range keys {
		fingerprint := keypool.Fingerprint(key.Secret.Reveal())
		state, err := p.borrow(&names, fingerprint, func() (caddy.Destructor, error) { return keypool.NewState(), nil })
		if err != nil {
			return errors.Join(err, giveBack(names))
		}
		states[i] = state.(*keypool.State)
		p.memory.recall(fingerprint, states[i])
	}
	pool, err := keypool.New(keys, states, opts)
	if err != nil {
		return errors.Join(err, giveBack(names))
	}
	p.pool.Store(pool)
	old := p.keyNames
	p.keyNames = names
	return giveBack(old)
}

func (p *Provider) policy(keys []keypool.Key) (keypool.Policy, error) {
	if p.Select != "" {
		return keypool.ParsePolicy(p.Select)
	}
	if slices.ContainsFunc(keys, func(key keypool.Key) bool { return key.Weight != 0 }) {
		return keypool.Weighted, nil
	}
	return keypool.RoundRobin, nil
}

// borrow returns what is kept in keyStates for the provider under a name, which
// is added to those that are to be given back.
func (p *Provider) borrow(names *[]string, name string, fresh func() (caddy.Destructor, error)) (any, error) {
	name = p.Name + "/" + name
	state, _, err := keyStates.LoadOrNew(name, fresh)
	if err != nil {
		return nil, fmt.Errorf("loading what is known of %s: %w", name, err)
	}
	*names = append(*names, name)
	return state, nil
}

// release gives back what p has borrowed.
func (p *Provider) release() error {
	if p == nil {
		return nil
	}
	p.file.Close()
	err := p.forget() // while the states are still there
	names := slices.Concat(p.borrowed, p.keyNames)
	p.borrowed, p.keyNames = nil, nil
	return errors.Join(err, giveBack(names))
}

func giveBack(names []string) error {
	var errs []error
	for _, name := range names {
		if _, err := keyStates.Delete(name); err != nil {
			errs = append(errs, fmt.Errorf("giving back what is known of %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// resolveKeys evaluates the placeholders of all secrets. The results stay out
// of the exported fields, which end up in logs and in the admin API.
func (p *Provider) resolveKeys(ctx caddy.Context) ([]keypool.Key, error) {
	repl := caddy.NewReplacer()
	var keys []keypool.Key
	for i, key := range p.Keys {
		if key == nil {
			return nil, fmt.Errorf("key %d: null", i+1)
		}
		ready, err := p.resolveKey(ctx, repl, key)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		keys = append(keys, ready)
	}
	for i, list := range p.KeyLists {
		text, err := repl.ReplaceOrErr(list, true, true)
		if err != nil {
			return nil, fmt.Errorf("keys, entry %d: %w", i+1, err)
		}
		more, err := p.splitKeys(text)
		if err != nil {
			return nil, fmt.Errorf("keys, entry %d: %w", i+1, err)
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

// splitKeys returns the keys of a text that holds several secrets.
func (p *Provider) splitKeys(text string) ([]keypool.Key, error) {
	var keys []keypool.Key
	for _, secret := range strings.FieldsFunc(text, isListSeparator) {
		if err := p.checkSecret(secret); err != nil {
			return nil, err
		}
		keys = append(keys, keypool.Key{Secret: keypool.NewSecret(secret)})
	}
	return keys, nil
}

func isListSeparator(r rune) bool {
	return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r'
}
