#!/usr/bin/env bash
# Make the minified scripts of static/ of their sources, with terser from node_modules, and compressed
# copies of all files.
# The last line of each says which source it was made of; the suite compares.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Names of properties that never leave the scripts, nor come from the server; so none of the stream's
# fields, such as "key" and "token". The option builtins=true shortens those as well that some object
# of the browser has, such as "url".
private='url|isAsked|shareKey|count|position|admitted|mark|lost|spec|post|leave|failures|missed|isStopped|stream'

for script in static/quart-sse \
    static/quart-sse-{head,htmx,list,morph,notifications,off,personal,refused,reload,seen,sent,shadow,stream,update}; do
    scripts/node.sh terser "$script.js" --compress passes=3,unsafe_arrows=true,ecma=2020 \
        --mangle --mangle-props "builtins=true,regex=/^($private)\$/" --output "$script.min.js"
    printf '\n//%s\n' "$(sha256sum "$script.js" | cut -c1-8)" >> "$script.min.js"
    echo "$script.min.js: $(gzip -9 < "$script.min.js" | wc -c) bytes gzipped"
done
scripts/node.sh node scripts/compress.mjs static/*.{min.js,css} static/vendor/*.min.js
