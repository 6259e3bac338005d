#!/usr/bin/env bash
# Which lines the tests run, of both languages: the lanes and the unit tests on CPython, the tests in Node, and in
# Chromium the scenarios and the JavaScript API. Tests that fail are told, and count with what they ran.
set -uo pipefail
cd "$(dirname "$0")/.."

export PYMAILBOX_COVERAGE=$PWD/build/coverage
rm -rf "$PYMAILBOX_COVERAGE"
mkdir -p "$PYMAILBOX_COVERAGE"

.venv/bin/coverage run -m pytest -q tests/lanes/test_cpython.py tests/unit
.venv/bin/python -m pytest -q tests/indexeddb/test_scenarios.py -k "chromium and page"
NODE_V8_COVERAGE=$PYMAILBOX_COVERAGE/node node --test --test-reporter=dot tests/js/*.test.js
npx playwright test --project="chromium js" --reporter=line

set -e
.venv/bin/python -m tools.coverage_report
node tools/coverage_report.mjs
