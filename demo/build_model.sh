#!/bin/sh
# From nothing to the GGUF file and its evaluation, on a machine with one GPU: sh build_model.sh [minutes of training] [folder for the results]
set -e
cd "$(dirname "$0")"
minutes=${1:-7}
out=${2:-build}
mkdir -p build "$out"
python3 tokenizer.py --out build/tokenizer.json
python3 make_eval.py
python3 train.py --minutes "$minutes" --tokenizer build/tokenizer.json --out build/model.pt ||
    python3 train.py --minutes "$minutes" --attention flex --tokenizer build/tokenizer.json --out build/model.pt
python3 export_gguf.py --model build/model.pt --tokenizer build/tokenizer.json --out "$out/qwend-demo.gguf"
for temperature in 0 0.3 1; do
    echo "temperature $temperature"
    python3 eval.py --torch "$out/qwend-demo.gguf" --temperature $temperature --json "$out/eval-$temperature.json"
done
