#!/usr/bin/env bash
# What training together costs beside training alone: two ranks, each pinned to a core, against two unconnected runs side by side, each
# pinned to a core too. GPT-2 of 12.3 million parameters, a micro-batch of 4 x 256 tokens a rank and step. The step of the ranks is to
# take at most 1.10 of the other, the processor's time per step likewise: waiting costs none. The trace of step 4 shows what of the exchange lies
# beside the backward pass. On a machine that does nothing else; minutes.
#
# usage: tests/by_hand/overlap.sh [TRIVIUM] [FOLDER] [STEPS]     TRIVIUM lies beside its trivium-mpi.so; FOLDER is made anew
set -euo pipefail
trivium=${1:-build/bin/trivium} folder=${2:-/tmp/trivium-overlap} steps=${3:-8}
trivium=$(realpath "$trivium")
[ "$(nproc)" -ge 2 ] || { echo "needs two cores"; exit 77; }
rm -rf "$folder" && mkdir -p "$folder"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # a container's user
launcher=(mpirun)
! mpirun --version 2>&1 | grep -q 'Open MPI\|OpenRTE' || launcher+=(--oversubscribe --bind-to none)

perl -e 'srand 1; print pack("l<256", 20240520, 1, 65536, (0) x 253), pack("S<*", map { int rand 4096 } 1 .. 65536)' >"$folder/shard.bin"
cat >"$folder/config.json" <<END
{"model": {"model_type": "gpt2", "vocab_size": 4096, "n_embd": 384, "n_layer": 6, "n_head": 6, "n_positions": 256},
 "data": {"train": ["$folder/shard.bin"], "seq_len": 256},
 "train": {"steps": $steps, "batch_size": 4, "lr": 0.0001, "eval_every": 0, "checkpoint_every": 0}}
END
seconds() { # RUN: the median of its steps' seconds, without the first two
    perl -ne '/"tokens":(\d+)/ and $t = $1 and /"tokens_per_second":([\d.]+)/ and $1 > 0 and push @s, ($t - $b) / $1 and $b = $t;
              END { @s = sort { $a <=> $b } @s[2 .. $#s]; print $s[$#s / 2] }' "$folder/$1/metrics.jsonl"
}
used() { # COMMAND...: its seconds of processor time
    local TIMEFORMAT='%U %S'
    { time "$@" >"$folder/log" 2>&1; } 2>&1 | awk '{ print $1 + $2 }'
}
# shellcheck disable=SC2317 # used calls them
alone() { # NAME
    taskset -c 0 "$trivium" pretrain --config "$folder/config.json" --out "$folder/$1-0" --quiet &
    taskset -c 1 "$trivium" pretrain --config "$folder/config.json" --out "$folder/$1-1" --quiet &
    wait
}
# shellcheck disable=SC2317
together() { # NAME [OPTION...]
    local name=$1 rank
    shift
    rank=("$trivium" pretrain --config "$folder/config.json" --out "$folder/$name" --quiet --set train.grad_accum=2 "$@")
    "${launcher[@]}" -n 1 taskset -c 0 "${rank[@]}" : -n 1 taskset -c 1 "${rank[@]}"
}
alone warm && together warm-ranks # a pinned process has a shader cache of its own
own=$(used alone alone) ranks=$(used together ranks)
a=$(seconds alone-0) b=$(seconds alone-1) c=$(seconds ranks)
awk -v a="$a" -v b="$b" -v c="$c" -v own="$own" -v ranks="$ranks" 'BEGIN {
    slower = a > b ? a : b
    printf "step alone %.3f s and %.3f s, of two ranks %.3f s: %.3f of the slower one\n", a, b, c, c / slower
    printf "processor  %.1f s alone, %.1f s of two ranks: %.3f\n", own, ranks, ranks / own
    exit !(c <= 1.10 * slower)
}'
