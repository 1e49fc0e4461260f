#!/usr/bin/env bash
# Builds a Caddy with xcaddy from the working tree, as xcaddy.json says, and
# checks that our modules are in it.
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
xcaddy_version=v0.4.5
caddy_version="$(sed -n 's/.*"caddy_version": "\(.*\)".*/\1/p' xcaddy.json)"
module="$(go list -m)"
out="$root/bin/caddy-xcaddy"
mkdir -p bin

if [ ! -x "bin/xcaddy-$xcaddy_version" ]; then
	echo "building xcaddy $xcaddy_version"
	tool="$(mktemp -d)"
	trap 'rm -rf "$tool"' EXIT
	(
		cd "$tool"
		go mod init xcaddy-tool
		go get "github.com/caddyserver/xcaddy/cmd/xcaddy@$xcaddy_version"
		go build -o "$root/bin/xcaddy-$xcaddy_version" github.com/caddyserver/xcaddy/cmd/xcaddy
	) >/dev/null 2>"$root/bin/xcaddy-tool.log" || { cat "$root/bin/xcaddy-tool.log" >&2; exit 1; }
fi

# A version is named, so that nothing asks for a list of them: the module is
# the one in this directory whatever it says.
echo "building Caddy $caddy_version with xcaddy"
XCADDY_SKIP_CLEANUP=0 "bin/xcaddy-$xcaddy_version" build "$caddy_version" --output "$out" \
	--with "$module@v0.0.0=$root" >bin/xcaddy.log 2>&1 || { tail -40 bin/xcaddy.log >&2; exit 1; }

modules="$("$out" list-modules)"
for id in $(sed -n '/"modules"/,/]/p' xcaddy.json | grep -o '"[a-z_.]*\.[a-z_.]*"' | tr -d '"'); do
	grep -qx "$id" <<<"$modules" || { echo "module $id is missing from the build" >&2; exit 1; }
	echo "found $id"
done
