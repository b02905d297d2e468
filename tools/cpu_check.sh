#!/usr/bin/env bash
# Trains side by side on the CPU: trivium and PyTorch in turn, tokens/s of each round, medians and their ratio. Under five minutes.
# usage: tools/cpu_check.sh [TRIVIUM]        (default: build/bin/trivium)
#        OTHER=BINARY tools/cpu_check.sh     another build of trivium in place of PyTorch, such as an older one
#        ROUNDS=N MODELS="gpt2_875k ..."     rounds of each model (default: 3, one of the 135 M), and models of samples/bench
# Needs: Vulkan on the CPU (lavapipe); python3 with torch 1.13 or newer, which gets the better of one thread and OMP_NUM_THREADS (2).
# On a machine that does anything else the figures mean nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
trivium=${1:-build/bin/trivium}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}

field() { python3 -c 'import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1:]: value = value[key]
print(value)' "$@"; }

bench() {
    "$1" bench train --config "samples/bench/$2.json" --quiet --json --warmup 1 --steps "$3" | field tokens_per_second
}

other() {
    if [ -n "${OTHER:-}" ]; then bench "$OTHER" "$1" "$2"; else
        python3 tests/golden/torch_throughput.py --model "$1" | field "$1" tokens_per_second
    fi
}

printf '%-14s %-40s %-40s %s\n' model "trivium, tokens/s" "${OTHER:-PyTorch}, tokens/s" ratio
for model in ${MODELS:-gpt2_875k llama_260k smollm2_135m}; do
    case $model in
    *m | *b) steps=1 rounds=1 ;; # a step takes a second or more
    *) steps=5 rounds=3 ;;
    esac
    mine=() others=()
    bench "$trivium" "$model" 1 >/dev/null # compiles what the driver's cache does not hold
    for ((round = 0; round < ${ROUNDS:-$rounds}; round++)); do
        mine+=("$(bench "$trivium" "$model" "$steps")")
        others+=("$(other "$model" "$steps")")
    done
    python3 - "$model" "${mine[*]}" "${others[*]}" <<'PYTHON'
import statistics, sys
name, *sides = sys.argv[1:]
mine, others = ([float(x) for x in side.split()] for side in sides)
columns = [" ".join(f"{x:,.0f}" for x in side) for side in (mine, others)]
print(f"{name:14} {columns[0]:40} {columns[1]:40} {statistics.median(mine) / statistics.median(others):.2f}", flush=True)
PYTHON
done
