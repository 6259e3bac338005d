#!/usr/bin/env bash
# Resolves requirements/*.in into requirements/*.txt with hashes, and package.json into package-lock.json.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check uv

resolve() { # PYTHON_VERSION NAME [PLATFORM, else all]
    "$tools/bin/uv" pip compile --quiet "${3:---universal}" --upgrade --generate-hashes --python-version "$1" \
        --no-header --no-annotate --no-emit-index-url "requirements/$2.in" --output-file "requirements/$2.txt"
}

# The oldest Python that is supported; then Pyodide's.
resolve 3.11 build
resolve 3.11 dev
resolve 3.11 demo
resolve 3.14 pyodide-demo
resolve 3.14 pyodide-tests
resolve 3.11 bench
resolve 3.11 examples
# In Pyodide itself, since IPython needs other packages elsewhere.
resolve 3.14 pyodide-examples --python-platform=wasm32-pyodide2024
npm install --package-lock-only
