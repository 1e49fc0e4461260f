// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
)

func hashKeyCommand() *cobra.Command {
	var generate bool
	cmd := &cobra.Command{
		Use:   "hash-key",
		Short: "Prints the hash of a client's key, for the 'client' option of llm_proxy",
		Long: `Reads a client's key from the first line of standard input and prints its
hash, which is what a config holds:

	client app sha256:<hash>

With --generate it makes a new key and prints that too. The key is shown this
once: give it to the client, and keep only the hash.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return errors.New("the key is read from standard input, so that it stays out of the shell's history: try 'caddy llm hash-key < key.txt', or --generate to make one")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			if generate {
				secret := auth.NewSecret()
				fmt.Fprintf(out, "key:  %s\nhash: %s\n", secret, auth.HashSecret(secret))
				return nil
			}
			secret, err := readSecret(cmd.InOrStdin())
			if err != nil {
				return err
			}
			fmt.Fprintln(out, auth.HashSecret(secret))
			return nil
		},
	}
	cmd.Flags().BoolVarP(&generate, "generate", "g", false, "make a new key")
	return cmd
}

func readSecret(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 64<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the key: %w", err)
	}
	secret := strings.TrimSpace(line)
	if secret == "" {
		return "", errors.New("no key on standard input: try 'caddy llm hash-key < key.txt', or --generate to make one")
	}
	return secret, nil
}
