// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const managedClients = `{
	admin localhost:ADMIN
	persist_config off
	skip_install_trust
	debug
}
http://127.0.0.1:GATEWAY {
	log
	llm_proxy {
		clients STORE
		client app CLIENT
		group staff {
			limit requests 1000 day
		}
		OPTIONS
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
		provider other http://127.0.0.1:SIM {
			key sim-other
		}
		model gpt-4o openai other
		model elsewhere other
		probe off
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
		key sim-other
	}
}
`

func withStore(store, options string) string {
	return strings.NewReplacer("STORE", store, "OPTIONS", options).Replace(managedClients)
}

// client runs 'caddy llm client' for the gateway.
func (g *gateway) client(t *testing.T, args ...string) (string, error) {
	t.Helper()
	args = append(append([]string{"llm", "client"}, args...), "--address", strings.TrimPrefix(g.admin, "http://"))
	out, err := exec.Command(binary, args...).CombinedOutput()
	return string(out), err
}

// makeKey runs a command that makes a client a key, and returns that.
func (g *gateway) makeKey(t *testing.T, args ...string) string {
	t.Helper()
	out, err := g.client(t, append(args, "--json")...)
	var answer struct{ Secret string }
	if err != nil || json.Unmarshal([]byte(out), &answer) != nil || !strings.HasPrefix(answer.Secret, "clp-") {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return answer.Secret
}

// status is that of a call with a key.
func (g *gateway) status(t *testing.T, key string) int {
	t.Helper()
	res, _ := g.call(t, "127.0.0.1", key, "/v1/chat/completions", chatBody)
	return res.StatusCode
}

// awaitStatus waits until calls with a key get a status, for three seconds.
func (g *gateway) awaitStatus(t *testing.T, key string, status int) {
	t.Helper()
	got := 0
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = g.status(t, key); got == status {
			return
		}
	}
	t.Errorf("calls get %d, want %d", got, status)
}

// A client's life on the command line: it is added, gets a new key, is disabled
// and enabled, changed and removed. Each is in force at once, no key is ever
// shown again, and none gets into the log.
func TestManagedClients(t *testing.T) {
	g := start(t, withStore("storage", ""))
	shown := "" // all that is printed but the keys that are just made
	run := func(want string, args ...string) {
		t.Helper()
		out, err := g.client(t, args...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: %v, without %q:\n%s", args, err, want, out)
		}
		shown += out
	}
	check := func(key string, want int) {
		t.Helper()
		if got := g.status(t, key); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	key := g.makeKey(t, "add", "search", "--group", "staff", "--limit", "requests 100 day", "--metadata", "team=search")
	check(key, 200)
	run("search  active", "list")
	run("limit:      requests 1000 day, shared by group staff", "show", "search")
	run("metadata:   team search", "show", "search")
	run("requests 100 day", "show", "search")
	run("sha256:"+fingerprint(key)+"…", "show", "search", "--json")

	second := g.makeKey(t, "rotate", "search")
	check(key, 200)
	check(second, 200)
	run("until", "show", "search")
	third := g.makeKey(t, "rotate", "search", "--keep", "0")
	check(key, 401)
	check(second, 401)
	check(third, 200)

	run("search: disabled", "disable", "search")
	res, text := g.call(t, "127.0.0.1", third, "/v1/chat/completions", chatBody)
	if res.StatusCode != 401 || !strings.Contains(text, "disabled_api_key") || !strings.Contains(text, "is disabled") {
		t.Errorf("of a disabled client: %d %s", res.StatusCode, text)
	}
	run("disabled", "list")
	run("search: active", "enable", "search")
	check(third, 200)

	// What it has used stays, whatever changes.
	run("limit:", "change", "search", "--limit", "requests 6 day", "--provider", "other")
	res, _ = g.call(t, "127.0.0.1", third, "/v1/chat/completions", chatBody)
	if left := res.Header.Get("X-Ratelimit-Remaining-Requests"); res.StatusCode != 200 || left != "0" {
		t.Errorf("the sixth call: %d, with %q left", res.StatusCode, left)
	}
	check(third, 429)
	if g.asked(t)[fingerprint("sim-other")] != 1 {
		t.Errorf("the calls went to %v", g.asked(t))
	}

	run("search: removed", "remove", "search")
	check(third, 401)
	if out, err := g.client(t, "show", "search"); err == nil || !strings.Contains(out, "no managed client") {
		t.Errorf("of one that was removed: %v\n%s", err, out)
	}
	log := g.log.String()
	if !strings.Contains(log, `"llm_client_metadata":{"team":"search"}`) {
		t.Error("the log does not tell of the team")
	}
	for where, text := range map[string]string{"what is shown": shown, "the log": log} {
		for _, secret := range []string{key, second, third, hash(key), hash(third)} {
			if strings.Contains(text, secret) {
				t.Errorf("a secret shows in %s", where)
			}
		}
	}
}

// Errors of the admin API have the status that fits and say what is wrong, and
// leave everything as it was.
func TestManagedClientsAdminErrors(t *testing.T) {
	g := start(t, withStore("storage", ""))
	key := g.makeKey(t, "add", "one")
	free := hash("clp-another")
	for request, want := range map[string]struct {
		status int
		says   string
	}{
		`POST /llm/clients {"id":"one"}`:                                                   {409, "there is a client"},
		`POST /llm/clients {"id":"app"}`:                                                   {409, "the config has a client of this id"},
		`POST /llm/clients {"id":""}`:                                                      {400, "needs an id"},
		`POST /llm/clients {"id":"."}`:                                                     {400, "cannot have the id"},
		`POST /llm/clients {"id":".."}`:                                                    {400, "cannot have the id"},
		`POST /llm/clients {"id":"x","old_secrets":[null]}`:                                {400, "old_secrets"},
		`PATCH /llm/clients/one {"old_secrets":[null]}`:                                    {400, "old_secrets"},
		`PATCH /llm/clients/one {"Models":["m2"]}`:                                         {400, `unknown field \"Models\"`},
		`PATCH /llm/clients/one {"ID":"two"}`:                                              {400, `unknown field \"ID\"`},
		`PATCH /llm/clients/one {"models":["m2"]} more`:                                    {400, "something follows"},
		`POST /llm/clients {"id":"x","limit":[]}`:                                          {400, "unknown field"},
		`POST /llm/clients {"id":"x","limits":[{"kind":"money","amount":1}]}`:              {400, "limit money"},
		`POST /llm/clients {"id":"x","groups":["none"]}`:                                   {400, "no such group"},
		`POST /llm/clients {"id":"x","expires":"soon"}`:                                    {400, "expires"},
		`POST /llm/clients {"id":"x","expires":"2020-01-01"}`:                              {400, "expires: 2020-01-01 is over"},
		`POST /llm/clients {"id":"x","allow_ip":["10.0.0.0/99"]}`:                          {400, "allow_ip"},
		`POST /llm/clients {"id":"x","secrets":["clp-in-the-clear"]}`:                      {400, "sha256:"},
		`POST /llm/clients {"id":"x","secrets":["{env.PATH}"]}`:                            {400, "sha256:"},
		`POST /llm/clients {"id":"x","secrets":[]}`:                                        {400, "needs a secret"},
		`POST /llm/clients {"id":"x","secrets":["` + hash(clientKey) + `"]}`:               {400, "also that of client"},
		`POST /llm/clients {"id":"x","metadata":{"a b":"c"}}`:                              {400, "metadata"},
		`POST /llm/clients {"id":"x"`:                                                      {400, "reading the body"},
		`POST /llm/clients `:                                                               {400, "JSON object"},
		`POST /llm/clients {"id":"` + strings.Repeat("x", 70<<10) + `"}`:                   {400, "too large"},
		`PUT /llm/clients {}`:                                                              {405, "GET, POST"},
		`GET /llm/clients/none `:                                                           {404, "no managed client"},
		`GET /llm/clients/app `:                                                            {404, "no managed client"},
		`GET /llm/clients?store=redis `:                                                    {404, `there are \"storage\"`},
		`PATCH /llm/clients/none {"disabled":true}`:                                        {404, "no managed client"},
		`PATCH /llm/clients/one {"id":"two"}`:                                              {400, "cannot be changed"},
		`PATCH /llm/clients/one {"groups":["none"]}`:                                       {400, "no such group"},
		`PATCH /llm/clients/one []`:                                                        {400, "not a JSON object"},
		`DELETE /llm/clients/none `:                                                        {404, "no managed client"},
		`POST /llm/clients/none/rotate `:                                                   {404, "no managed client"},
		`POST /llm/clients/one/rotate {"keep":"-1h"}`:                                      {400, "negative"},
		`POST /llm/clients/one/rotate {"keep":"soon"}`:                                     {400, "reading the body"},
		`POST /llm/clients/one/sell `:                                                      {404, "unknown action"},
		`GET /llm/clients/one/disable `:                                                    {405, "POST"},
		`POST /llm/clients {"id":"y","old_secrets":[{"secret":"` + free + `"}]}`:           {400, "until"},
		`POST /llm/clients {"id":"z","secrets":["` + free + `","` + free + `"]}`:           {400, "given twice"},
		`POST /llm/clients {"id":"a\nb"}`:                                                  {400, "needs an id"},
		`POST /llm/clients {"id":"m","metadata":{"x":"` + strings.Repeat("y", 300) + `"}}`: {400, "256 bytes"},
	} {
		method, rest, _ := strings.Cut(request, " ")
		path, body, _ := strings.Cut(rest, " ")
		status, text := g.send(t, method, path, "application/json", body)
		if status != want.status || !strings.Contains(text, want.says) || !strings.Contains(text, `"error"`) {
			t.Errorf("%.100s: %d %s, want %d, %s", request, status, text, want.status, want.says)
		}
		if strings.Contains(text, "clp-in-the-clear") || strings.Contains(text, hash(clientKey)) {
			t.Errorf("%.100s: the answer shows a secret: %s", request, text)
		}
	}
	if _, text := g.send(t, "GET", "/llm/clients", "", ""); strings.Count(text, `"id"`) != 1 {
		t.Errorf("something was added: %s", text)
	}
	if status := g.status(t, key); status != 200 {
		t.Errorf("the client's key: %d", status)
	}
	// An id may have any character that can be printed.
	if status, text := g.send(t, "POST", "/llm/clients", "application/json", `{"id":"a/b ?é"}`); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	if out, err := g.client(t, "disable", "a/b ?é"); err != nil || !strings.Contains(out, "a/b ?é: disabled") {
		t.Errorf("%v %s", err, out)
	}
}

