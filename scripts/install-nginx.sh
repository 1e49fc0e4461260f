#!/usr/bin/env bash
# Fetches Debian's nginx into bin/nginx, for the benchmark to compare with.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/unpack-debian.sh nginx usr/sbin/nginx
bin/nginx/usr/sbin/nginx -v
