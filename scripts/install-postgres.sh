#!/usr/bin/env bash
# Installs Debian's PostgreSQL, which the tests start for themselves on a free
# port. No cluster of the system's is made or started.
set -euo pipefail
if compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then
	exit 0
fi
command -v apt-get >/dev/null || { echo "PostgreSQL is missing, and this script knows only Debian's apt-get to install it" >&2; exit 1; }
echo "installing PostgreSQL"
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -q >/dev/null
apt-get install -y -q --no-install-recommends postgresql >/dev/null
ls /usr/lib/postgresql/*/bin/postgres
