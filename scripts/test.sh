#!/usr/bin/env bash
# Set up, build and run the whole test suite: C++ tests by level, then real clients against the built server. Where CUDA's
# compiler is there, the build has the CUDA backend too; its tests say that they are skipped where no GPU is
# (scripts/gpu.sh runs them, and more, where one is).
#   scripts/test.sh              everything
#   scripts/test.sh --sanitize   the engine and server tests once more under ASan/UBSan and TSan
#   scripts/test.sh --clients    also LlamaIndex and lm-evaluation-harness (about 1 GB of packages)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

sanitize=false
clients=false
for argument in "$@"; do
  case $argument in
    --sanitize) sanitize=true ;;
    --clients) clients=true ;;
    *) echo "usage: scripts/test.sh [--sanitize] [--clients]" >&2; exit 64 ;;
  esac
done

install_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
# install_clients FOLDER FILE...: a virtual environment with these requirements and constraints, unless it is up to date.
install_clients() {
  local venv=$1 requirements arguments=() stale=false
  shift
  for requirements in "$@"; do
    case $requirements in
      *constraints.txt) arguments+=(-c "$requirements") ;;
      *) arguments+=(-r "$requirements") ;;
    esac
    if [ "$requirements" -nt "$venv/.installed" ]; then stale=true; fi
  done
  if [ -x "$venv/bin/pytest" ] && ! $stale; then return; fi
  say "installing the test clients"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check "${arguments[@]}"
  touch "$venv/.installed"
}
venv=$PWD/build/venv
install_clients "$venv" tests/clients/requirements.txt tests/clients/constraints.txt
preset=cpu-release
if find_nvcc; then preset=cuda-check; fi
# The chat templates are compared with Jinja's rendering by the interpreter that has it.
build $preset all -DBUILD_TESTING=ON "-DPython3_EXECUTABLE=$venv/bin/python"
say "C++ tests"
ctest --test-dir build/$preset --output-on-failure

say "client tests"
QWEND_BINARY=$PWD/build/$preset/server/qwend "$venv/bin/pytest" -q --ignore tests/clients/extra tests/clients demo
if $clients; then
  install_clients "$venv-extra" tests/clients/extra/requirements.txt tests/clients/requirements.txt
  say "heavy client tests"
  QWEND_BINARY=$PWD/build/$preset/server/qwend "$venv-extra/bin/pytest" -q tests/clients/extra
fi

if $sanitize; then
  for sanitizer in asan-ubsan tsan; do
    build $sanitizer "test_engine test_server test_unit"
    say "engine and server tests under $sanitizer"
    ctest --test-dir build/$sanitizer --output-on-failure -R '^(engine|server|unit)$'
  done
fi
say "all tests passed"
