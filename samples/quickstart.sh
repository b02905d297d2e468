#!/usr/bin/env bash
# From a bare machine to a language model that went through all three stages: installs, builds, fetches real text,
# pretrains, fine-tunes on prompts and ideal answers cut from it, samples answers, has them ranked, trains a
# reward model on the rankings, learns to please it by reinforcement learning, and measures what came of it on
# prompts that no stage saw. Ends with a report.
#
# usage: samples/quickstart.sh [--text FILE] [--out RUN] [--minutes N] [--people] [--set key=value]...
#   --text FILE       train on this plain text instead of a fetched one
#   --out RUN         the folder of the runs (default: runs/quickstart)
#   --minutes N       let the stages take about so long together (default: 10, on a GPU 20); the numbers of steps come
#                     from this machine's speed
#   --people          you and others rank, in a browser, in place of the simulated annotators
#   --profile NAME    small or large (default: large where the device is a GPU)
#   --set key=value   handed on to 'trivium pretrain', e.g. --set train.steps=50
#
# Without --people the annotators are simulated: a program ranks by how positive words are. Safe to run again: what is
# there is reused, an interrupted stage goes on. Other text or settings start anew.
set -euo pipefail
cd "$(dirname "$0")/.."

text='' run=runs/quickstart minutes='' people='' profile='' settings=()
while [ $# -gt 0 ]; do
    case $1 in
    --text) text=${2:?--text wants a file} && shift 2 ;;
    --out) run=${2:?--out wants a folder} && shift 2 ;;
    --minutes) minutes=${2:?--minutes wants a number} && shift 2 ;;
    --people) people=yes && shift ;;
    --profile) profile=${2:?--profile wants small or large} && shift 2 ;;
    --set) settings+=(--set "${2:?--set wants key=value}") && shift 2 ;;
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" | sed '/^set /d' && exit 0 ;;
    *) echo "quickstart: unknown option '$1' (try --help)" >&2 && exit 2 ;;
    esac
done

trivium=build/bin/trivium
measure=samples/quickstart/measure.pl
lexicon=data/vader.txt
log=build/quickstart.log
run=${run%/}
work=$run/data       # what the stages read
results=$run/results # what each step said, one JSON line a file
mkdir -p build

say() { printf '[%4d s] %s\n' $SECONDS "$*"; }

# step WHAT COMMAND...: runs it quietly; where it fails, says what failed and what to do.
step() {
    local what=$1 status=0
    shift
    "$@" >$log 2>$log.err || status=$?
    if [ $status = 130 ]; then
        echo "quickstart: interrupted; run this again to go on" >&2
        exit 130
    elif [ $status != 0 ]; then
        tail -n 20 $log $log.err >&2
        echo "quickstart: $what failed (exit $status): $*" >&2
        echo "quickstart: see the message above; then run this again, it goes on from here" >&2
        exit 1
    fi
}

# result NAME WHAT COMMAND...: a step whose last line is JSON; kept, and not done twice.
result() {
    local file=$results/$1.json
    [ ! -e "$file" ] || return 0
    step "${@:2}"
    tail -n 1 $log >"$file.new" && mv "$file.new" "$file"
}

number() { # KEY FILE: its number
    sed -n "s/.*\"$1\": *\([-+0-9.eE]*\).*/\1/p" "$2"
}

percent() { LC_ALL=C awk -v share="$1" 'BEGIN { printf "%.1f %%", 100 * share }'; }

# stage NAME COMMAND...: a training run in $run/NAME, begun, gone on with or passed over.
stage() {
    local name=$1 dir=$run/$1 status=0
    shift
    if [ ! -e "$dir/finished" ]; then
        if [ -e "$dir/checkpoints/last" ]; then
            $trivium "$1" --out "$dir" --resume || status=$?
        else
            rm -rf "$dir"
            $trivium "$@" --out "$dir" || status=$?
        fi
        case $status in
        0) touch "$dir/finished" ;;
        130) echo "quickstart: interrupted; run this again to go on from the last checkpoint" >&2 && exit 130 ;;
        *)
            echo "quickstart: $name failed (exit $status); its message is above, its log in $dir/metrics.jsonl" >&2
            exit 1
            ;;
        esac
    fi
    say "$name: $dir"
}

