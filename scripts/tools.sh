#!/usr/bin/env bash
# See to it that the programs the tests start are there: a Redis server, nginx, HAProxy, Caddy,
# Prometheus, and the browsers Chromium, Firefox and WebKit. With the argument "proxies" also those that
# `make proxies` measures besides.
# Nothing is skipped for want of them: what is missing gets installed where this user may install
# packages without being asked for a password; elsewhere this prints the command and fails.
set -euo pipefail

PATH=$PATH:/usr/sbin # where Debian has nginx, and only an administrator looks

need() { # PACKAGE of Debian, and its PROGRAM if that has another name
    command -v "${2:-$1}" >/dev/null || missing+=("$1")
}
missing=()
need redis-server
need nginx
need haproxy
need caddy
need prometheus
need chromium
need firefox-esr
need webkit2gtk-driver WebKitWebDriver
need xvfb Xvfb
if [ "${1:-}" = proxies ]; then
    need apache2
    need varnish varnishd
    need lighttpd
    need squid
    need nghttp2-proxy nghttpx
fi
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)

if command -v apt-get >/dev/null && { [ ${#sudo[@]} -eq 0 ] || sudo -n true 2>/dev/null; }; then
    apt() {
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --quiet "$@"
    }
    # The lists come first, not only when installing fails without them: old lists install old
    # programs, such as a browser with bugs that are fixed since. apt-get calls a network that is
    # away a warning; the option makes it an error.
    echo "Fetching the package lists"
    if apt update -o APT::Update::Error-Mode=any; then
        lists=fresh
    else
        lists=old
        echo "The package lists could not be fetched: is there no network? Trying with those that are here." >&2
    fi
    echo "Installing for the tests: ${missing[*]}"
    if ! apt install --yes --no-install-recommends "${missing[@]}"; then
        echo "${missing[*]} could not be installed, and the tests need them." >&2
        [ $lists = fresh ] || echo "Connect to the network, or install them by hand, and run this again." >&2
        exit 1
    fi
    # Debian starts services at once and at every boot; the tests start programs of their own.
    if [ -d /run/systemd/system ]; then
        for name in "${missing[@]}"; do
            case $name in
                redis-server | nginx | haproxy | caddy | prometheus | apache2 | varnish | lighttpd | squid) "${sudo[@]}" systemctl disable --now --quiet "$name" ;;
            esac
        done
    fi
    exit
fi

echo "The tests need ${missing[*]}, not found on the PATH. On Debian and Ubuntu:" >&2
echo "    ${sudo[*]:+${sudo[*]} }apt-get update && ${sudo[*]:+${sudo[*]} }apt-get install -y ${missing[*]}" >&2
exit 1
