// SPDX-License-Identifier: Apache-2.0

// Command caddy is Caddy with caddy-llm-proxy built in.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/seed83435595/caddy-llm-proxy"
)

func main() {
	caddycmd.Main()
}