# ---- install, build ----

tools/setup.sh --samples || {
    echo "quickstart: the set-up stopped; do what it says above, then run this again" >&2
    exit 1
}
say "set up"
step "configuring" cmake --preset release
step "building" cmake --build build -j "$(nproc)" --target trivium_command
say "built $trivium"
step "looking for a device ('$trivium devices' says why one was refused)" $trivium devices
say "devices:"
cat $log

# ---- the profile: what a device is good for ----

step "looking for a device" $trivium devices --json
if [ -z "$profile" ]; then
    profile=large
    ! grep -q '"type": *"CPU"[^{}]*"default": *true' $log || profile=small
fi
configs=(samples/pretrain/config.json samples/sft/config.json samples/reward/config.json samples/ppo/config.json)
case $profile in
small)
    vocab=2048 length=128 batch=8 pretrain_most=1200 examples=3000 prompts=3000 answer_tokens=40 minutes=${minutes:-10}
    larger=() sft_more=() ppo_more=()
    # Few groups at a time, of about one length: little padding, and a processor is filled by them.
    reward_more=(--set train.lr=1e-3 --set train.batch_size=4 --set train.grad_accum=4)
    ;;
large)
    vocab=8192 length=256 batch=32 pretrain_most=4000 examples=4000 prompts=4000 answer_tokens=48 minutes=${minutes:-20}
    larger=(--set model.n_embd=384 --set model.n_layer=6 --set model.n_head=6 --set "model.n_positions=$length")
    larger+=(--set "model.vocab_size=$vocab" --set "data.seq_len=$length" --set "train.batch_size=$batch" --set train.lr=1e-3)
    # Larger models want smaller steps.
    sft_more=(--set train.lr=5e-4 --set train.min_lr=5e-5)
    reward_more=(--set train.lr=3e-4 --set train.batch_size=16)
    ppo_more=(--set train.lr=1e-4)
    ;;
*) echo "quickstart: expected --profile small or large, found '$profile'" >&2 && exit 2 ;;
esac
# How far a simulated annotator strays from the lexicon: so far that two of them agree about 75 % of the time.
noise=1.75

# ---- text: prompts, ideal answers, and an end that no stage sees ----

