#!/usr/bin/env bash
# Check and measure on a machine with a CUDA device. Stages, in this order when several are named (none: all):
#   tests     every test tagged [cuda], in groups that run side by side
#   sanitize  compute-sanitizer's four tools over the tests tagged [sanitize], likewise, each process with a limit
#   verify    `qwend verify` on each model: the device against the FP32 reference, op by op
#   kernels   bench_cuda_kernels: each kernel as a share of the device's limits
#   bench     `qwend bench` on each model: prefill and decode by batch, as shares of the device's limits
#   mixed     `qwend bench --mixed` on each model: prompts among decoding streams, and a context of 32,000
#   demo      the demo model over HTTP: its evaluation, and haikus
# Options:
#   --build FOLDER    programs of this build; default: build/gpu/pack.tar.gz (scripts/pack_gpu.sh) if it is there, else the
#                     preset cuda-release is built
#   --models "F ..."  GGUF files for verify and bench
#   --make "M:F ..."  or random-weight models of bench/make_model.py, e.g. "qwen2.5-0.5b:f16 qwen2.5-7b:q4_k_m", made in
#                     /dev/shm (needs numpy); default: "qwen2.5-0.5b:f16 qwen2.5-0.5b:q8_0 qwen2.5-0.5b:q4_k_m"
#   --bench "ARGS"    arguments of `qwend bench`
#   --mixed "ARGS"    the same for the stage mixed
#   --limit SECONDS   for each process of tests and sanitize; default: 300
#   --tests "TAGS"    a narrower choice for tests and sanitize, each in one process
#   --result FILE     JSON with device, driver, commit and every figure; stages of other runs of the commit are kept.
#                     default: bench/results/COMMIT-DEVICE.json
#   --logs FOLDER     default: build/gpu-logs
# Each stage fits a few minutes on its own; the last thing printed is a table. Exits 1 when a stage failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 70

stages=() build='' models='' make='' result='' logs=build/gpu-logs tests=''
mixed_args="-p 0 -n 0 -b 64 --ctx 960 --mixed 8192,32000 --repetitions 2" limit=300
bench_args="-p 512,2048 -n 128 -b 1,8,32,64,128,256 --ctx 960 --repetitions 3"
# A group is what has its tag and none of those before it; the last one is the rest. Those that take longest come first.
groups=(verify golden parity backend attention matmul_large sampler)
most_at_once=12
while [ $# -gt 0 ]; do
  case $1 in
    tests | sanitize | verify | kernels | bench | mixed | demo) stages+=("$1"); shift; continue ;;
    --build) build=$2 ;;
    --models) models=$2 ;;
    --make) make=$2 ;;
    --bench) bench_args=$2 ;;
    --mixed) mixed_args=$2 ;;
    --limit) limit=$2 ;;
    --tests) tests=$2 ;;
    --result) result=$2 ;;
    --logs) logs=$2 ;;
    *) sed -n '2,23p' "$0" >&2; exit 64 ;;
  esac
  shift 2
