#!/usr/bin/env bash
# A small model learns to add: pretrained on written sums, fine-tuned on answers of which two in five are wrong, then GRPO with a reward
# that is right or wrong.
#
# usage: samples/arithmetic/run.sh [--out DIR] [--pretrain N] [--sft N] [--iterations N]
#   --out DIR        where data, runs and the report go (default: runs/arithmetic); what is there already is not run again
#   --pretrain N     steps of pretraining (default: 1200)
#   --sft N          steps of fine-tuning (default: 60)
#   --iterations N   iterations of GRPO (default: 80)
#
# Exact match is of one answer, drawn at temperature 1, to each of 256 sums that no stage trains on: `eval/reward` in DIR/grpo/metrics.jsonl,
# first before any update, and the curve "Reward" of DIR/report.html.
set -euo pipefail
shopt -s inherit_errexit # a run that fails ends all of it
here=$(cd "$(dirname "$0")/../.." && pwd)
sample=$here/samples/arithmetic
trivium=${TRIVIUM:-$here/build/bin/trivium}
out=runs/arithmetic pretrain=1200 sft=60 iterations=80
while [ $# -gt 0 ]; do
    case $1 in
    --out) out=${2:?--out wants a folder} && shift 2 ;;
    --pretrain) pretrain=${2:?--pretrain wants a number} && shift 2 ;;
    --sft) sft=${2:?--sft wants a number} && shift 2 ;;
    --iterations) iterations=${2:?--iterations wants a number} && shift 2 ;;
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" | sed '/^set /d' && exit 0 ;;
    *) echo "arithmetic: unknown option '$1' (try --help)" >&2 && exit 2 ;;
    esac
done

mkdir -p "$out/data"
[ -e "$out/data/held_out.jsonl" ] || perl "$sample/sums.pl" --out "$out/data"
[ -e "$out/tokenizer" ] || "$trivium" tokenizer train --input "$out/data/train.txt" --by-line --vocab-size 260 --out "$out/tokenizer"
[ -e "$out/data/sums.bin" ] || "$trivium" data pack --tokenizer "$out/tokenizer" --input "$out/data/train.txt" --by-line --out "$out/data/sums"
[ -e "$out/pretrain" ] || "$trivium" pretrain --config "$sample/config.json" --out "$out/pretrain" --set "data.train=[\"$out/data/sums.bin\"]" \
    --set "data.tokenizer=$out/tokenizer" --set train.steps="$pretrain" --set data.document_mask=true
[ -e "$out/sft" ] || "$trivium" sft --model "$out/pretrain" --data "$out/data/sft.jsonl" --out "$out/sft" --set train.steps="$sft" \
    --set train.epochs=0 --set train.batch_size=32 --set train.lr=3e-4 --set train.checkpoint_every=0
[ -e "$out/grpo" ] || "$trivium" grpo --model "$out/sft" --prompts "$out/data/prompts.jsonl" --val "$out/data/held_out.jsonl" \
    --check number --out "$out/grpo" --set grpo.iterations="$iterations" --set grpo.prompts=64 --set grpo.answers=8 \
    --set grpo.max_new_tokens=5 --set train.batch_size=256 --set train.lr=1e-4 --set train.warmup_steps=5 \
    --set train.schedule=linear --set train.eval_every=10 --set train.checkpoint_every=0
"$trivium" report "$out/pretrain" "$out/sft" "$out/grpo" --out "$out/report.html"
