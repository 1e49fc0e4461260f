// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

// pool is a provider's pool as operators see it.
type pool struct {
	Provider string   `json:"provider"`
	API      string   `json:"api"`
	BaseURL  string   `json:"base_url"`
	Keys     []key    `json:"keys"`
	Upstream upstream `json:"upstream"`
}

// rest says until when something rests, and why.
type rest struct {
	Until time.Time `json:"until,omitzero"`
	Class string    `json:"class,omitempty"`
}

// health is what is known of how attempts have gone.
type health struct {
	Attempts            uint64    `json:"attempts"`
	Successes           uint64    `json:"successes"`
	Errors              uint64    `json:"errors"`
	SuccessRate         float64   `json:"success_rate"`
	ConsecutiveFailures int       `json:"consecutive_failures"`
	LastSuccess         time.Time `json:"last_success,omitzero"`
	LastError           time.Time `json:"last_error,omitzero"`
	LastErrorClass      string    `json:"last_error_class,omitempty"`
	LatencyMS           float64   `json:"latency_ms"`
	FirstTokenMS        float64   `json:"first_token_ms"`
}

func healthOf(s keypool.HealthStatus) health {
	return health{
		Attempts:            s.Total,
		Successes:           s.Successes,
		Errors:              s.Errors,
		SuccessRate:         s.SuccessRate,
		ConsecutiveFailures: s.ConsecutiveFailures,
		LastSuccess:         s.LastSuccess,
		LastError:           s.LastError,
		LastErrorClass:      word(s.LastErrorClass),
		LatencyMS:           milliseconds(s.Latency),
		FirstTokenMS:        milliseconds(s.FirstToken),
	}
}

// key is a key, known by its id alone. What its provider rests from keeps it
// from being used as well.
type key struct {
	ID                    string          `json:"id"`
	State                 string          `json:"state"`
	Available             bool            `json:"available"`
	InFlight              int             `json:"in_flight"`
	Resting               rest            `json:"resting,omitzero"`
	RestingModels         map[string]rest `json:"resting_models,omitempty"`
	ProviderResting       rest            `json:"provider_resting,omitzero"`
	ProviderRestingModels map[string]rest `json:"provider_resting_models,omitempty"`
	health
}

// upstream is a provider's servers.
type upstream struct {
	Available bool      `json:"available"`
	InFlight  int       `json:"in_flight"`
	Circuits  []circuit `json:"circuits,omitempty"`
	health
}

// circuit is the breaker of a model, or of the upstream as a whole.
type circuit struct {
	Model       string    `json:"model,omitempty"`
	State       string    `json:"state"`
	LastFailure time.Time `json:"last_failure,omitzero"`
	rest
}

// actions are what can be done to a key.
var actions = map[string]func(*keypool.Pool, string) bool{
	"enable":  (*keypool.Pool).Enable,
	"disable": (*keypool.Pool).Disable,
	"reset":   (*keypool.Pool).Reset,
}

func poolRoutes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		route(http.MethodGet, "/llm/pools", listPools),
		route(http.MethodPost, "/llm/pools/{provider}/keys/{key}/{action}", operateKey),
	}
}

func listPools(*http.Request) (any, error) {
	pools := []pool{}
	for _, status := range streaming.Pools() {
		pools = append(pools, poolOf(status))
	}
	return pools, nil
}

// operateKey does something to a key, and answers with how it stands then.
func operateKey(r *http.Request) (any, error) {
	provider, id, action := r.PathValue("provider"), r.PathValue("key"), r.PathValue("action")
	do := actions[action]
	if do == nil {
		return nil, notFound(fmt.Sprintf("unknown action %q; a key can be enabled, disabled and reset", action))
	}
	if !streaming.OperateKey(provider, id, do) {
		return nil, notFound(fmt.Sprintf("provider %q has no key %q; GET /llm/pools lists them", provider, id))
	}
	for _, status := range streaming.Pools() {
		for _, k := range status.Keys {
			if status.Provider == provider && k.ID == id {
				return keyOf(k, status.Upstream), nil
			}
		}
	}
	return nil, notFound("the config with this key has just ended")
}

func poolOf(status streaming.PoolStatus) pool {
	p := pool{Provider: status.Provider, API: status.API, BaseURL: status.BaseURL, Keys: []key{}, Upstream: upstreamOf(status.Upstream)}
	for _, k := range status.Keys {
		p.Keys = append(p.Keys, keyOf(k, status.Upstream))
	}
	return p
}

func keyOf(s keypool.KeyStatus, at keypool.UpstreamStatus) key {
	k := key{
		ID: s.ID, State: s.State, Available: s.Available() && at.Available(), InFlight: s.InFlight,
		Resting: restOf(s.CoolingUntil, s.CoolingClass),
		health:  healthOf(s.HealthStatus),
	}
	for model, m := range s.CoolingModels {
		if k.RestingModels == nil {
			k.RestingModels = map[string]rest{}
		}
		k.RestingModels[model] = restOf(m.Until, m.Class)
	}
	for _, c := range at.Circuits {
		switch {
		case c.Until.IsZero():
		case c.Model == "":
			k.ProviderResting = restOf(c.Until, c.Class)
		default:
			if k.ProviderRestingModels == nil {
				k.ProviderRestingModels = map[string]rest{}
			}
			k.ProviderRestingModels[c.Model] = restOf(c.Until, c.Class)
		}
	}
	return k
}

func upstreamOf(s keypool.UpstreamStatus) upstream {
	u := upstream{Available: s.Available(), InFlight: s.InFlight, health: healthOf(s.HealthStatus)}
	for _, c := range s.Circuits {
		u.Circuits = append(u.Circuits, circuit{Model: c.Model, State: c.State, LastFailure: c.LastFailure, rest: restOf(c.Until, c.Class)})
	}
	return u
}

func restOf(until time.Time, class keypool.Class) rest {
	return rest{Until: until, Class: word(class)}
}

// word returns a class's name, or nothing where nothing is wrong.
func word(class keypool.Class) string {
	if class == keypool.ClassOK {
		return ""
	}
	return class.String()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
