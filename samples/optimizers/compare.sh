#!/usr/bin/env bash
# Compares Muon with AdamW on the text of the quickstart: how low the validation loss is that each reaches, and whether Muon reaches
# in 700 steps what AdamW reaches in 1,000.
#
# usage: samples/optimizers/compare.sh [--out DIR] [--data DIR] [--steps N] [--share PERCENT] [--rates "1e-3 2e-3"] [--seeds "1 2 3"] [--set KEY=VALUE]...
#   --out DIR         where the runs go (default: runs/optimizers); what is there already is not run again
#   --data DIR        text_train.bin, text_val.bin and tokenizer/, as samples/quickstart.sh leaves them
#                     (default: runs/quickstart/data)
#   --steps N         AdamW's steps (default: 1000)
#   --share PERCENT   Muon's steps in percent of them (default: 70)
#   --rates LIST      learning rates that both are tried at, with the first seed (default: "1e-3 2e-3 4e-3 8e-3 1.6e-2")
#   --seeds LIST      seeds of the paired runs at the best rates (default: "1 2 3")
#   --set KEY=VALUE   handed on to every run
#
# Each optimizer has a cosine schedule of its own length, warm-up and final rate included, and its best rate of one grid. Runs of one seed are
# paired: they begin with the same parameters and see the same order. Losses are of all of text_val.bin.
set -euo pipefail
shopt -s inherit_errexit # a run that fails ends all of it
here=$(cd "$(dirname "$0")/../.." && pwd)
trivium=${TRIVIUM:-$here/build/bin/trivium}
config=$here/samples/pretrain/config.json
out=runs/optimizers data=runs/quickstart/data steps=1000 share=70 rates="1e-3 2e-3 4e-3 8e-3 1.6e-2" seeds="1 2 3" settings=()
while [ $# -gt 0 ]; do
    case $1 in
    --out) out=${2:?--out wants a folder} && shift 2 ;;
    --data) data=${2:?--data wants a folder} && shift 2 ;;
    --steps) steps=${2:?--steps wants a number} && shift 2 ;;
    --share) share=${2:?--share wants a number} && shift 2 ;;
    --rates) rates=${2:?--rates wants a list} && shift 2 ;;
    --seeds) seeds=${2:?--seeds wants a list} && shift 2 ;;
    --set) settings+=(--set "${2:?--set wants key=value}") && shift 2 ;;
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" | sed '/^set /d' && exit 0 ;;
    *) echo "compare: unknown option '$1' (try --help)" >&2 && exit 2 ;;
    esac
done
[ -e "$data/text_train.bin" ] || {
    echo "compare: expected $data/text_train.bin, found none; run samples/quickstart.sh first, or name its data with --data" >&2
    exit 2
}

number() { # KEY FILE: its last number
    sed -n "s/.*\"$1\": *\([-+0-9.eE]*\).*/\1/p" "$2" | tail -n 1
}

# loss OPTIMIZER STEPS RATE SEED: the validation loss at the end of that run.
loss() {
    local run=$out/$1-$2-$3-seed$4
    if [ ! -e "$run/loss.json" ]; then
        rm -rf "$run"
        "$trivium" pretrain --quiet --config "$config" --out "$run" --set "data.tokenizer=$data/tokenizer" \
            --set "data.train=[\"$data/text_train.bin\"]" --set "data.val=[\"$data/text_val.bin\"]" \
            --set "train.optimizer=$1" --set "train.steps=$2" --set "train.lr=$3" --set "train.seed=$4" \
            --set "train.min_lr=$(LC_ALL=C awk -v lr="$3" 'BEGIN { print lr / 10 }')" --set "train.warmup_steps=$(($2 / 25))" \
            --set train.eval_every=0 --set train.eval_tokens=0 --set train.checkpoint_every=0 --set train.keep=1 \
            "${settings[@]}" >&2
        printf '{"val_loss": %s}\n' "$(number val_loss "$run/metrics.jsonl")" >"$run/loss.json.new"
        mv "$run/loss.json.new" "$run/loss.json"
        rm -rf "$run/checkpoints"
    fi
    number val_loss "$run/loss.json"
}

# best OPTIMIZER STEPS: the rate of the grid that ends lowest, with the first seed.
best() {
    local lowest='' rate found now
    for rate in $rates; do
        now=$(loss "$1" "$2" "$rate" "${seeds%% *}")
        printf '%-6s %5d steps, rate %-7s: %s\n' "$1" "$2" "$rate" "$now" >&2
        if [ -z "$lowest" ] || LC_ALL=C awk -v a="$now" -v b="$lowest" 'BEGIN { exit !(a < b) }'; then
            lowest=$now found=$rate
        fi
    done
    echo "$found"
}

fewer=$((steps * share / 100))
adamw=$(best adamw "$steps")
muon=$(best muon "$fewer")
reached=0 count=0
echo "AdamW: $steps steps at $adamw; Muon: $fewer steps at $muon"
for seed in $seeds; do
    a=$(loss adamw "$steps" "$adamw" "$seed")
    m=$(loss muon "$fewer" "$muon" "$seed")
    LC_ALL=C awk -v s="$seed" -v a="$a" -v m="$m" \
        'BEGIN { printf "seed %s: AdamW %.4f, Muon %.4f: %+.4f\n", s, a, m, m - a }'
    count=$((count + 1))
    ! LC_ALL=C awk -v a="$a" -v m="$m" 'BEGIN { exit !(m <= a) }' || reached=$((reached + 1))
done
echo "Muon reached AdamW's loss in $reached of $count pairs"
[ "$reached" = "$count" ]