[ -n "$text" ] || {
    text=$(samples/texts.sh) || exit 1
}
[ -r "$text" ] || { echo "quickstart: cannot read the text '$text'" >&2 && exit 2; }
bytes=$(wc -c <"$text")
[ "$bytes" -ge 1000000 ] || {
    echo "quickstart: '$text' has $bytes bytes; at least 1000000 are needed to train on" >&2
    exit 2
}
samples/texts.sh vader >/dev/null || exit 1
inputs=$(cat "$text" "${configs[@]}" samples/quickstart/*.p[lm] samples/annotator/simulated.pl | sha256sum)
inputs+=" $profile $minutes ${people:-simulated} ${settings[*]:-}"
if [ -e "$run" ] && [ "$inputs" != "$(cat "$run/inputs" 2>/dev/null || true)" ]; then
    # Only the default folder is the quickstart's own to clear.
    [ "$run" = runs/quickstart ] || {
        echo "quickstart: $run holds other runs; name a new folder with --out, or remove it" >&2
        exit 2
    }
    rm -rf "$run"
fi
mkdir -p "$work" "$results"
echo "$inputs" >"$run/inputs"

if [ ! -e "$work/packed" ]; then
    result answers "cutting prompts and answers" samples/quickstart/answers.pl --text "$text" --out "$work" \
        --examples "$examples" --prompts "$prompts" --tests 200
    step "training the tokenizer" \
        $trivium tokenizer train --input "$work/train.txt" --vocab-size "$vocab" --out "$work/tokenizer"
    step "packing the text" \
        $trivium data pack --tokenizer "$work/tokenizer" --input "$work/train.txt" --out "$work/text" --val-fraction 0.01
    touch "$work/packed"
fi
say "text: $text, $bytes bytes; prompts and answers: $(cat "$results/answers.json")"

# ---- how much of each stage fits into the time: a training step's speed decides ----

# Two measurements, the second with warm shader caches; ten steps each. What the other stages take is counted in tokens of pretraining
# that take as long. A ranked prompt: its answers of some 24 tokens are drawn, and read in two rankings, of which a quarter
# are all ties, 1.5 times. Of fixed size: an example of three epochs of fine-tuning, an answer of PPO that four models read and
# two learn from twice.
base_settings=(--config "${configs[0]}" "${larger[@]}" --set "data.tokenizer=$work/tokenizer"
    --set "data.train=[\"$work/text_train.bin\"]" --set "data.val=[\"$work/text_val.bin\"]")
result warm "warming up" $trivium bench train "${base_settings[@]}" "${settings[@]}" --steps 1 --warmup 1 --json --quiet
result speed "measuring the speed" $trivium bench train "${base_settings[@]}" "${settings[@]}" --steps 1 --warmup 1 --json --quiet
speed=$(number tokens_per_second "$results/speed.json")
ppo_length=$((answer_tokens + 16)) # nearly all prompts have at most 16 tokens
fixed=$((70 * examples + 24 * 64 * 4 * ppo_length))
plan() { # SHARE COST LEAST MOST: how many things of COST tokens fit into that share of the time
    LC_ALL=C awk -v speed="$speed" -v minutes="$minutes" -v fixed="$fixed" -v share="$1" -v cost="$2" -v least="$3" -v most="$4" 'BEGIN {
        n = int((speed * minutes * 60 - fixed) * share / cost)
        print (n < least ? least : (n > most ? most : n))
    }'
}
pretrain_steps=$(plan 0.4 $((batch * length)) 250 "$pretrain_most")
ranked_prompts=$(plan 0.6 $((12 * ppo_length)) 1200 "$(wc -l <"$work/prompts.jsonl")")
say "${speed%%.*} tokens/s: $pretrain_steps steps of pretraining, $ranked_prompts prompts to rank"

# ---- stage 1 ----

stage pretrain pretrain "${base_settings[@]}" --set "train.steps=$pretrain_steps" "${settings[@]}"
base=$run/pretrain/checkpoints/best
tail -c 32768 "$work/heldout.txt" >"$work/tail.txt"
result bits "evaluating" $trivium eval --model "$base" --data "$work/tail.txt" --json
xz_bytes=$(xz -9 -c "$work/tail.txt" | wc -c)
xz_bits=$(LC_ALL=C awk -v bytes="$xz_bytes" 'BEGIN { printf "%.3f", bytes * 8 / 32768 }')
# The first token, which nothing predicts, is in there as if nothing were known of it.
LC_ALL=C awk -v ours="$(number bits_per_byte "$results/bits.json")" -v xz="$xz_bits" 'BEGIN {
        printf "         bits per byte of the 32768 held-out bytes: model %.3f, xz -9 %.3f\n", ours, xz
        exit !(ours > 0 && ours < xz)
    }' || say "the model did not beat xz -9: train longer (--minutes N)"

# ---- stage 2 ----

stage sft sft --config "${configs[1]}" "${sft_more[@]}" --model "$base" --data "$work/sft.jsonl" --val "$work/sft_val.jsonl"
tuned=$run/sft/checkpoints/best

# answers NAME MODEL: what the model answers to the prompts that no stage saw, and how many follow the form.
answers() {
    result "sample_$1" "sampling" $trivium sample --model "$2" --prompts "$work/test_prompts.jsonl" -k 1 \
        --max-tokens "$answer_tokens" --temperature 0.9 --seed 7 --out "$run/answers_$1.jsonl" --json --quiet
    result "form_$1" "checking the form" $measure form "$run/answers_$1.jsonl"
    say "$1: $(percent "$(number share "$results/form_$1.json")") of the answers follow the form"
}
answers base "$base"
answers tuned "$tuned"

# ---- stage 3: sample, rank, train on what was preferred ----

head -n "$ranked_prompts" "$work/prompts.jsonl" >"$work/ranked_prompts.jsonl"
result sample "sampling answers to rank" $trivium sample --model "$tuned" --prompts "$work/ranked_prompts.jsonl" -k 6 \
    --max-tokens "$answer_tokens" --temperature 0.9 --seed 5 --out "$run/candidates.jsonl" --json --quiet
say "six answers to each of $ranked_prompts prompts: $run/candidates.jsonl"

judge="samples/annotator/simulated.pl --lexicon $lexicon"
if [ -n "$people" ]; then
    if [ ! -e "$run/ranked" ]; then
        say "open the page, rank as many as you like (some hundreds teach a reward model something), then press Ctrl-C here once"
        $trivium rank --candidates "$run/candidates.jsonl" --out "$run/rankings.jsonl" --web || [ $? = 130 ]
        [ -s "$run/rankings.jsonl" ] || { echo "quickstart: nothing was ranked; run this again to go on from here" >&2 && exit 1; }
        touch "$run/ranked"
    fi
else
    for seed in 1 2; do
        result "rank_$seed" "ranking" $trivium rank --candidates "$run/candidates.jsonl" --out "$run/rankings.jsonl" \
            --judge "$judge --noise $noise --seed $seed" --annotator "simulated-$seed" --overlap 1 --json --quiet
    done
fi
result prefs "making preference data" $trivium prefs --rankings "$run/rankings.jsonl" --out "$run/prefs.jsonl" --listwise \
    --val-fraction 0.1 --agreement --json --quiet
result agreement "measuring agreement" $measure agreement "$run/rankings.jsonl"
say "ranked: annotators agree on $(percent "$(number share "$results/agreement.json")") of the pairs that both put in an order"

stage reward reward --config "${configs[2]}" "${reward_more[@]}" --set data.val_fraction=0 --set reward.loss=kwise \
    --set train.min_lr=1e-4 --set train.epochs=1.5 --set train.warmup_steps=20 --set train.eval_every=100 \
    --set "data.seq_len=$ppo_length" --model "$tuned" --data "$run/prefs.jsonl" --val "$run/prefs_val.jsonl"
reward=$run/reward/checkpoints/last
result score "scoring held-out pairs" $trivium score --model "$reward" --data "$run/prefs_val.jsonl" --json --quiet
say "reward model: orders $(percent "$(number accuracy "$results/score.json")") of the held-out pairs as their annotator did"

stage ppo ppo --config "${configs[3]}" "${ppo_more[@]}" --model "$tuned" --reward "$reward" --prompts "$work/prompts.jsonl" \
    --set "ppo.max_new_tokens=$answer_tokens"
aligned=$run/ppo/checkpoints/last

# ---- what came of it, on prompts that no stage saw ----

answers aligned "$aligned"
if [ ! -e "$run/comparison.jsonl" ]; then
    $measure pair "$run/answers_tuned.jsonl" "$run/answers_aligned.jsonl" >"$run/comparison.jsonl.new"
    mv "$run/comparison.jsonl.new" "$run/comparison.jsonl"
fi
result compare "comparing" $trivium rank --candidates "$run/comparison.jsonl" --out "$run/compared.jsonl" \
    --judge "$judge --noise 0" --annotator simulated-without-noise --json --quiet
result wins "counting wins" $measure wins "$run/compared.jsonl"
result bigrams_tuned "counting bigrams" $measure bigrams "$run/answers_tuned.jsonl"
result bigrams_aligned "counting bigrams" $measure bigrams "$run/answers_aligned.jsonl"
# One iteration at learning rate 0: the metrics are those of the policy as it is.
stage held_out ppo --config "${configs[3]}" --model "$aligned" --ref "$tuned" --reward "$reward" \
    --prompts "$work/test_prompts.jsonl" --set "ppo.max_new_tokens=$answer_tokens" --set ppo.iterations=1 \
    --set "ppo.prompts=$(wc -l <"$work/test_prompts.jsonl")" --set ppo.epochs=1 --set train.lr=0 --set train.min_lr=0 --quiet

samples/quickstart/describe.pl --run "$run" --text "$text" --xz "$xz_bits" ${people:+--people yes} >"$run/pipeline.json.new"
mv "$run/pipeline.json.new" "$run/pipeline.json"
step "the report" $trivium report "$run/pretrain" "$run/sft" "$run/reward" "$run/ppo" --pipeline "$run/pipeline.json" \
    --out "$run/report.html"
echo
samples/quickstart/describe.pl --run "$run" --summary yes ||
    say "a bound was missed: give it more time (--minutes N)${people:+, or rank more}"
say "done; the report: $run/report.html"
say "talk to it: $trivium generate --model $aligned --prompt 'It was a'"
