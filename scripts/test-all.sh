#!/usr/bin/env bash
# Run the tests on every supported Python that is on this machine, each in a virtual environment of
# its own: test-all.sh [PYTEST ARGUMENT ...]. PYTHONS names others.
# All of them run even when one fails; fails if any did, or if there was none.
set -uo pipefail
here=$(dirname "${BASH_SOURCE[0]}")

report=()
failed=0
tested=0
for version in ${PYTHONS:-3.11 3.12 3.13}; do
    if ! "$here/find-python.sh" "$version" >/dev/null; then
        report+=("Python $version: not found")
        continue
    fi
    tested=$((tested + 1))
    echo "== Python $version"
    if make --no-print-directory ".venv-$version/.stamp-dev" &&
        ".venv-$version/bin/python" -m pytest "$@"; then
        report+=("Python $version: passed")
    else
        report+=("Python $version: FAILED")
        failed=1
    fi
done

printf '%s\n' "${report[@]}"
[ $failed -eq 0 ] && [ $tested -gt 0 ]
