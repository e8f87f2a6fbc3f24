#!/bin/sh
# A Chromium for the browser tests: the machine's own, else Debian's package, else Playwright's.
# Usage: install-browser.sh PYTHON
set -eu
for name in chromium chromium-browser google-chrome; do
    if [ -n "${CHROMIUM:-}" ] || command -v "$name" >/dev/null; then exit 0; fi
done
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "Installing Chromium (Debian's package) ..."
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium \
        >/dev/null
    exit 0
fi
"$1" -m playwright install --with-deps chromium || "$1" -m playwright install chromium
