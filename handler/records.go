// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/handler/ledger"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// records are the ledgers of one config. Each call holds them from its
// beginning, since it may outlive the config.
type records struct {
	writers []*ledger.Writer
	// names are what the writers are called in the pool.
	names []ledgerName
}

// ledgerName is the hash of what tells a ledger from others.
type ledgerName [sha256.Size]byte

// ledgers holds the open ledgers. Configs that say the same of one share it,
// so that a reload neither closes nor reorders anything.
var ledgers = caddy.NewUsagePool()

// sharedWriter is a writer in the pool.
type sharedWriter struct{ *ledger.Writer }

// exitWait is how long the end of Caddy waits for records to be written.
const exitWait = 6 * time.Second

// Destruct lets go of the writer. At the end of Caddy it waits for what is
// left to be written; after a reload that happens behind its back.
func (w sharedWriter) Destruct() error {
	w.Release()
	if !caddy.Exiting() {
		return nil
	}
	select {
	case <-w.Done():
		return nil
	case <-time.After(exitWait):
		return fmt.Errorf("records of calls were lost: the sink did not take them within %s", exitWait)
	}
}

// openLedgers gets the config's ledgers ready.
func (h *Handler) openLedgers(ctx caddy.Context) error {
	if len(h.LedgersRaw) == 0 {
		return nil
	}
	loaded, err := ctx.LoadModule(h, "LedgersRaw")
	if err != nil {
		return fmt.Errorf("loading ledgers: %w", err)
	}
	for i, module := range loaded.([]any) {
		if err := h.records.open(module.(caddy.Module)); err != nil {
			return fmt.Errorf("ledger %d: %w", i+1, err)
		}
	}
	return nil
}

// open gets one ledger ready.
func (r *records) open(module caddy.Module) error {
	sinks, ok := module.(ledger.Module)
	if !ok {
		return fmt.Errorf("this is no ledger: %T", module)
	}
	said, err := sinks.Name()
	if err != nil {
		return err
	}
	name := ledgerName(sha256.Sum256([]byte(string(module.CaddyModule().ID) + " " + said)))
	opened, _, err := ledgers.LoadOrNew(name, func() (caddy.Destructor, error) {
		sink, err := sinks.Open()
		if err != nil {
			return nil, err
		}
		return sharedWriter{ledger.NewWriter(sink, caddy.Log().Named("llm.ledger"))}, nil
	})
	if err != nil {
		return err
	}
	r.names = append(r.names, name)
	r.writers = append(r.writers, opened.(sharedWriter).Writer)
	return nil
}

// close gives the ledgers back.
func (r *records) close() error {
	for _, name := range r.names {
		if _, err := ledgers.Delete(name); err != nil {
			return fmt.Errorf("closing a ledger: %w", err)
		}
	}
	r.names = nil
	return nil
}

// hold keeps the ledgers open for a call. A call that comes over an old
// connection after its config has ended finds those closed that the new one
// does not go on with.
func (r *records) hold() []*ledger.Writer {
	closed := slices.IndexFunc(r.writers, func(w *ledger.Writer) bool { return !w.Hold() })
	if closed < 0 {
		return r.writers
	}
	open := slices.Clone(r.writers[:closed])
	for _, writer := range r.writers[closed+1:] {
		if writer.Hold() {
			open = append(open, writer)
		}
	}
	return open
}

// keep writes down the call and lets go of the ledgers.
func (a *account) keep() {
	if len(a.ledgers) == 0 {
		return
	}
	var record *ledger.Record
	if a.kept {
		record = a.record()
	}
	for _, writer := range a.ledgers {
		if record != nil {
			writer.Write(record)
		}
		writer.Release()
	}
}

// record returns what is kept of the call.
func (a *account) record() *ledger.Record {
	call, result := a.call, &a.call.Result
	r := &ledger.Record{
		Time: call.Started, ID: call.ID, Client: a.client, Metadata: a.metadata,
		Provider: call.Provider, Key: call.KeyID, TargetModel: printable(call.TargetModel), ModelAnswered: printable(result.Model),
		Outcome: string(call.Outcome), Code: call.Refusal, Status: call.Status,
		Finish: printable(result.Finish), FinishReason: result.FinishReason,
		FirstTokenMS: milliseconds(call.FirstToken), DurationMS: milliseconds(time.Since(call.Started)),
		Events: result.Events,
	}
	if call.Request != nil {
		r.Operation, r.Model, r.Stream = call.Request.Operation.Name, printable(call.Request.Model), call.Request.Stream
	}
	if each, known := call.PerToken(); known {
		r.PerTokenMS = milliseconds(each)
	}
	for _, attempt := range call.Attempts {
		r.Attempts = append(r.Attempts, attempt.String())
	}
	if a.charged && !a.costUnknown {
		dollars := a.cost.USD()
		r.Cost = &dollars
	}
	usage := &result.Usage
	if !usage.Stated() {
		return r
	}
	r.Usage = &ledger.Usage{
		Input: usage.InputTotal(), Output: usage.OutputTotal(),
		CacheRead: usage.CacheRead, CacheWrite: usage.CacheWrite,
		Reasoning: usage.Reasoning, AudioIn: usage.AudioInput, AudioOut: usage.AudioOutput,
		Estimated: result.Estimated,
	}
	return r
}

// addLedger says how a build gets the ledger that belongs to this project, but
// weighs too much to be in every build.
const addLedger = "; for sql, build it with --with github.com/seed83435595/caddy-llm-proxy/ledgers/sql"

// ledgerNames returns the kinds of ledgers that are built in.
func ledgerNames() []string {
	var names []string
	for _, module := range caddy.GetModules("llm.ledger") {
		names = append(names, module.ID.Name())
	}
	slices.Sort(names)
	return names
}

// printable returns a text from outside with a mark in the place of what not
// every sink can hold: parts of characters, and characters that control.
func printable(text string) string {
	const mark = '\ufffd'
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return mark
		}
		return c
	}, strings.ToValidUTF8(text, string(mark)))
}

// parseLedger parses "ledger <module> …".
func (h *Handler) parseLedger(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Errf("ledger: of which kind? There are %s%s", syntax.And(ledgerNames()), addLedger)
	}
	name := d.Val()
	if !slices.Contains(ledgerNames(), name) {
		return d.Errf("ledger: %s is not built into this Caddy, which has %s%s", name, syntax.And(ledgerNames()), addLedger)
	}
	module, err := caddyfile.UnmarshalModule(d, "llm.ledger."+name)
	if err != nil {
		return err
	}
	raw := caddyconfig.JSONModuleObject(module, "sink", name, nil)
	for _, other := range h.LedgersRaw {
		if string(other) == string(raw) {
			return d.Errf("ledger %s: already specified", name)
		}
	}
	h.LedgersRaw = append(h.LedgersRaw, raw)
	return nil
}
