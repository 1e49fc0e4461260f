// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:      "llm",
		Short:     "Tools for the LLM gateway",
		CobraFunc: addCommands,
	})
}

// addCommands adds those below "caddy llm".
func addCommands(cmd *cobra.Command) {
	cmd.AddCommand(hashKeyCommand(), keysCommand(), clientCommand())
	cmd.RunE = chooseCommand
}

// chooseCommand is what a command does that only has others below it. Cobra
// would show the help for a misspelled one, and call that a success.
func chooseCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var known []string
	for _, below := range cmd.Commands() {
		if below.IsAvailableCommand() {
			known = append(known, below.Name())
		}
	}
	return fmt.Errorf("unknown command %q for '%s': there are %s", args[0], cmd.CommandPath(), syntax.And(known))
}

// instance is the running Caddy that a command speaks to.
type instance struct{ address, config, adapter string }

// addFlags adds those by which Caddy's own commands find the instance.
func (i *instance) addFlags(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&i.address, "address", "", "the address of the admin API, if it is not that of the config")
	flags.StringVarP(&i.config, "config", "c", "", "the config file that says where the admin API is")
	flags.StringVarP(&i.adapter, "adapter", "a", "", "the name of the adapter of that file")
}

// maxAnswer bounds what is read of the instance's answer, in bytes.
const maxAnswer = 64 << 20

// request asks the instance for something, with a JSON body unless that is nil,
// and reads its JSON into answer.
func (i *instance) request(method, path string, body, answer any) error {
	var content io.Reader
	header := http.Header{}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
		content = bytes.NewReader(text)
		header.Set("Content-Type", "application/json")
	}
	address, err := caddycmd.DetermineAdminAPIAddress(i.address, nil, i.config, i.adapter)
	if err != nil {
		return fmt.Errorf("finding the admin API: %w", err)
	}
	res, err := caddycmd.AdminAPIRequest(address, method, path, header, content)
	if err != nil {
		return fmt.Errorf("asking the instance at %s: %w", address, spoken(err))
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("reading the instance's answer: %w", err)
	}
	return nil
}

// spoken returns the message of an error that the instance has answered with.
// Caddy hands it on as the JSON that came, in which HTML's signs are escaped.
func spoken(err error) error {
	_, status, _ := strings.Cut(err.Error(), "HTTP ")
	_, body, _ := strings.Cut(status, ": ")
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(body), &answer) != nil || answer.Error == "" {
		return err
	}
	return errors.New(answer.Error)
}

func keysCommand() *cobra.Command {
	i := new(instance)
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Shows and changes the state of provider keys in the running Caddy",
		Long: `Shows and changes the state of provider keys in the running Caddy, by its
admin API. Where that is, is found as by Caddy's own commands: from --address,
from the config file, or it is the default.`,
		RunE: chooseCommand,
	}
	i.addFlags(cmd)
	cmd.AddCommand(
		&cobra.Command{
			Use:   "list",
			Short: "Lists all keys with their state",
			Args:  cobra.NoArgs,
			RunE:  func(cmd *cobra.Command, _ []string) error { return i.listKeys(cmd.OutOrStdout(), time.Now()) },
		},
		i.keyCommand("disable", "Takes a key out of use until it is enabled again",
			"Reloads keep that, a restart of Caddy with 'state persist' only. Calls that use the key go on."),
		i.keyCommand("enable", "Puts a key that was disabled back into use", "What else it rests from stays: see reset."),
		i.keyCommand("reset", "Lifts all that a key rests from", "It is used again at once, unless it is disabled."),
	)
	return cmd
}

// keyCommand returns the command for one of the actions.
func (i *instance) keyCommand(action, short, more string) *cobra.Command {
	return &cobra.Command{
		Use:   action + " <provider> <key id>",
		Short: short,
		Long:  short + ".\n" + more,
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var k key
			path := "/llm/pools/" + url.PathEscape(args[0]) + "/keys/" + url.PathEscape(args[1]) + "/" + action
			if err := i.request(http.MethodPost, path, nil, &k); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s\n", args[0], k.ID, k.why(time.Now()))
			return nil
		},
	}
}

func (i *instance) listKeys(out io.Writer, now time.Time) error {
	var pools []pool
	if err := i.request(http.MethodGet, "/llm/pools", nil, &pools); err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "PROVIDER\tKEY\tSTATE\tIN FLIGHT\tATTEMPTS\tSUCCESS\tLATENCY")
	for _, p := range pools {
		for _, k := range p.Keys {
			success, latency := k.measures()
			fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", p.Provider, k.ID, k.why(now), k.InFlight, k.Attempts, success, latency)
		}
	}
	return table.Flush()
}

// measures says how attempts go and how long they take, as far as there were
// any to tell.
func (h *health) measures() (success, latency string) {
	success, latency = "-", "-"
	if h.Successes+h.Errors > 0 {
		success = fmt.Sprintf("%.0f%%", 100*h.SuccessRate)
	}
	if h.Successes > 0 {
		latency = time.Duration(h.LatencyMS * float64(time.Millisecond)).Round(time.Millisecond).String()
	}
	return success, latency
}

// why says how the key stands, and why if it is not free.
func (k *key) why(now time.Time) string {
	switch {
	case k.State == "open":
		return k.Resting.said(now)
	case k.State != "closed" && k.State != "half-open":
		return k.State
	case k.ProviderResting != rest{}:
		return "provider " + k.ProviderResting.said(now)
	case k.State == "half-open":
		return "on trial"
	}
	models := len(k.ProviderRestingModels)
	for model := range k.RestingModels {
		if _, counted := k.ProviderRestingModels[model]; !counted {
			models++
		}
	}
	if models > 0 {
		return fmt.Sprintf("free (models at rest: %d)", models)
	}
	return "free"
}

// said says for how long something rests, and why.
func (r rest) said(now time.Time) string {
	return fmt.Sprintf("rests %s (%s)", r.Until.Sub(now).Round(time.Second), r.Class)
}
