// SPDX-License-Identifier: Apache-2.0

// Package llmproxy makes Caddy a gateway for LLM APIs. Importing it registers
// everything: the llm_proxy directive and handler, the llm transport, the
// llm_relay handler that calls it where no reverse_proxy does, the llm_auth
// directive and the llm provider of authentication, the llm_simulator handler,
// and the rate_limit handler of caddy-ratelimit, which goes in front. Only
// credentials for AWS and Azure are packages to be added, since they weigh too
// much for all the others.
//
// A request comes in through [handler], which knows the client. It goes out
// through [streaming], which knows the provider, with a key from [keypool].
package llmproxy

import (
	_ "github.com/mholt/caddy-ratelimit"

	_ "github.com/seed83435595/caddy-llm-proxy/caddyfile"
	_ "github.com/seed83435595/caddy-llm-proxy/credentials/google"
	_ "github.com/seed83435595/caddy-llm-proxy/credentials/oauth2"
	_ "github.com/seed83435595/caddy-llm-proxy/handler"
	_ "github.com/seed83435595/caddy-llm-proxy/handler/admin"
	_ "github.com/seed83435595/caddy-llm-proxy/handler/simulator"
	_ "github.com/seed83435595/caddy-llm-proxy/streaming"
	_ "github.com/seed83435595/caddy-llm-proxy/streaming/relay"
)
