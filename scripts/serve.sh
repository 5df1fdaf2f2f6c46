#!/usr/bin/env bash
# Set up, build and serve. Arguments go to `qwend serve`; without any the embedded demo model is served on
# http://127.0.0.1:8080. Where a GPU and CUDA's compiler are there, the build is for that GPU, and it is used.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

install_packages "${BUILD_PACKAGES[@]}"
if find_nvcc && find_gpu; then
  preset=cuda-release
  build $preset qwend -DBUILD_TESTING=OFF -DCMAKE_CUDA_ARCHITECTURES=native
else
  preset=cpu-release
  build $preset qwend -DBUILD_TESTING=OFF
fi
say "serving; try: curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}'"
exec build/$preset/server/qwend serve "$@"