done
[ ${#stages[@]} -gt 0 ] || stages=(tests sanitize verify kernels bench mixed demo)
mkdir -p "$logs"
wanted() { [[ " ${stages[*]} " == *" $1 "* ]]; }

# ---- programs

pack=build/gpu/pack.tar.gz
if [ -z "$build" ] && [ -f $pack ]; then
  tar -C build/gpu -xzf $pack || exit 70
  build=build/gpu
  export QWEND_REFERENCE_DATA=${QWEND_REFERENCE_DATA:-$PWD/build/gpu/data} QWEND_SOURCE_DIR=$PWD
elif [ -z "$build" ]; then
  . scripts/common.sh
  install_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
  build cuda-release "qwend test_cuda bench_cuda_kernels" || exit 70
  build=build/cuda-release
fi
build=$(cd "$build" && pwd) || exit 66
# The programs' own commit: of a pack the one that was packed, whatever lies around it.
if [ -f "$build/COMMIT" ]; then
  commit=$(cat "$build/COMMIT")
else
  commit=$(git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null || echo unknown)
fi
# For our programs alone: Python keeps its own libraries.
libraries=${LD_LIBRARY_PATH:-}
for folder in /usr/local/cuda/targets/x86_64-linux/lib /usr/local/cuda/lib64 "$build/lib"; do
  if [ -d "$folder" ]; then libraries=$folder:$libraries; fi
done
ours=(env "LD_LIBRARY_PATH=$libraries")
program() { find "$build/bin" "$build/server" "$build/tests" "$build/bench" -maxdepth 1 -name "$1" -type f 2>/dev/null | head -1; }
qwend=$(program qwend) test_cuda=$(program test_cuda)
need() { [ -n "$1" ] || { echo "there is no $2 in $build" >&2; exit 66; }; }

# ---- result

device=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1)
[ -n "$device" ] || { echo "no CUDA device: nvidia-smi shows none" >&2; exit 69; }
slug=$(tr -c 'A-Za-z0-9\n' - <<<"${device,,}")
result=${result:-bench/results/$commit-$slug.json}
record() { python3 scripts/gpu_result.py "$result" "$@"; }
record start --commit "$commit" || exit 70
failures=0
# stage_done NAME LOG EXIT SECONDS KIND...: what the log says, under NAME.
stage_done() { record add "$1" --log "$2" --exit "$3" --seconds "$4" --kind "$5" || failures=$((failures + 1)); }
log_of() { echo "$logs/${1//\//-}.log"; } # of a stage
# timed NAME KIND COMMAND...: runs it with its output in a log of that name.
timed() {
  local name=$1 kind=$2 start=$SECONDS log code
  log=$(log_of "$1")
  shift 2
  echo "== $name: $*" >&2
  "$@" >"$log" 2>"$log.err"
  code=$?
  [ $code -eq 0 ] || tail -q -n 20 "$log" "$log.err" >&2
  stage_done "$name" "$log" $code $((SECONDS - start)) "$kind"
}

# ---- stages

# in_background NAME COMMAND...: leaves the log, its exit status and its seconds behind, since the record is written by one
# process. At most so many at once.
in_background() {
  local log
  log=$(log_of "$1")
  echo "== $1" >&2
  shift
  while [ "$(jobs -rp | wc -l)" -ge $most_at_once ]; do wait -n; done
  (
    start=$SECONDS
    "$@" >"$log" 2>"$log.err"
    echo "$? $((SECONDS - start))" >"$log.exit"
  ) &
}
# wait_for KIND NAME...: records what they left.
wait_for() {
  local kind=$1 name log code took
  shift
  wait
  for name in "$@"; do
    log=$(log_of "$name")
    read -r code took <"$log.exit"
    [ "$code" -eq 0 ] || tail -q -n 20 "$log" "$log.err" >&2
    stage_done "$name" "$log" "$code" "$took" "$kind"
  done
}
# for_groups TAG FUNCTION: FUNCTION NAME SPECIFICATION for each group of tests with this tag, or once for --tests.
for_groups() {
  local tag=$1 group before=''
  if [ -n "$tests" ]; then "$2" chosen "$tests"; return; fi
  for group in "${groups[@]}"; do
    "$2" "$group" "[$tag][$group]$before"
    before+="~[$group]"
  done
  "$2" rest "[$tag]$before"
}
holds_tests() { [ -n "$("${ours[@]}" "$test_cuda" "$1" --list-test-names-only 2>/dev/null)" ]; }

if wanted tests; then
  need "$test_cuda" test_cuda
  names=()
  run_group() {
    names+=("tests/$1")
    in_background "tests/$1" timeout "$limit" "${ours[@]}" "$test_cuda" "$2" --use-colour no -d yes
  }
  for_groups cuda run_group
  wait_for catch2 "${names[@]}"
fi

if wanted sanitize; then
  need "$test_cuda" test_cuda
  sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  names=()
  sanitize_group() {
    holds_tests "$2" || return 0
    for tool in initcheck racecheck memcheck synccheck; do
      local environment=()
      # Racecheck takes what several lanes of a warp ask for at once for one lane's: decode_program.h.
      [ $tool != racecheck ] || environment=(QWEND_RACECHECK=1)
      names+=("sanitize/$tool-$1")
      in_background "sanitize/$tool-$1" env "${environment[@]}" timeout "$limit" "${ours[@]}" "$sanitizer" --tool $tool \
        --error-exitcode 86 "$test_cuda" "$2" --use-colour no -d yes
    done
  }
  for_groups sanitize sanitize_group
  wait_for sanitizer "${names[@]}"
fi

if wanted kernels; then
  bench_kernels=$(program bench_cuda_kernels)
  need "$bench_kernels" bench_cuda_kernels
  timed kernels text "${ours[@]}" "$bench_kernels"
fi

if { wanted verify || wanted bench || wanted mixed; } && [ -z "$models" ]; then
  for name in ${make:-qwen2.5-0.5b:f16 qwen2.5-0.5b:q8_0 qwen2.5-0.5b:q4_k_m}; do
    file=/dev/shm/${name/:/-}.gguf
    [ -f "$file" ] || python3 bench/make_model.py "${name%:*}" "${name#*:}" "$file" || exit 70
    models+=" $file"
  done
fi

if wanted verify; then
  need "$qwend" qwend
  timed verify/demo verify "${ours[@]}" "$qwend" verify --device cuda --json
  for model in $models; do
    timed "verify/$(basename "$model" .gguf)" verify "${ours[@]}" "$qwend" verify --model "$model" --device cuda --json
  done
fi

if wanted bench; then
  need "$qwend" qwend
  for model in $models; do
    # shellcheck disable=SC2086  # arguments are words
    timed "bench/$(basename "$model" .gguf)" json "${ours[@]}" "$qwend" bench --model "$model" --device cuda --json $bench_args
  done
fi

if wanted mixed; then
  need "$qwend" qwend
  for model in $models; do
    # shellcheck disable=SC2086  # arguments are words
    timed "mixed/$(basename "$model" .gguf)" json "${ours[@]}" "$qwend" bench --model "$model" --device cuda --json $mixed_args
    # shellcheck disable=SC2086
    timed "context/$(basename "$model" .gguf)" json "${ours[@]}" "$qwend" bench --model "$model" --device cuda --json \
      -p 32000 -n 32 -b 1 --ctx 32000 --repetitions 1
  done
fi

if wanted demo; then
  need "$qwend" qwend
  "${ours[@]}" "$qwend" serve --device cuda --port 0 >"$logs/serve.log" 2>"$logs/serve.log.err" &
  server=$!
  for _ in $(seq 600); do
    url=$(sed -n 's/^listening on //p' "$logs/serve.log")
    [ -n "$url" ] || ! kill -0 $server 2>/dev/null && break
    sleep 0.1
  done
  if [ -n "$url" ]; then
    timed demo/eval eval python3 demo/eval.py --url "$url/v1" --at-least 0.9
    timed demo/haiku text python3 tests/clients/haiku.py --url "$url"
    timed demo/streams text python3 tests/load/streams.py --url "$url" --pid "$server" --streams 64 --seconds 10 --min-ratio 2
    kill $server
    wait $server
    stage_done demo/exit "$logs/serve.log.err" $? 0 text
  else
    cat "$logs/serve.log.err" >&2
    stage_done demo/serve "$logs/serve.log.err" 1 0 text
  fi
fi

record table
echo "$result"
[ $failures -eq 0 ]
