#!/usr/bin/env bash
# See to it that the programs the tests start are there: a Redis server, nginx, Chromium.
# Nothing is skipped for want of them: what is missing gets installed where this user may install
# packages without being asked for a password; elsewhere this prints the command and fails.
set -euo pipefail

PATH=$PATH:/usr/sbin # where Debian has nginx, and only an administrator looks

missing=()
for program in redis-server nginx chromium; do # these are also the names of their Debian packages
    command -v "$program" >/dev/null || missing+=("$program")
done
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)

if command -v apt-get >/dev/null && { [ ${#sudo[@]} -eq 0 ] || sudo -n true 2>/dev/null; }; then
    install() {
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
    }
    echo "Installing for the tests: ${missing[*]}"
    # The package lists may be absent or old: fetch them only when it does not work without.
    install || { "${sudo[@]}" apt-get update --quiet && install; }
    # Debian starts services at once and at every boot; the tests start programs of their own.
    if [ -d /run/systemd/system ]; then
        for name in "${missing[@]}"; do
            [ "$name" = chromium ] || "${sudo[@]}" systemctl disable --now --quiet "$name"
        done
    fi
    exit
fi

echo "The tests need ${missing[*]}, not found on the PATH. On Debian and Ubuntu:" >&2
echo "    ${sudo[*]:+${sudo[*]} }apt-get update && ${sudo[*]:+${sudo[*]} }apt-get install -y ${missing[*]}" >&2
exit 1
