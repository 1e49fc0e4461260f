#!/usr/bin/env bash
# Installs Debian's redis-server, which the tests start for themselves on free
# ports. No service is started.
set -euo pipefail
if command -v redis-server >/dev/null; then
	exit 0
fi
command -v apt-get >/dev/null || { echo "redis-server is missing, and this script knows only Debian's apt-get to install it" >&2; exit 1; }
echo "installing redis-server"
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -q >/dev/null
apt-get install -y -q --no-install-recommends redis-server >/dev/null
redis-server --version
