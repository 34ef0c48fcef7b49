#!/usr/bin/env bash
# Make static/quart-sse.min.js of static/quart-sse.js. Needs npx, which comes with npm.
# The last line says which source it was made of; the suite compares.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../static"

npx --yes terser@5.44.0 quart-sse.js --compress passes=3,unsafe_arrows=true,ecma=2020 \
    --mangle --toplevel --output quart-sse.min.js
printf '\n//%s\n' "$(sha256sum quart-sse.js | cut -c1-12)" >> quart-sse.min.js
gzip -9c quart-sse.min.js | wc -c
