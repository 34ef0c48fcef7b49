#!/usr/bin/env bash
# Run the tests: test.sh [PYTEST ARGUMENT ...]
# Without arguments all run, most of those of browsers beside the others, since most of both is
# waiting; what they print comes last. A few browsers' files come behind the others, which end sooner.
# Fails if any does.
set -uo pipefail
set -m # or what runs in the background would ignore SIGINT, and so would the servers that tests start
cd "$(dirname "${BASH_SOURCE[0]}")/.."
pytest=(.venv/bin/python -m pytest)
chosen="not slow and not bench and not packages"

[ $# -eq 0 ] || exec "${pytest[@]}" "$@"

late="tests/browser/test_[t-z]*.py"
log=$(mktemp)
"${pytest[@]}" -m "browser and $chosen" --ignore-glob="$late" >"$log" 2>&1 &
browsers=$!
trap 'kill "$browsers" 2>/dev/null; rm -f "$log"' EXIT
failed=0
"${pytest[@]}" -m "not browser and $chosen" || failed=1
# shellcheck disable=SC2086 # it is a pattern
"${pytest[@]}" -m "browser and $chosen" $late || failed=1
wait "$browsers" || failed=1
cat "$log"
exit $failed