// What is shown of a client is what holds for it: also what its groups and the
// block say where it says nothing itself.
func TestManagedClientsAreShownAsTheyAreHeld(t *testing.T) {
	config := withStore("storage", "rate_limit user tokens 5000 day")
	config = strings.Replace(config, "limit requests 1000 day", "limit requests 1000 day\n\t\t\tlimit concurrent 4 each\n\t\t\tmodels gpt-*\n\t\t\tproviders openai", 1)
	g := start(t, config)
	check := func(want, not string, args ...string) {
		t.Helper()
		out, err := g.client(t, args...)
		if err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), want) || not != "" && strings.Contains(out, not) {
			t.Errorf("%v: %v, without %q, or with %q:\n%s", args, err, want, not, out)
		}
	}
	g.makeKey(t, "add", "grouped", "--group", "staff")
	g.makeKey(t, "add", "own", "--group", "staff", "--model", "elsewhere", "--limit", "concurrent 2")
	g.makeKey(t, "add", "free")
	check("grouped active gpt-* openai staff 3 never", "", "list")
	check("own active elsewhere openai staff 3 never", "", "list")
	check("free active all all - 1 never", "", "list")
	check("models: gpt-* providers: openai limit: concurrent 4 limit: tokens 5000 day limit: requests 1000 day, shared by group staff", "", "show", "grouped")
	check("models: elsewhere providers: openai limit: concurrent 2 limit: tokens 5000 day limit: requests 1000 day, shared by group staff", "concurrent 4", "show", "own")
	check("models: all providers: all limit: tokens 5000 day", "requests", "show", "free")
	check(`"group": "staff"`, "", "show", "grouped", "--json")
	check("models: gpt-4o", "gpt-*", "change", "grouped", "--model", "gpt-4o")
	if out, err := g.client(t, "add", "late", "--expires", "2020-01-01"); err == nil || !strings.Contains(out, "expires: 2020-01-01 is over") {
		t.Errorf("a client that could never call was added: %v %s", err, out)
	}
}

