#!/usr/bin/env bash
# Makes the virtual environment .venv, installing what a bare Debian lacks for that.
# Usage: tools/setup_venv.sh PYTHON
set -euo pipefail
python=$1

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "pymailbox needs Python 3.11 or later, and $("$python" --version) was found: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi

# Debian's python3 has the venv module, but not the ensurepip that fills it.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv
    else
        echo "Python's venv module is incomplete here; this installs it: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi

"$python" -m venv --clear .venv
