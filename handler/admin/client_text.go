// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed83435595/caddy-llm-proxy/handler"
)

// clientFlags are what can be said of a client on the command line.
type clientFlags struct {
	models, providers, groups, allowIP []string
	limits, metadata, hashes           []string
	expires                            string
}

func addClientFlags(cmd *cobra.Command) *clientFlags {
	f, flags := new(clientFlags), cmd.Flags()
	flags.StringSliceVar(&f.models, "model", nil, "patterns of the models that it may use")
	flags.StringSliceVar(&f.providers, "provider", nil, "patterns of the providers that may serve it")
	flags.StringSliceVar(&f.groups, "group", nil, "the groups that it belongs to")
	flags.StringSliceVar(&f.allowIP, "allow-ip", nil, "addresses and CIDR ranges that it may call from")
	flags.StringArrayVar(&f.limits, "limit", nil, "how much it may use, as in a Caddyfile: 'tokens 100000 day'")
	flags.StringArrayVar(&f.metadata, "metadata", nil, "what is to be known of it, as name=value")
	flags.StringArrayVar(&f.hashes, "secret-hash", nil, "the hash of a key of your own, as 'caddy llm hash-key' prints it")
	flags.StringVar(&f.expires, "expires", "", "when its access ends, such as 2026-12-31")
	return f
}

// changed returns the fields of a client that were given, as JSON has them.
func (f *clientFlags) changed(cmd *cobra.Command) (map[string]any, error) {
	limits, err := f.parseLimits()
	if err != nil {
		return nil, err
	}
	pairs, err := f.parseMetadata()
	if err != nil {
		return nil, err
	}
	body := map[string]any{}
	for flag, field := range map[string]struct {
		name  string
		value any
	}{
		"model": {"models", trimmed(f.models)}, "provider": {"providers", trimmed(f.providers)}, "group": {"groups", trimmed(f.groups)},
		"allow-ip": {"allow_ip", trimmed(f.allowIP)}, "limit": {"limits", limits}, "metadata": {"metadata", pairs},
		"secret-hash": {"secrets", slices.DeleteFunc(f.hashes, func(hash string) bool { return hash == "" })}, "expires": {"expires", f.expires},
	} {
		if cmd.Flags().Changed(flag) {
			body[field.name] = field.value
		}
	}
	return body, nil
}

// trimmed returns the parts of a list that may be written with spaces behind
// its commas.
func trimmed(list []string) []string {
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// parseLimits reads the limits; a single empty one is none.
func (f *clientFlags) parseLimits() ([]*handler.Limit, error) {
	limits := []*handler.Limit{}
	for _, text := range f.limits {
		if text == "" {
			continue
		}
		limit, err := handler.ParseLimit(text)
		if err != nil {
			return nil, fmt.Errorf("--limit: %w", err)
		}
		limits = append(limits, limit)
	}
	return limits, nil
}

// parseMetadata reads the metadata. What has no value is taken away.
func (f *clientFlags) parseMetadata() (map[string]any, error) {
	pairs := map[string]any{}
	for _, text := range f.metadata {
		name, value, ok := strings.Cut(text, "=")
		switch {
		case !ok:
			return nil, fmt.Errorf("--metadata: wants name=value, such as team=search: %s", text)
		case value == "":
			pairs[name] = nil
		default:
			pairs[name] = value
		}
	}
	return pairs, nil
}

// list prints a table of the clients.
func (c *clients) list(out io.Writer, now time.Time) error {
	var raw json.RawMessage
	if err := c.request(http.MethodGet, c.path("", ""), nil, &raw); err != nil {
		return err
	}
	if c.asJSON {
		return printJSON(out, raw)
	}
	var all []client
	if err := json.Unmarshal(raw, &all); err != nil {
		return fmt.Errorf("reading the instance's answer: %w", err)
	}
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "CLIENT\tSTATE\tMODELS\tPROVIDERS\tGROUPS\tLIMITS\tEXPIRES")
	for _, client := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", client.ID, client.state(now),
			client.inForce(func(h *handler.Holding) string { return orElse(h.Models, "all") }),
			client.inForce(func(h *handler.Holding) string { return orElse(h.Providers, "all") }),
			orElse(client.Groups, "-"),
			client.inForce(func(h *handler.Holding) string { return strconv.Itoa(len(h.Limits)) }),
			orElse(nonEmpty(client.Expires), "never"))
	}
	return table.Flush()
}

