#!/usr/bin/env bash
# Two ranks train, and at a random moment, of their start too, one of them is killed, stopped, or loses its device: all are to end within
# 30 s, and what stands is to resume. The turns go on with one run of pretrain and one of grpo, the latter with a program that scores.
#
# usage: tests/by_hand/rank_kills.sh kill|stop|lost COUNT [TRIVIUM] [FOLDER]     TRIVIUM lies beside its trivium-mpi.so; FOLDER is made anew
set -euo pipefail
[ $# -ge 2 ] || { sed -n '5s/^# //p' "$0"; exit 2; }
how=$1 count=$2 trivium=$(realpath "${3:-build/bin/trivium}") folder=${4:-/tmp/trivium-rank-kills}
rm -rf "$folder" && mkdir -p "$folder" && cd "$folder"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # a container's user
export TRIVIUM_RANK_TIMEOUT=${TRIVIUM_RANK_TIMEOUT:-8}
launcher=(mpirun)
! mpirun --version 2>&1 | grep -q 'Open MPI\|OpenRTE' || launcher+=(--oversubscribe --bind-to none)

awk 'BEGIN { for (i = 0; i < 4000; i++) printf "What is %d and %d? It is %d.\n", i, i * i % 100, i + i * i % 100 }' >text.txt
awk 'BEGIN { for (i = 0; i < 12; i++) printf "{\"prompt\":\"What is %d?\"}\n", i }' >prompts.jsonl
cat >score.sh <<'END'
while read -r line; do echo "${#line}"; done
END
"$trivium" tokenizer train --input text.txt --vocab-size 320 --out tokenizer --quiet
"$trivium" data pack --tokenizer tokenizer --input text.txt --out data --quiet
cat >config.json <<'END'
{"model": {"model_type": "llama", "vocab_size": 320, "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2,
  "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "tie_word_embeddings": true},
 "data": {"train": ["data.bin"], "seq_len": 32, "tokenizer": "tokenizer"},
 "train": {"steps": 1000000, "batch_size": 2, "grad_accum": 4, "grad_groups": 2, "lr": 0.0001, "eval_every": 0, "checkpoint_every": 3}}
END
begin_pretrain=(pretrain --config config.json --out pretrain --quiet)
"$trivium" "${begin_pretrain[@]}" --stop-after 3
begin_grpo=(grpo --model pretrain --reward-cmd 'sh score.sh' --prompts prompts.jsonl --val prompts.jsonl --out grpo --quiet --set train.grad_groups=2
    --set train.batch_size=2 --set train.lr=0.0001 --set train.checkpoint_every=2 --set train.eval_every=3 --set grpo.iterations=1000000 --set grpo.prompts=4 --set grpo.answers=4
    --set grpo.minibatch=8 --set grpo.epochs=2 --set grpo.max_new_tokens=8)
"$trivium" "${begin_grpo[@]}" --stop-after 2
go_on() { # STAGE: as an array
    resume=("$trivium" "$1" --out "$1" --resume --quiet)
    [ "$1" = pretrain ] || resume+=(--reward-cmd 'sh score.sh')
}
running() { # PID...: whether any of them does; one that nobody has taken back yet has ended
    local pid
    for pid in "$@"; do ! grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$pid/status" 2>/dev/null || return 0; done
    return 1
}
step() { basename "$(readlink "$1/checkpoints/last")"; }
bad=0 slowest=0
for i in $(seq "$count"); do
    stage=pretrain
    [ $((i % 2)) = 0 ] || stage=grpo
    go_on $stage
    which=$((RANDOM % 2)) before=$(step $stage) lose=()
    [ "$how" != lost ] || lose=(env "TRIVIUM_INJECT_DEVICE_LOST=$((1 + RANDOM % 500))")
    turn=("${resume[@]}")
    [ $which = 1 ] && two=("${turn[@]}" : -n 1 "${lose[@]}" "${turn[@]}") || two=("${lose[@]}" "${turn[@]}" : -n 1 "${turn[@]}")
    setsid "${launcher[@]}" -n 1 "${two[@]}" >log 2>&1 &
    launched=$! ranks=()
    while [ "${#ranks[@]}" -lt 2 ] && running "$launched"; do
        mapfile -t ranks < <(pgrep -s "$launched" -x trivium)
        sleep 0.05
    done
    moment=$((RANDOM % 8)).$((RANDOM % 10))$((RANDOM % 10))
    if [ "$how" != lost ]; then
        sleep $moment
        victim=${ranks[$which]:-}
        if [ "$how" = kill ]; then kill -9 "$victim" || true; else kill -STOP "$victim" || true; fi
    fi
    from=$(date +%s%N)
    limit=30
    [ "$how" != lost ] || limit=60 # from the start
    while running "$launched" "${ranks[@]}" && [ $((($(date +%s%N) - from) / 1000000000)) -lt $limit ]; do sleep 0.05; done
    took=$((($(date +%s%N) - from) / 1000000))
    [ $took -le $slowest ] || slowest=$took
    if running "$launched" "${ranks[@]}"; then
        bad=$((bad + 1))
        echo "turn $i, $stage: still there after $limit s"
        cat log
        kill -9 "$launched" "${ranks[@]}" 2>/dev/null || true
    fi
    wait "$launched" 2>/dev/null || true
    reached=$(step $stage) sentence=$(grep -m1 '^trivium' log || grep -m1 'signal 9\|exited on signal' log || true)
    late=
    while ! "${resume[@]}" --stop-after 1 >log2 2>&1 && grep -q 'in use by another process' log2 && [ ${#late} -lt 9 ]; do
        late+=. # mpirun is gone before its ranks
    done
    if grep -q '^trivium' log2; then
        bad=$((bad + 1))
        echo "turn $i, $stage: does not resume from $reached"
        cat log log2
    else
        echo "turn $i, $stage at $moment s: rank $which; ended in $took ms; $before -> $reached${late:+, resumed late}; $sentence"
    fi
done
echo "$how: $count turns, $bad bad, the slowest end $slowest ms"
[ $bad = 0 ]
