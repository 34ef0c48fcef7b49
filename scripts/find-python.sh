#!/usr/bin/env bash
# Print the path of a Python that runs: find-python.sh [3.12]
# Without a version: $PYTHON where it is set, else the first of python3.11, 3.12, 3.13 and python3
# that is 3.11 or newer. Exits with 1, and says nothing, when there is none.
set -euo pipefail

# A version manager's shim stands on the PATH and fails when asked for a version that is not
# switched on, so the only proof that a Python is there is that it runs.
runs() { # runs COMMAND VERSION: "3.12" is that one only, "" any from 3.11
    "$1" - "$2" 2>/dev/null <<'PYTHON'
import sys
wanted, have = sys.argv[1], sys.version_info
if have < (3, 11) or (wanted and wanted != "%d.%d" % have[:2]):
    sys.exit(1)
print(sys.executable)
PYTHON
}

candidates() { # candidates VERSION: one path a line, best first
    type -ap "python$1" || true
    # Where pyenv keeps what it installed, whether or not it is switched on.
    printf '%s\n' "$HOME/.pyenv/versions/$1".*/bin/"python$1" | sort -rV
}

find_version() {
    local path
    while read -r path; do
        runs "$path" "$1" && return
    done < <(candidates "$1")
    return 1
}

if [ $# -gt 0 ]; then
    find_version "$1"
elif [ -n "${PYTHON:-}" ]; then
    runs "$PYTHON" ""
else
    find_version 3.11 || find_version 3.12 || find_version 3.13 || runs python3 ""
fi
