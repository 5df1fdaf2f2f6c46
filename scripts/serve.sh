#!/usr/bin/env bash
# Set up, build and serve. Arguments go to `qwend serve`; without any the embedded demo model is served on
# http://127.0.0.1:8080.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

install_packages "${BUILD_PACKAGES[@]}"
build cpu-release qwend -DBUILD_TESTING=OFF
say "serving; try: curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}'"
exec build/cpu-release/server/qwend serve "$@"
