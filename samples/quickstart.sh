#!/usr/bin/env bash
# From a bare machine to a small language model: installs, builds, fetches real text, trains a tokenizer and a
# model, compares it with xz on text that it never saw, writes a report and prints a sample.
#
# usage: samples/quickstart.sh [--text FILE] [--out RUN] [--set key=value]...
#   --text FILE       train on this plain text instead of a fetched one
#   --out RUN         the run's folder (default: runs/quickstart)
#   --minutes N       train for about so long (default: 4); the number of steps comes from this machine's speed
#   --set key=value   handed on to 'trivium pretrain', e.g. --set train.steps=50
#
# Safe to run again: what is there is reused, an interrupted training goes on. Other text or settings start anew.
set -euo pipefail
cd "$(dirname "$0")/.."

text='' run=runs/quickstart minutes=4 settings=()
while [ $# -gt 0 ]; do
    case $1 in
    --text) text=${2:?--text wants a file} && shift 2 ;;
    --out) run=${2:?--out wants a folder} && shift 2 ;;
    --minutes) minutes=${2:?--minutes wants a number} && shift 2 ;;
    --set) settings+=(--set "${2:?--set wants key=value}") && shift 2 ;;
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" | sed '/^set /d' && exit 0 ;;
    *) echo "quickstart: unknown option '$1' (try --help)" >&2 && exit 2 ;;
    esac
done

trivium=build/bin/trivium
config=samples/pretrain/config.json
held_out_bytes=32768
vocab=1024 # as in $config
log=build/quickstart.log
mkdir -p build

say() { printf '[%4d s] %s\n' $SECONDS "$*"; }

# step WHAT HOW-TO-GO-ON COMMAND...: runs it quietly; where it fails, says what failed and what to do.
step() {
    local what=$1 cure=$2 status=0
    shift 2
    "$@" >$log 2>&1 || status=$?
    if [ $status != 0 ]; then
        tail -n 20 $log >&2
        echo "quickstart: $what failed (exit $status): $*" >&2
        echo "quickstart: $cure; then run this again, it goes on from here" >&2
        exit 1
    fi
}

number() { # KEY: its number in the last line of the log
    tail -n 1 $log | sed -n "s/.*\"$1\": *\([-+0-9.eE]*\).*/\1/p"
}

# ---- install, build ----

tools/setup.sh || {
    echo "quickstart: the set-up stopped; do what it says above, then run this again" >&2
    exit 1
}
say "set up"
step "configuring" "look at the first error above" cmake --preset release
step "building" "look at the first error above" cmake --build build -j "$(nproc)"
say "built $trivium"
step "looking for a device" "see '$trivium devices' for what was found and why it was refused" $trivium devices
say "devices:"
cat $log

# ---- text: the last bytes are set aside before anything, the tokenizer included, sees the rest ----

[ -n "$text" ] || {
    text=$(samples/texts.sh) || exit 1
}
[ -r "$text" ] || { echo "quickstart: cannot read the text '$text'" >&2 && exit 2; }
bytes=$(wc -c <"$text")
[ "$bytes" -ge 500000 ] || {
    echo "quickstart: '$text' has $bytes bytes; at least 500000 are needed to train on" >&2
    exit 2
}
work=data/quickstart
inputs=$(cat "$text" $config | sha256sum)" ${settings[*]:-}"
if [ -e "$run" ] && [ "$inputs" != "$(cat "$run.inputs" 2>/dev/null || true)" ]; then
    # Only the default folder is the quickstart's own to clear.
    [ "$run" = runs/quickstart ] || {
        echo "quickstart: $run holds another run; name a new folder with --out, or remove it" >&2
        exit 2
    }
    rm -rf "$run"
fi
if [ "$inputs" != "$(cat $work/inputs 2>/dev/null || true)" ]; then
    rm -rf $work
    mkdir -p $work
    head -c -$held_out_bytes "$text" >$work/train.txt
    tail -c $held_out_bytes "$text" >$work/heldout.txt
    echo "$inputs" >$work/inputs
fi
say "text: $text, $bytes bytes; the last $held_out_bytes are held out"

if [ ! -e $work/packed ]; then
    step "training the tokenizer" "see the message above" \
        $trivium tokenizer train --input $work/train.txt --vocab-size $vocab --out $work/tokenizer
    step "packing the text" "see the message above" \
        $trivium data pack --tokenizer $work/tokenizer --input $work/train.txt --out $work/text --val-fraction 0.01
    touch $work/packed
fi
say "tokenizer of $vocab tokens and token shards: $work"

# ---- train ----

if [ ! -e "$run/finished" ]; then
    mkdir -p "$(dirname "$run")" && cp $work/inputs "$run.inputs"
    status=0
    if [ -e "$run/checkpoints/last" ]; then
        $trivium pretrain --out "$run" --resume || status=$?
    else
        # At most three passes over the text: the model learns nothing new from more.
        step "measuring the speed" "see the message above" \
            $trivium bench train --config $config --steps 3 --json --quiet
        steps=$(LC_ALL=C awk -v speed="$(number tokens_per_second)" -v minutes="$minutes" -v bytes="$bytes" 'BEGIN {
            steps = speed * minutes * 60 / (8 * 128)
            most = 3 * bytes / 2.8 / (8 * 128)
            steps = steps > most ? most : steps
            print int(steps < 200 ? 200 : steps)
        }')
        say "training for $steps steps at about $(number tokens_per_second | cut -d. -f1) tokens/s"
        rm -rf "$run"
        $trivium pretrain --config $config --out "$run" --set "train.steps=$steps" "${settings[@]}" || status=$?
    fi
    case $status in
    0) touch "$run/finished" ;;
    130) echo "quickstart: interrupted; run this again to go on from the last checkpoint" >&2 && exit 130 ;;
    *)
        echo "quickstart: training failed (exit $status); its message is above, its log in $run/metrics.jsonl" >&2
        exit 1
        ;;
    esac
fi
model=$run/checkpoints/best
say "trained: $model"

# ---- bits per byte of the held-out text, beside xz on the same bytes ----

step "evaluating" "see the message above" $trivium eval --model "$model" --data $work/heldout.txt --json
xz_bytes=$(xz -9 -c $work/heldout.txt | wc -c)
# The first token, which nothing predicts, is in there as if nothing were known of it.
LC_ALL=C awk -v ours="$(number bits_per_byte)" -v bytes=$held_out_bytes -v xz_bytes="$xz_bytes" 'BEGIN {
        printf "         bits per byte of the %d held-out bytes: model %.3f, xz -9 %.3f\n", bytes, ours, xz_bytes * 8 / bytes
        exit !(ours > 0 && ours < xz_bytes * 8 / bytes)
    }' || say "the model did not beat xz -9: train longer (--set train.steps=N)"
say "compared with xz"

if [ ! -e "$run/samples.jsonl" ]; then
    for prompt in "It was " "She said " "The "; do
        step "generating" "see the message above" $trivium generate --model "$model" --prompt "$prompt" \
            --max-tokens 100 --temperature 0.8 --top-k 40 --seed 1 --json --quiet
        tail -n 1 $log | sed "s/^{/{\"prompt\":\"$prompt\",/" >>"$run/samples.jsonl"
    done
fi
step "the report" "see the message above" $trivium report "$run" --out "$run/report.html"
say "report: $run/report.html"

echo
step "generating" "see the message above" \
    $trivium generate --model "$model" --prompt "It was " --max-tokens 100 --temperature 0.8 --top-k 40 --seed 1 --quiet
cat $log
echo
echo
say "done. Talk to it: $trivium generate --model $model --prompt 'She said '"