// inForce returns a word on what holds for the client: where blocks differ in
// it, one for each of them, and none where no block admits it.
func (c *client) inForce(word func(*handler.Holding) string) string {
	var words []string
	for i := range c.InForce {
		if said := word(&c.InForce[i]); !slices.Contains(words, said) {
			words = append(words, said)
		}
	}
	return cmp.Or(strings.Join(words, " or "), "-")
}

// describe prints all that there is to know of a client.
func describe(out io.Writer, c *client) {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	line := func(name string, values []string) {
		if len(values) > 0 {
			fmt.Fprintf(table, "%s:\t%s\n", name, strings.Join(values, " "))
		}
	}
	line("client", []string{c.ID})
	line("state", []string{c.state(time.Now())})
	line("trouble", nonEmpty(c.Trouble))
	line("groups", c.Groups)
	c.describeRules(line)
	line("expires", nonEmpty(c.Expires))
	line("allow ip", c.AllowIP)
	for _, name := range slices.Sorted(maps.Keys(c.Metadata)) {
		line("metadata", []string{name, c.Metadata[name]})
	}
	for _, hash := range c.Secrets {
		line("secret", []string{hash})
	}
	for _, old := range c.OldSecrets {
		line("old secret", []string{old.Secret, "until", old.Until})
	}
	line("store", []string{c.Store})
	_ = table.Flush()
}

// describeRules tells what the client may in the blocks that admit it; if none
// does, what it says itself.
func (c *client) describeRules(line func(name string, values []string)) {
	if len(c.InForce) == 0 {
		line("models", c.Models)
		line("providers", c.Providers)
		for _, limit := range c.Limits {
			line("limit", []string{limit.String()})
		}
	}
	for i, holding := range c.InForce {
		if of := len(c.InForce); of > 1 {
			line("block", []string{fmt.Sprintf("%d of %d that differ", i+1, of)})
		}
		line("models", []string{orElse(holding.Models, "all")})
		line("providers", []string{orElse(holding.Providers, "all")})
		for _, limit := range holding.Limits {
			line("limit", []string{limit.String()})
		}
	}
}

// state says in a word whether the client may call.
func (c *client) state(now time.Time) string {
	switch {
	case c.Trouble != "":
		return "in trouble"
	case c.Disabled:
		return "disabled"
	case c.Expired(now):
		return "expired"
	}
	return "active"
}

func tellState(out io.Writer, c *client) {
	fmt.Fprintf(out, "%s: %s\n", c.ID, c.state(time.Now()))
}

// tellSecret shows a key that was just made.
func tellSecret(out io.Writer, c *client) {
	if c.Secret == "" {
		fmt.Fprintf(out, "client: %s\n", c.ID)
		return
	}
	fmt.Fprintf(out, "client: %s\nkey:    %s\n", c.ID, c.Secret)
	for _, old := range c.OldSecrets {
		fmt.Fprintf(out, "the old key %s is valid until %s\n", old.Secret, old.Until)
	}
}

func printJSON(out io.Writer, raw []byte) error {
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(raw), "", "  "); err != nil {
		return fmt.Errorf("reading the instance's answer: %w", err)
	}
	_, err := fmt.Fprintln(out, indented.String())
	return err
}

func orElse(words []string, none string) string {
	if len(words) == 0 {
		return none
	}
	return strings.Join(words, " ")
}

func nonEmpty(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}
