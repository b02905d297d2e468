#!/usr/bin/env bash
# Several ranks over MPI, Open MPI and MPICH where they are there: the same bits from 1, 2, 3 and 4 ranks, in every stage that
# trains; going on with another number of them; what happens when one of them dies, stops, loses its device or differs.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
kills=${1:-6} # 100 by hand

tools/setup.sh --mpi
flavours=()
for flavour in openmpi mpich; do
    ! command -v "mpicc.$flavour" >/dev/null || ! command -v "mpirun.$flavour" >/dev/null || flavours+=("$flavour")
done
[ ${#flavours[@]} -gt 0 ] || skip_rung "neither Open MPI nor MPICH is installed (mpicc.openmpi, mpicc.mpich)"
build release trivium_command
trivium=$PWD/build/bin/trivium runtime=$PWD/runtime
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # a container's user
export TRIVIUM_RANK_TIMEOUT=4 TRIVIUM_CACHE_DIR=$PWD/$work/cache
export TRIVIUM_CPU_VECTORS=driver # LLVM 15 compiles three times as long for 16 lanes
cd "$work"
rm -rf runs && mkdir -p runs cache
"$trivium" devices >/dev/null 2>&1 || skip_rung "no usable Vulkan device"

ok() { passed=$((passed + 1)); }
bad() { # SENTENCE [LOG]
    failed=$((failed + 1))
    echo "FAILED $rung: $1"
    [ -z "${2:-}" ] || tail -n 20 "$2"
}
expect() { # SENTENCE COMMAND...
    local sentence=$1
    shift
    if "$@" >runs/log 2>&1; then ok; else bad "$sentence" runs/log; fi
}
# shellcheck disable=SC2317 # expect calls it
ranks() { # FLAVOUR N [COMMAND...]: N of them; 1 is a process alone
    local flavour=$1 n=$2
    shift 2
    if [ "$n" = 1 ]; then
        "$trivium" "$@"
    elif [ "$flavour" = openmpi ]; then # bound to a core each, llvmpipe would compile everything once more
        mpirun.openmpi --oversubscribe --bind-to none -n "$n" openmpi/trivium "$@"
    else
        mpirun.mpich -n "$n" mpich/trivium "$@"
    fi
}
# shellcheck disable=SC2317 # expect calls it
slow_one() { # FLAVOUR N COMMAND...: the same, but rank 1 of two comes 20 ms later to whatever they do together
    if [ "$2" = 2 ]; then
        shift 2
        "${launcher[@]}" -n 1 "$first/trivium" "$@" : -n 1 env TRIVIUM_INJECT_SLOWNESS=20 "$first/trivium" "$@"
    else
        ranks "$@"
    fi
}
# shellcheck disable=SC2317 # expect calls it
waits_for_one() { # RUN: each line of an update says for whom, and most say for rank 1
    local lines=runs/$1/metrics.jsonl all
    all=$(grep -vc '"step":0,' "$lines")
    [ "$(grep -c '"waited_for_rank":[01],"waited_seconds":[0-9]' "$lines")" = "$all" ] &&
        [ $((2 * $(grep -c '"waited_for_rank":1,' "$lines"))) -gt "$all" ]
}
same() { # A B: the files of two checkpoints, but for the times in them
    local file
    for file in $(cd "runs/$1/checkpoints/last" && find . -name '*.safetensors' | sort); do
        cmp "runs/$1/checkpoints/last/$file" "runs/$2/checkpoints/last/$file" || return 1
    done
}
# shellcheck disable=SC2317 # expect calls it
same_numbers() { # A B: the lines of metrics of two runs, but for what was timed
    local run
    for run in "$1" "$2"; do
        sed -E 's/,"(tokens_per_second|seconds[^"]*|device_share|waited[^"]*)":[^,}]*//g' "runs/$run/metrics.jsonl" >"runs/$run/numbers"
    done
    sed -i -E 's#"draw/[^"]*":[^,}]*##g' "runs/$1/numbers" "runs/$2/numbers" # each rank reads prompts of its own
    cmp "runs/$1/numbers" "runs/$2/numbers"
}
says() { # SENTENCE WORDS: the last log, of one line that is ours
    if grep -q -- "$2" runs/log && [ "$(grep -c '^trivium' runs/log)" = 1 ]; then ok; else bad "$1" runs/log; fi
}

# Each flavour's module lies beside a copy of the command, where it is looked for first.
for flavour in "${flavours[@]}" none; do
    mkdir -p "$flavour" && cp -f "$trivium" "$flavour/trivium"
    [ "$flavour" = none ] || "mpicc.$flavour" -shared -fPIC -O2 -Wall -Wextra -D_GNU_SOURCE -I"$runtime" "$runtime/train/mpi/calls.c" \
        -o "$flavour/trivium-mpi.so" || fail_rung "mpicc.$flavour"
done
# The module alone needs MPI, and a build may do without.
if readelf -d "$trivium" | grep -i 'needed.*mpi' >runs/log; then bad "the command needs MPI" runs/log; else ok; fi
expect "a build without MPI is configured" cmake -S ../../.. -B without -G Ninja -DTRIVIUM_MPI=OFF
if grep -l 'mpi\.h\|libmpi\|trivium_mpi' without/build.ninja >runs/log; then bad "a build without MPI knows of it" runs/log; else ok; fi
first=${flavours[0]} last=${flavours[-1]}

# ---- data and models ----

cat ../../../docs/*.md >runs/text.txt
{
    "$trivium" tokenizer train --input runs/text.txt --vocab-size 320 --out runs/tokenizer --quiet
    "$trivium" data pack --tokenizer runs/tokenizer --input runs/text.txt --val-fraction 0.1 --out runs/data --quiet
} || fail_rung "no data"
cat >runs/config.json <<END_OF_CONFIG
{"model": {"model_type": "llama", "vocab_size": 320, "hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 2,
  "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "tie_word_embeddings": true},
 "data": {"train": ["runs/data_train.bin"], "val": ["runs/data_val.bin"], "seq_len": 32, "tokenizer": "runs/tokenizer"},
 "train": {"steps": 6, "batch_size": 2, "grad_accum": 12, "grad_groups": 4, "lr": 0.01, "eval_every": 3, "eval_tokens": 256,
  "checkpoint_every": 3}}
END_OF_CONFIG
awk 'BEGIN { for (i = 0; i < 24; i++)
    printf "{\"messages\":[{\"role\":\"user\",\"content\":\"What is %d?\"},{\"role\":\"assistant\",\"content\":\"Twice %d.\"}]}\n", 2 * i, i }' >runs/sft.jsonl
awk 'BEGIN { for (i = 0; i < 24; i++)
    printf "{\"prompt\":\"What is %d?\",\"chosen\":\"Twice %d.\",\"rejected\":\"No idea %d\"}\n", 2 * i, i, i * i }' >runs/prefs.jsonl
awk 'BEGIN { for (i = 0; i < 24; i++)
    printf "{\"prompt\":\"What is %d?\",\"completion\":\"Twice %d.\",\"label\":%s}\n", 2 * i, i * (i % 3), i % 3 == 1 ? "true" : "false" }' >runs/labels.jsonl
awk 'BEGIN { for (i = 0; i < 12; i++) printf "{\"prompt\":\"What is %d?\"}\n", i }' >runs/prompts.jsonl

launcher=("mpirun.$first") && [ "$first" != openmpi ] || launcher+=(--oversubscribe --bind-to none)

# ---- the same bits ----

pretrain=(pretrain --config runs/config.json --quiet)
expect "one process, 4 groups" ranks alone 1 "${pretrain[@]}" --out runs/four
expect "one process, 3 groups" ranks alone 1 "${pretrain[@]}" --out runs/three --set train.grad_groups=3
for flavour in "${flavours[@]}"; do
    for n in 2 4; do
        expect "$flavour, $n ranks of 4 groups" ranks "$flavour" $n "${pretrain[@]}" --out "runs/four-$flavour-$n"
        expect "$flavour: $n ranks give the bits of one" same four "four-$flavour-$n"
    done
    expect "$flavour, 3 ranks of 3 groups" ranks "$flavour" 3 "${pretrain[@]}" --out "runs/three-$flavour-3" --set train.grad_groups=3
    expect "$flavour: 3 ranks give the bits of one" same three "three-$flavour-3"
done
expect "transfers that take long, 2 ranks" env TRIVIUM_INJECT_DELAY=3 "${launcher[@]}" -n 2 "$first/trivium" "${pretrain[@]}" --out runs/four-slow
expect "transfers that take long change nothing" same four four-slow
if same four three >runs/log; then bad "three groups are no other sum than four"; else ok; fi

# Wide enough that parameters are cut between the ranks.
sed 's/"hidden_size": 32, "intermediate_size": 96/"hidden_size": 128, "intermediate_size": 384/' runs/config.json >runs/wide.json
wide=(pretrain --config runs/wide.json --quiet --set train.steps=3 --set train.grad_accum=4 --set train.eval_every=0)
for n in 1 2; do
    expect "moments of 8 bits, $n ranks" ranks "$first" $n "${wide[@]}" --out runs/adamw8-$n --set train.optimizer=adamw8
    expect "Muon over bf16, $n ranks" ranks "$last" $n "${wide[@]}" --out runs/muon-$n --set train.optimizer=muon --set model.weights=bf16
done
for name in adamw8 muon; do expect "$name: 2 ranks give the bits of one" same $name-1 $name-2; done

base=runs/four
ppo=(ppo --model "$base" --reward runs/reward-1 --prompts runs/prompts.jsonl --val runs/prompts.jsonl --quiet --set train.grad_groups=2
    --set train.batch_size=2 --set ppo.iterations=2 --set ppo.prompts=8 --set ppo.minibatch=6 --set ppo.epochs=2 --set ppo.max_new_tokens=8
    --set ppo.kl_controller=adaptive --set ppo.ptx_coef=0.5 --set 'data.ptx=["runs/data_train.bin"]' --set train.grad_exchange=bf16)
small=(--quiet --set train.grad_groups=2 --set train.batch_size=2 --set train.grad_accum=2 --set train.steps=3)
for n in 1 2; do
    expect "sft, $n ranks" slow_one "$first" $n sft --model "$base" --data runs/sft.jsonl --val runs/sft.jsonl --out runs/sft-$n "${small[@]}"
    expect "reward, $n ranks" ranks "$first" $n reward --model "$base" --data runs/prefs.jsonl --val runs/prefs.jsonl --out runs/reward-$n "${small[@]}"
    expect "kto, $n ranks" ranks "$last" $n dpo --model "$base" --data runs/labels.jsonl --val runs/labels.jsonl --out runs/kto-$n "${small[@]}" --set dpo.loss=kto
    expect "dpo, $n ranks" ranks "$first" $n dpo --model "$base" --data runs/prefs.jsonl --val runs/prefs.jsonl --out runs/dpo-$n "${small[@]}" --set lora.rank=4
    expect "ppo, $n ranks" slow_one "$first" $n "${ppo[@]}" --out runs/ppo-$n
done
# The program that scores counts how often it is started, keeps what it reads, and interrupts the rank that asks where it is told to.
cat >runs/score.sh <<'END_OF_PROGRAM'
echo >>runs/started
while read -r line; do
    [ ! -e runs/signal ] || { rm runs/signal && kill -USR1 $PPID; }
    printf '%s\n' "$line" >>runs/lines
    echo "${#line}"
done
END_OF_PROGRAM
# Eight tokens end answers, so that some of them end.
cp -rL "$base/checkpoints/last" runs/ends
sed -i 's/"eos_token_id":[[:space:]]*0/"eos_token_id": [224, 99, 103, 107, 111, 115, 119, 123]/' runs/ends/config.json runs/ends/generation_config.json
scores=(--reward-cmd 'exec sh runs/score.sh' --check 'regex:[aeiou]' --quiet)
grpo=(grpo --model runs/ends "${scores[@]}" --reward-weights '0,1' --prompts runs/prompts.jsonl --val runs/prompts.jsonl --set grpo.dynamic_sampling=2
    --set train.grad_groups=4 --set train.batch_size=2 --set train.eval_every=1 --set grpo.iterations=2 --set grpo.prompts=3 --set grpo.answers=4
    --set grpo.minibatch=6 --set grpo.epochs=2 --set grpo.max_new_tokens=8 --set grpo.kl_coef=0.01)
for n in 1 2 4; do
    rm -f runs/started runs/lines
    expect "grpo, $n ranks" slow_one "$last" $n "${grpo[@]}" --out runs/grpo-$n
    mv runs/lines runs/lines-$n
    expect "grpo: the program reads the lines of one process" cmp runs/lines-1 runs/lines-$n
    if [ "$(wc -l <runs/started)" = 1 ]; then ok; else bad "grpo, $n ranks: the program that scores was started $(wc -l <runs/started) times"; fi
done
for stage in sft reward dpo kto ppo grpo; do
    expect "$stage: 2 ranks give the bits of one" same $stage-1 $stage-2
    expect "$stage: 2 ranks give the numbers of one" same_numbers $stage-1 $stage-2
done
for stage in sft ppo grpo; do expect "$stage: who is waited for is said" waits_for_one $stage-2; done
expect "grpo: 4 ranks give the bits of one" same grpo-1 grpo-4
if grep -q '"truncated":0' runs/grpo-1/metrics.jsonl; then ok; else bad "grpo: no answer ends"; fi

# ---- an iteration that stops ----

# shellcheck disable=SC2317 # expect calls it
stops() { # COMMAND...: an interrupt ends it within an iteration
    local code=0
    "$@" || code=$?
    [ "$code" = 130 ] && grep -q 'interrupted in step 1 of 2, which is saved as far as it is done' runs/log
}
expect "ppo stops between two updates, 2 ranks" stops env TRIVIUM_INJECT_INTERRUPT=5 "${launcher[@]}" -n 2 "$first/trivium" "${ppo[@]}" --out runs/ppo-stopped-2
expect "grpo stops between two updates, 2 ranks" stops env TRIVIUM_INJECT_INTERRUPT=4 "${launcher[@]}" -n 2 "$first/trivium" "${grpo[@]}" --out runs/grpo-stopped-2
: >runs/signal
expect "grpo stops while it measures, 2 ranks" stops ranks "$last" 2 grpo --out runs/grpo-stopped-2 --resume "${scores[@]}"
for stage in ppo grpo; do
    again=(--quiet) && [ $stage = ppo ] || again=("${scores[@]}")
    cp -a runs/$stage-stopped-2 runs/$stage-stopped-1
    for n in 1 2; do
        expect "$stage goes on with $n ranks" ranks "$last" $n $stage --out runs/$stage-stopped-$n --resume "${again[@]}"
        expect "$stage: stopped, $n ranks give the bits of one" same $stage-1 $stage-stopped-$n
        expect "$stage: stopped, $n ranks give the numbers of one" same_numbers $stage-1 $stage-stopped-$n
    done
done

# ---- files that several write as one ----

draw=(sample --model "$base" --prompts runs/prompts.jsonl -k 3 --rows 1 --max-tokens 8 --quiet)
expect "sample, 1 rank" ranks alone 1 "${draw[@]}" --out runs/drawn-1
expect "score, 1 rank" ranks alone 1 score --model runs/reward-1 --data runs/drawn-1 --out runs/scores-1 --quiet
expect "eval, 1 rank" ranks alone 1 eval --model "$base" --data runs/data_val.bin --batch-size 4 --logprobs runs/logprobs-1 --json --quiet
grep '^{"loss"' runs/log >runs/eval-1 || true
for n in 2 4; do
    [ $n = 2 ] && flavour=$first || flavour=$last
    expect "sample, $n ranks" ranks "$flavour" $n "${draw[@]}" --out runs/drawn-$n
    expect "score, $n ranks" ranks "$flavour" $n score --model runs/reward-1 --data runs/drawn-1 --out runs/scores-$n --quiet
    expect "eval, $n ranks" ranks "$flavour" $n eval --model "$base" --data runs/data_val.bin --batch-size 4 --logprobs runs/logprobs-$n --json --quiet
    grep '^{"loss"' runs/log >runs/eval-$n || true
    for file in drawn scores logprobs eval; do expect "$file: $n ranks write what 1 writes" cmp runs/$file-1 runs/$file-$n; done
done
{ head -n 5 runs/drawn-1 && printf '{"id":"half'; } >runs/drawn-half
expect "sample goes on with 2 ranks" ranks "$first" 2 "${draw[@]}" --out runs/drawn-half
expect "sample: what 2 ranks go on with is what 1 writes" cmp runs/drawn-1 runs/drawn-half

# Rounds whose steps are launched.
align=(align --model "$base" --prompts runs/prompts.jsonl --reward runs/reward-1 --rounds 2 --max-tokens 8 --set train.grad_groups=2
    --set train.batch_size=2 --set train.grad_accum=2 --set train.steps=3 --quiet)
expect "align, one process" "$trivium" "${align[@]}" --out runs/align-1
expect "align, 2 ranks" "$first/trivium" "${align[@]}" --out runs/align-2 --launcher "${launcher[*]} -n 2"
expect "align: 2 ranks give the bits of one" same align-1/round-2/dpo align-2/round-2/dpo
expect "align: 2 ranks draw what one draws" cmp runs/align-1/round-2/prefs.jsonl runs/align-2/round-2/prefs.jsonl

# ---- going on with another number ----

expect "4 ranks begin" ranks "$first" 4 "${pretrain[@]}" --out runs/parts --stop-after 2
expect "1 goes on" ranks "$first" 1 pretrain --out runs/parts --resume --quiet --stop-after 2
expect "2 go on" ranks "$first" 2 pretrain --out runs/parts --resume --quiet
expect "4, 1 and 2 ranks in turn give the bits of one" same four parts

# Groups that go round in bf16, whose errors the checkpoint has.
bf16=("${wide[@]}" --set train.grad_exchange=bf16 --set train.batch_size=1)
expect "bf16, one process" ranks "$first" 1 "${bf16[@]}" --out runs/bf16
expect "bf16, 4 ranks begin" ranks "$first" 4 "${bf16[@]}" --out runs/bf16-parts --stop-after 1
expect "bf16, 1 goes on" ranks "$first" 1 pretrain --out runs/bf16-parts --resume --quiet --stop-after 1
expect "bf16, 2 go on" ranks "$last" 2 pretrain --out runs/bf16-parts --resume --quiet
expect "bf16: 4, 1 and 2 ranks in turn give the bits of one" same bf16 bf16-parts

# ---- what is refused ----

refused() { # SENTENCE WORDS COMMAND...
    local sentence=$1 words=$2
    shift 2
    if timeout 30 "$@" >runs/log 2>&1; then bad "$sentence: it went through" runs/log; else says "$sentence" "$words"; fi
}
refused "a build without MPI" "this build of trivium has no MPI" "${launcher[@]}" -n 2 none/trivium "${pretrain[@]}" --out runs/none
refused "groups that ranks do not divide" "multiple of the 3 ranks, found 4" "${launcher[@]}" -n 3 "$first/trivium" "${pretrain[@]}" --out runs/none
refused "a command that runs alone" "this command runs alone" "${launcher[@]}" -n 2 "$first/trivium" export --help
cp "$first/trivium" "$first/trivium-other" && echo >>"$first/trivium-other"
refused "another program" "rank 1 on .* has another program than rank 0" "${launcher[@]}" -n 1 "$first/trivium" "${pretrain[@]}" --out runs/none \
    : -n 1 "$first/trivium-other" "${pretrain[@]}" --out runs/none
refused "other settings" "rank 1 on .* has another set of settings than rank 0" "${launcher[@]}" -n 1 "$first/trivium" "${pretrain[@]}" --out runs/none \
    : -n 1 "$first/trivium" "${pretrain[@]}" --out runs/none --seed 7
refused "another model" "rank 1 on .* has another model than rank 0" "${launcher[@]}" -n 1 "$first/trivium" "${draw[@]}" --out runs/none \
    : -n 1 "$first/trivium" "${draw[@]}" --out runs/none --model runs/sft-1
refused "other prompts" "rank 1 on .* has another file of prompts than rank 0" "${launcher[@]}" -n 1 "$first/trivium" "${draw[@]}" --out runs/none \
    : -n 1 "$first/trivium" "${draw[@]}" --out runs/none --prompts runs/prefs.jsonl
refused "a device lost while drawing" "rank 1 on .* was lost .*all ranks end" "${launcher[@]}" -n 1 "$first/trivium" "${draw[@]}" --out runs/drawn-lost \
    : -n 1 env TRIVIUM_INJECT_DEVICE_LOST=4 "$first/trivium" "${draw[@]}" --out runs/drawn-lost
refused "a model that only one lacks" "rank 1 on .*" "${launcher[@]}" -n 1 "$first/trivium" eval --model "$base" --data runs/data_val.bin \
    : -n 1 "$first/trivium" eval --model runs/sft.jsonl --data runs/data_val.bin
refused "a file that one lacks" "rank 1 on .*: .*missing.json" "${launcher[@]}" -n 1 "$first/trivium" "${pretrain[@]}" --out runs/none \
    : -n 1 "$first/trivium" pretrain --config runs/missing.json --out runs/none
refused "a lost device" "rank 1 on .* was lost .*all ranks end" "${launcher[@]}" -n 1 "$first/trivium" "${pretrain[@]}" --out runs/lost \
    : -n 1 env TRIVIUM_INJECT_DEVICE_LOST=40 "$first/trivium" "${pretrain[@]}" --out runs/lost
refused "ranks that never meet" "rank [01] on .* has waited for [4-9] s in transfer 60 .* and rank [01] on .* waits in transfer 60 .*all ranks end" \
    "${launcher[@]}" -n 1 "$first/trivium" "${pretrain[@]}" --out runs/deadlock \
    : -n 1 env TRIVIUM_INJECT_DEADLOCK=61 "$first/trivium" "${pretrain[@]}" --out runs/deadlock
lost_at_start=(dpo --model "$base" --data runs/prefs.jsonl --out runs/lost-at-start "${small[@]}")
refused "a device lost before the first step, while the others hand something round" "rank 1 on .* was lost .*all ranks end" \
    "${launcher[@]}" -n 1 "$first/trivium" "${lost_at_start[@]}" : -n 1 env TRIVIUM_INJECT_DEVICE_LOST=8 "$first/trivium" "${lost_at_start[@]}"
if [ "${#flavours[@]}" = 2 ]; then
    refused "the mpirun of another MPI" "start it with the mpirun of that MPI" mpirun.mpich -n 2 openmpi/trivium "${pretrain[@]}" --out runs/none
fi
[ ! -e runs/none ] || bad "what was refused left something behind"

# ---- when one dies, stops or is interrupted ----

begin() { # NAME: an endless run of two ranks; sets $launched and $ranks once it has a checkpoint
    setsid "${launcher[@]}" -n 2 "$first/trivium" "${pretrain[@]}" --out "runs/$1" --set train.steps=1000000 --set train.eval_every=0 \
        >runs/log 2>&1 &
    launched=$!
    local i
    for i in $(seq 150); do [ ! -e "runs/$1/checkpoints/last" ] || break; sleep 0.2; done
    mapfile -t ranks < <(pgrep -s "$launched" -x trivium)
    if [ "${#ranks[@]}" -lt 2 ]; then # MPICH's have sessions of their own
        mapfile -t ranks < <(pgrep -f -- "--out runs/$1 --set train.steps=1000000" | while read -r p; do
            [ "$(cat "/proc/$p/comm")" != trivium ] || echo "$p"
        done)
    fi
}
runs() { # PID...: whether any of them does; one that nobody has taken back yet has ended
    local pid
    for pid in "$@"; do
        ! grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$pid/status" 2>/dev/null || return 0
    done
    return 1
}
ended() { # SENTENCE: it ends by itself, and what stands is whole
    local begun=$SECONDS
    while runs "$launched" "${ranks[@]}" && [ $((SECONDS - begun)) -lt 30 ]; do sleep 0.2; done
    if runs "$launched" "${ranks[@]}"; then
        bad "$1: still there after 30 s" runs/log
        kill -9 "$launched" "${ranks[@]}" || true
    else
        ok
    fi
    wait "$launched" || true
}
goes_on() { # NAME
    local step
    step=$(basename "$(readlink "runs/$1/checkpoints/last")")
    expect "$1: resumes from $step" ranks "$first" 1 pretrain --out "runs/$1" --resume --quiet --stop-after 1
}
for i in $(seq "$kills"); do
    begin "killed-$i"
    sleep "$((RANDOM % 2)).$((RANDOM % 10))"
    kill -9 "${ranks[RANDOM % 2]}"
    ended "kill -9 of a rank"
    goes_on "killed-$i"
done
for i in $(seq $(((kills + 2) / 3))); do
    begin "stopped-$i"
    sleep "0.$((RANDOM % 10))"
    kill -STOP "${ranks[i % 2]}"
    ended "a stopped rank"
    says "a stopped rank is named" "has given no sign of life for 4 s"
    goes_on "stopped-$i"
done
for i in $(seq $((kills / 6))); do # behind the first checkpoint at the latest
    refused "a device lost at some time" "rank 1 on .* was lost .*all ranks end" "${launcher[@]}" -n 1 "$first/trivium" "${pretrain[@]}" --out "runs/lost-$i" \
        : -n 1 env TRIVIUM_INJECT_DEVICE_LOST=$((40 + RANDOM % 60)) "$first/trivium" "${pretrain[@]}" --out "runs/lost-$i"
    [ ! -e "runs/lost-$i/checkpoints/last" ] || { sleep 2 && goes_on "lost-$i"; } # mpirun is gone before its ranks
done
begin interrupted
kill -USR1 "$launched"
ended "SIGUSR1"
says "SIGUSR1 saves" "which is saved; continue with"
goes_on interrupted
cd ../../..
finish
