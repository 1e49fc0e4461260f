#!/usr/bin/env bash
# Fetches Debian's promtool into bin/prometheus, for the tests of the alert
# rules.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/unpack-debian.sh prometheus usr/bin/promtool
