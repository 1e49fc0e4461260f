#!/usr/bin/env bash
# Installs the SDKs that the end-to-end tests use: those for JavaScript as
# pinned in e2e/sdk/package-lock.json, those for Go as in e2e/gosdk/go.sum.
set -euo pipefail
cd "$(dirname "$0")/../e2e/sdk"
for tool in node npm; do
	command -v "$tool" >/dev/null || { echo "the end-to-end tests need $tool: install Node.js 20 or later" >&2; exit 1; }
done
echo "building the tests with the OpenAI and Anthropic SDKs for Go"
(cd ../gosdk && "${GO:-go}" test -run '^$' . >/dev/null)
if [ node_modules/.package-lock.json -nt package-lock.json ]; then
	exit 0
fi
echo "installing the OpenAI, Anthropic and Gemini SDKs into e2e/sdk/node_modules"
npm ci --ignore-scripts --no-audit --no-fund
touch node_modules/.package-lock.json
