#!/usr/bin/env bash
# Make or renew a virtual environment: venv.sh FOLDER run|bench|dev|min [VERSION]
#   run: quart_sse and what it needs, in editable form
#   bench: that and what `make bench` compares with
#   dev: that of the first and every dependency group of people who change it
#   min: that of the first and the tests' group, with the oldest dependencies that pyproject.toml allows
# VERSION (3.12) picks the Python; without it find-python.sh chooses, which heeds $PYTHON.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
venv=$1
kind=$2
shift 2

# One that does not run is what remains of a Python that was removed, or of a first try cut short.
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    if ! python=$("$here/find-python.sh" "$@"); then
        if [ -n "${PYTHON:-}" ] && [ $# -eq 0 ]; then
            echo "PYTHON=$PYTHON does not run, or is older than Python 3.11." >&2
        else
            echo "No Python ${1:-3.11 or newer} was found. Install one, or name it: make ... PYTHON=/path/to/python3" >&2
        fi
        exit 1
    fi
    if ! version=$("$python" -c 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then
        # Debian keeps these two in a package of their own.
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        sudo=; [ "$(id -u)" = 0 ] || sudo="sudo "
        echo "$python cannot make virtual environments. On Debian and Ubuntu:" >&2
        echo "    ${sudo}apt-get update && ${sudo}apt-get install -y python$version-venv" >&2
        exit 1
    fi
    echo "Making $venv with Python $version ($python)"
    "$python" -m venv --clear "$venv"
fi

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# Dependency groups are read by pip 25.1 and newer; Python brings an older one.
[ "$kind" = run ] || pip install --quiet --upgrade "pip>=25.1"

case $kind in
    run) pip install --quiet --editable . ;;
    bench) pip install --quiet --editable . --group bench ;;
    dev) pip install --quiet --editable . --group dev ;;
    min)
        "$venv/bin/python" "$here/lowest.py" >"$venv/lowest.txt"
        pip install --quiet --editable . --group tests --constraint "$venv/lowest.txt"
        ;;
esac
