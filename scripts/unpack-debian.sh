#!/usr/bin/env bash
# Unpacks a package of Debian into bin/<package>, unless the program that is
# wanted of it is there already. It is not installed: no service starts, and
# nothing outside bin changes.
#
#	scripts/unpack-debian.sh <package> <path of the program in it>
set -euo pipefail
cd "$(dirname "$0")/.."
package="$1" program="bin/$1/$2"
if [ -x "$program" ]; then
	exit 0
fi
for tool in apt-get dpkg-deb; do
	command -v "$tool" >/dev/null || { echo "$tool is missing: this script is for Debian and its kin" >&2; exit 1; }
done
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
echo "unpacking Debian's $package into bin/$package"
fetch() { (cd "$work" && apt-get -o APT::Sandbox::User=root download "$package" >/dev/null); }
fetch || { apt-get update -q >/dev/null && fetch; }
mkdir -p "bin/$package"
dpkg-deb -x "$work"/*.deb "bin/$package"
[ -x "$program" ] || { echo "Debian's $package has no $2" >&2; exit 1; }
