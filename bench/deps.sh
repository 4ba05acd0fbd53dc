#!/bin/sh
# Installs what the measurement needs and this machine lacks, or says what is
# missing: the proxies Doorward stands beside, and what loads them.
set -e

# tool:package that brings it
tools="nginx:nginx-light haproxy:haproxy wrk:wrk taskset:util-linux"

lacking() {
	for entry in $tools; do
		command -v "${entry%%:*}" >/dev/null 2>&1 || printf ' %s' "${entry##*:}"
	done
}

missing=$(lacking)
[ -n "$missing" ] || exit 0
sudo=
[ "$(id -u)" = 0 ] || sudo="sudo -n"
if command -v apt-get >/dev/null 2>&1; then
	echo "installing:$missing"
	$sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing || true
fi
missing=$(lacking)
if [ -n "$missing" ]; then
	echo "make bench needs these Debian packages, and they could not be installed:$missing" >&2
	exit 1
fi
