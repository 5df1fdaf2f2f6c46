# Shared by serve.sh, test.sh and gpu.sh: finds CUDA, installs what is missing from the distribution's packages.
# shellcheck shell=bash

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

BUILD_PACKAGES=(g++ cmake ninja-build ccache pkg-config nlohmann-json3-dev libspdlog-dev
  libcli11-dev libpcre2-dev libutf8proc-dev libssl-dev)
TEST_PACKAGES=(catch2 libcpp-httplib-dev python3 python3-venv libopenblas0-pthread curl)

# install_packages NAME...: those that are not installed yet, with sudo when not root.
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if ! command -v apt-get >/dev/null; then
    echo "These packages are missing and there is no apt-get to install them: ${missing[*]}" >&2
    exit 69
  fi
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "Run as root, or install sudo, to install: ${missing[*]}" >&2; exit 69; }
    sudo=(sudo)
  fi
  say "installing ${missing[*]}"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# True where CUDA's compiler is installed; CMake then finds it too.
find_nvcc() {
  command -v nvcc >/dev/null && return
  [ -x /usr/local/cuda/bin/nvcc ] && export PATH=$PATH:/usr/local/cuda/bin
}
find_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

# build PRESET "TARGET..." [CMAKE ARGUMENT...]
build() {
  local preset=$1 targets=$2
  shift 2
  say "building ($preset)"
  cmake --preset "$preset" "$@" >/dev/null
  # shellcheck disable=SC2086  # targets is a list of words
  cmake --build --preset "$preset" --target $targets
}
