#!/usr/bin/env bash
# Installs the browsers that the tests drive, and fails with the command to run for each one that cannot be installed.
# On Debian as root they come from apt; elsewhere they are Playwright's and selenium's own downloads.
set -euo pipefail
packages=(chromium chromium-driver firefox-esr webkit2gtk-driver xvfb)

is_installed() {
    dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed
}

missing=()
for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
done

if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && grep -qsx 'ID=debian' /etc/os-release; then
        apt-get update
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
    elif ! node tools/browsers.mjs --quiet; then
        # What fails here is named by the check below, with the command that gets it.
        npx playwright install chromium firefox webkit || true
    fi
fi

node tools/browsers.mjs
.venv/bin/python -m tools.browsers
