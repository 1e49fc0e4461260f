#!/usr/bin/env bash
# Unpacks Debian's nginx into bin/nginx, for the benchmark to compare with. It
# is not installed: no service starts, and nothing outside bin changes.
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in apt-get dpkg-deb; do
	command -v "$tool" >/dev/null || { echo "$tool is missing: this script is for Debian and its kin" >&2; exit 1; }
done
if [ -x bin/nginx/usr/sbin/nginx ]; then
	exit 0
fi
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
echo "unpacking Debian's nginx into bin/nginx"
(cd "$work" && apt-get download nginx >/dev/null)
mkdir -p bin/nginx
dpkg-deb -x "$work"/nginx_*.deb bin/nginx
bin/nginx/usr/sbin/nginx -v
