// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
)

// clients is what the commands about managed clients have in common.
type clients struct {
	instance
	store  string
	asJSON bool
}

func clientCommand() *cobra.Command {
	c := new(clients)
	cmd := &cobra.Command{
		Use:   "client",
		Short: "Manages the clients of the running Caddy",
		Long: `Manages clients of the running Caddy, by its admin API: those that lie in the
store which 'clients storage' or 'clients redis' names in the config. What is
changed is in force at once, and a moment later in all instances that share the
store. Where the admin API is, is found as by Caddy's own commands.`,
		RunE: chooseCommand,
	}
	c.addFlags(cmd)
	flags := cmd.PersistentFlags()
	flags.StringVar(&c.store, "store", "", "the name of the store, if there are several")
	flags.BoolVar(&c.asJSON, "json", false, "print what the admin API answers")
	cmd.AddCommand(
		c.addCommand(), c.changeCommand(), c.rotateCommand(),
		&cobra.Command{
			Use:   "list",
			Short: "Lists the managed clients",
			Args:  cobra.NoArgs,
			RunE:  func(cmd *cobra.Command, _ []string) error { return c.list(cmd.OutOrStdout(), time.Now()) },
		},
		c.plainCommand("show", "Shows a client", http.MethodGet, "", describe),
		c.plainCommand("disable", "Refuses a client's calls until it is enabled again", http.MethodPost, "/disable", tellState),
		c.plainCommand("enable", "Lets a client that was disabled call again", http.MethodPost, "/enable", tellState),
		c.plainCommand("remove", "Removes a client", http.MethodDelete, "", func(out io.Writer, client *client) {
			fmt.Fprintf(out, "%s: removed\n", client.ID)
		}),
	)
	return cmd
}

// path returns the path of a client in the admin API, or with "" of all.
func (c *clients) path(id, action string) string {
	path := "/llm/clients"
	if id != "" {
		path += "/" + url.PathEscape(id) + action
	}
	if c.store != "" {
		path += "?store=" + url.QueryEscape(c.store)
	}
	return path
}

// do asks the admin API for something about a client, and prints the answer.
func (c *clients) do(out io.Writer, method, path string, body any, tell func(io.Writer, *client)) error {
	var raw json.RawMessage
	if err := c.request(method, path, body, &raw); err != nil {
		return err
	}
	if c.asJSON {
		return printJSON(out, raw)
	}
	var answer client
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("reading the instance's answer: %w", err)
	}
	tell(out, &answer)
	return nil
}

// plainCommand returns a command that needs no more than a client's id.
func (c *clients) plainCommand(name, short, method, action string, tell func(io.Writer, *client)) *cobra.Command {
	return &cobra.Command{
		Use:   name + " <id>",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.do(cmd.OutOrStdout(), method, c.path(args[0], action), nil, tell)
		},
	}
}

func (c *clients) addCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add <id>",
		Short: "Adds a client and shows its new key",
		Long: `Adds a client and shows its new key, this once: give it to the client. Only its
hash is stored. With --secret-hash the key is one that you have made yourself.`,
		Example: `caddy llm client add search --model 'gpt-4o*' --limit 'tokens 1000000 day' --metadata team=search`,
	}
	return withFields(cmd, func(out io.Writer, id string, fields map[string]any) error {
		fields["id"] = id
		return c.do(out, http.MethodPost, c.path("", ""), fields, tellSecret)
	})
}

func (c *clients) changeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "change <id>",
		Short: "Changes what a client may",
		Long: `Changes what a client may: what the flags say takes the place of what was there.
An empty value takes it away. What the client has used stays.`,
	}
	return withFields(cmd, func(out io.Writer, id string, fields map[string]any) error {
		return c.do(out, http.MethodPatch, c.path(id, ""), fields, describe)
	})
}

// withFields completes a command that takes a client's id and, as flags, what
// is to be said of it.
func withFields(cmd *cobra.Command, run func(out io.Writer, id string, fields map[string]any) error) *cobra.Command {
	flags := addClientFlags(cmd)
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		fields, err := flags.changed(cmd)
		if err != nil {
			return err
		}
		return run(cmd.OutOrStdout(), args[0], fields)
	}
	return cmd
}

func (c *clients) rotateCommand() *cobra.Command {
	var keep string
	cmd := &cobra.Command{
		Use:   "rotate <id>",
		Short: "Gives a client a new key and shows it",
		Long: `Gives a client a new key and shows it, this once. The old one stays valid for a
while, so that the client has time to change over. With --keep 0 it ends at
once, and so do those of rotations before.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			length, err := caddy.ParseDuration(keep)
			if err != nil {
				return fmt.Errorf("--keep: not a duration such as 24h or 7d: %s", keep)
			}
			duration := caddy.Duration(length)
			return c.do(cmd.OutOrStdout(), http.MethodPost, c.path(args[0], "/rotate"), rotation{Keep: &duration}, tellSecret)
		},
	}
	cmd.Flags().StringVar(&keep, "keep", defaultKeep.String(), "how long the old key stays valid")
	return cmd
}
