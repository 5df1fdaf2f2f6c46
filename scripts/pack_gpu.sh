#!/usr/bin/env bash
# Collect what scripts/gpu.sh needs on a GPU machine without this one's compilers and libraries: stripped programs, the
# shared libraries they load (less the C and C++ runtimes and CUDA's, which are there), and reference goldens. One file:
# build/gpu/pack.tar.gz, next to which gpu.sh unpacks it.
#   scripts/pack_gpu.sh [--build FOLDER] [--parts "qwend test_cuda bench_cuda_kernels"] [--goldens 'GLOB ...'] [--limit-mib N]
# Without --build the preset cuda-sm90 is built. The limit is for the pack and the tracked files together.
set -euo pipefail
cd "$(dirname "$0")/.."

build=
parts="qwend test_cuda bench_cuda_kernels"
data=${QWEND_REFERENCE_DATA:-../shared/data}
# All block formats once; the largest files are F16 models that smaller ones stand for.
goldens="*.json *hd128* *q4_k_m* *q8_0*"
limit=64
while [ $# -gt 0 ]; do
  case $1 in
    --build) build=$2 ;;
    --parts) parts=$2 ;;
    --goldens) goldens=$2 ;;
    --limit-mib) limit=$2 ;;
    *) sed -n '2,7p' "$0" >&2; exit 64 ;;
  esac
  shift 2
done

if [ -z "$build" ]; then
  . scripts/common.sh
  build=build/cuda-sm90
  # shellcheck disable=SC2086  # a list of words
  build cuda-sm90 "$parts"
fi

out=build/gpu
rm -rf "$out"
mkdir -p "$out/bin" "$out/lib" "$out/data/goldens"
for part in $parts; do
  program=$(find "$build/server" "$build/tests" "$build/bench" -maxdepth 1 -name "$part" -type f 2>/dev/null | head -1)
  [ -n "$program" ] || { echo "there is no $part in $build" >&2; exit 66; }
  strip -o "$out/bin/$part" "$program"
done

# Libraries by name and file, of all programs once.
runtime='linux-vdso|ld-linux|libc\.so|libm\.so|libdl\.so|librt\.so|libpthread\.so|libstdc\+\+|libgcc_s'
cuda='libcu|libnv'
ldd "$out"/bin/* | awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}' | sort -u | grep -Ev "^($runtime|$cuda)" |
  while read -r name file; do cp -L "$file" "$out/lib/$name"; done

read -ra patterns <<<"$goldens" # unlike a bare $goldens, matches nothing in this folder
for pattern in "${patterns[@]}"; do
  # shellcheck disable=SC2086  # the pattern is to match
  for file in "$data"/goldens/$pattern; do
    if [ -f "$file" ]; then cp -n "$file" "$out/data/goldens/"; fi
  done
done
# A reference names all variants of its model: here, those whose files came along.
python3 - "$out/data/goldens" <<'PYTHON'
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
for path in folder.glob("*.goldens.json"):
    reference = json.loads(path.read_text())
    packed = {f: v for f, v in reference["variants"].items() if (folder / f"{reference['model']}-{f}.gguf").exists()}
    path.unlink()
    if packed:
        path.write_text(json.dumps({**reference, "variants": packed}))
PYTHON
[ ${#patterns[@]} -eq 0 ] || [ -n "$(ls "$out/data/goldens")" ] || { echo "no golden in $data matches $goldens" >&2; exit 66; }
git describe --always --dirty --abbrev=12 --exclude='*' >"$out/COMMIT"

tar -C "$out" -czf build/pack.tar.gz bin lib data COMMIT
mv build/pack.tar.gz "$out/pack.tar.gz"
du -sh --apparent-size "$out"/bin/* "$out"/lib "$out"/data
(cd "$out" && rm -rf bin lib data COMMIT)
pack=$(stat -c %s "$out/pack.tar.gz")
tracked=$(git ls-files -z | xargs -0 stat -c %s 2>/dev/null | awk '{s += $1} END {print s}')
mib() { echo $((($1 + 1048575) >> 20)); }
echo "$out/pack.tar.gz: $(mib "$pack") MiB, with the tracked files $(mib $((pack + tracked))) of $limit MiB"
[ "$(mib $((pack + tracked)))" -le "$limit" ] || { echo "too large: leave out parts or goldens" >&2; exit 65; }