// A client whose providers do not serve a model is told so.
func TestProvidersOfAManagedClient(t *testing.T) {
	g := start(t, withStore("storage", ""))
	key := g.makeKey(t, "add", "one", "--provider", "open*")
	if status := g.status(t, key); status != 200 {
		t.Errorf("got %d", status)
	}
	res, text := g.call(t, "127.0.0.1", key, "/v1/chat/completions", strings.Replace(chatBody, "gpt-4o", "elsewhere", 1))
	if res.StatusCode != 403 || !strings.Contains(text, "provider_not_allowed") {
		t.Errorf("got %d %s", res.StatusCode, text)
	}
}

// A restart keeps the clients, and a reload does.
func TestManagedClientsOutliveARestart(t *testing.T) {
	data := "XDG_DATA_HOME=" + t.TempDir()
	g := start(t, withStore("storage", ""), data)
	key := g.makeKey(t, "add", "one")
	off := g.makeKey(t, "add", "two")
	if _, err := g.client(t, "disable", "two"); err != nil {
		t.Fatal(err)
	}
	g.reload(t, withStore("storage", "max_request_body 1MiB"))
	for round := range 2 {
		if on, off := g.status(t, key), g.status(t, off); on != 200 || off != 401 {
			t.Errorf("after start %d: %d and %d", round+1, on, off)
		}
		_ = g.process.Signal(os.Interrupt)
		<-g.exited
		g = start(t, withStore("storage", ""), data)
	}
}

// Clients that are managed are let in to any handler, also where there is no
// gateway beside it.
func TestManagedClientsOfAnyHandler(t *testing.T) {
	g := start(t, head+`http://127.0.0.1:GATEWAY {
	llm_auth {
		clients storage
		group staff
	}
	respond "{http.auth.user.id} of {http.auth.user.groups}"
}
`)
	key := g.makeKey(t, "add", "one", "--group", "staff")
	check := func(status int, want string) {
		t.Helper()
		if res, text := g.call(t, "127.0.0.1", key, "/", ""); res.StatusCode != status || !strings.Contains(text, want) {
			t.Errorf("got %d %s, want %d %s", res.StatusCode, text, status, want)
		}
	}
	check(200, "one of staff")
	if out, err := g.client(t, "disable", "one"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	check(401, "disabled_api_key")
	if out, err := g.client(t, "remove", "one"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	check(401, "invalid_api_key")
}
