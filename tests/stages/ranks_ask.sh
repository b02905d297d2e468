#!/usr/bin/env bash
# A reward program is asked while two ranks draw: a rank's drawing is held in its middle until the program has read an answer of
# rank 1, so that nothing would end if either waited for the other. The program reads the lines that it reads of one
# process, and what is learned has the same bits. Where it fails in the middle, all ranks end with one sentence and a checkpoint.
#
# usage: tests/stages/ranks_ask.sh TRIVIUM MPIRUN FOLDER     FOLDER is made anew
#
# Tried on 2026-11-29, each fails: no letters; letters read only when the first rank has drawn; answers told of before those in front
# of them; a failure that the first rank returns at once; letters that nobody reads when drawing ends; a sentence of every rank.
set -euo pipefail
trivium=$1 mpirun=$2 folder=$3
"$trivium" devices >/dev/null 2>&1 || { echo "no usable Vulkan device"; exit 77; }
command -v "$mpirun" >/dev/null || { echo "no $mpirun, which the build found: another machine"; exit 77; }
rm -rf "$folder" && mkdir -p "$folder"
cd "$folder"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # a container's user
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0             # MPI's own, of plugins that are gone at the end
launcher=("$mpirun")
! "$mpirun" --version 2>&1 | grep -q 'Open MPI\|OpenRTE' || launcher+=(--oversubscribe --bind-to none)
fail() {
    echo "FAILED: $1"
    [ ! -e log ] || tail -n 20 log
    exit 1
}

awk 'BEGIN { for (i = 0; i < 400; i++) printf "What is %d and %d? It is %d.\n", i % 37, i % 23, i % 37 + i % 23 }' >text.txt
"$trivium" tokenizer train --input text.txt --vocab-size 280 --out tokenizer --quiet
"$trivium" data pack --tokenizer tokenizer --input text.txt --out data --quiet
cat >config.json <<'END'
{"model": {"model_type": "llama", "vocab_size": 280, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
  "num_attention_heads": 2, "max_position_embeddings": 64},
 "data": {"train": ["data.bin"], "seq_len": 32, "tokenizer": "tokenizer"},
 "train": {"steps": 1, "batch_size": 2, "lr": 0.01}}
END
"$trivium" pretrain --config config.json --out base --quiet
for i in 1 2 3 4; do echo "{\"prompt\":\"What is $i?\"}"; done >prompts.jsonl

# Two of the four prompts are a rank's, two answers each, one row: the third answer in the order of the rollout is rank 1's first.
cat >score.sh <<'END'
n=0
while read -r line; do
    n=$((n + 1))
    printf '%s\n' "$line" >>"$1"
    [ $n -lt 3 ] || : >"$1.third"
    if [ $n = "${2:-0}" ]; then
        [ "${3:-}" != interrupt ] || { kill -USR1 $PPID && exec cat >"$1.unanswered"; }
        [ "${3:-}" != nonsense ] || echo "$3"
        exit 3
    fi
    echo "$((${#line} + n % 3))"
done
END
grpo=(grpo --model base --prompts prompts.jsonl --quiet --set train.grad_groups=2 --set train.batch_size=2 --set grpo.iterations=2
    --set grpo.prompts=4 --set grpo.answers=2 --set grpo.minibatch=4 --set grpo.rows=1 --set grpo.max_new_tokens=6)
"$trivium" "${grpo[@]}" --reward-cmd 'exec sh score.sh one' --out alone
head -n 8 one >lines-first
tail -n +9 one >lines-second
same() { # RUN LINES
    cmp one "$2" || fail "$1: the program reads other lines than of one process"
    cmp alone/checkpoints/last/model.safetensors "$1/checkpoints/last/model.safetensors" || fail "$1: other bits than one process"
}
for held in 0 1; do
    hold=(env TRIVIUM_INJECT_HELD_DRAWING="held-$held.third") first=() second=()
    [ $held = 0 ] && first=("${hold[@]}") || second=("${hold[@]}")
    command=("$trivium" "${grpo[@]}" --reward-cmd "exec sh score.sh held-$held" --out "run-$held")
    timeout 200 "${launcher[@]}" -n 1 "${first[@]}" "${command[@]}" : -n 1 "${second[@]}" "${command[@]}" >log 2>&1 ||
        fail "rank $held waits for what the program reads of the other one's answers while it draws"
    same "run-$held" "held-$held"
done

# Line 10 is in the second iteration; the program dies there, answers nonsense, or interrupts the rank that asks it.
for how in dies nonsense interrupt; do
    rm -rf stopped
    code=0 saved='--reward-cmd.*1 iterations are saved; continue with'
    [ $how != interrupt ] || saved='interrupted after step 1 of 2, which is saved; continue with'
    "${launcher[@]}" -n 2 "$trivium" "${grpo[@]}" --reward-cmd "exec sh score.sh lines-$how 10 $how" --out stopped >log 2>&1 || code=$?
    [ $how = interrupt ] && expected=130 || expected=2
    [ "$code" = "$expected" ] || fail "$how: exit code $code"
    [ "$(grep -c '^trivium' log)" = 1 ] || fail "$how: one sentence"
    grep -q "^trivium.*$saved" log || fail "$how: a sentence that says what is saved"
    head -n 8 lines-$how | cmp - lines-first || fail "$how: other lines than of one process"
    "${launcher[@]}" -n 2 "$trivium" grpo --out stopped --resume --quiet --reward-cmd "exec sh score.sh resumed-$how" >log 2>&1 || fail "$how: it goes on"
    cmp lines-second resumed-$how || fail "$how: it goes on with other lines"
done
echo "a program is asked while two ranks draw"
