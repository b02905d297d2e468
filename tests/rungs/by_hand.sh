#!/usr/bin/env bash
# README's "By hand" block as it stands, on a Debian 12 of its own, with a book, 300 answers and as many prompts; and what came of each
# stage, on prompts that none saw: the answers' form is followed, pairs are in order, the reward goes up. Then 500 short examples on
# the model that was pretrained there, without a setting: the held-out loss falls by 15 % at least, and 95 % of the answers end.
# The one who ranks, on the page, is tests/by_hand/person.pl. Needs: root, debootstrap, a mirror, 2 GB under build/roots, and what
# samples/texts.sh needs to fetch a text and the lexicon.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

patiently samples/texts.sh austen >"$work/text.log" 2>&1 || skip_rung "no text can be fetched here: $(tail -n 1 "$work/text.log")"
patiently samples/texts.sh vader >"$work/text.log" 2>&1 || skip_rung "no lexicon can be fetched here: $(tail -n 1 "$work/text.log")"
debian_root bookworm bookworm
# A copy of the bare one of other rungs: what README installs stays for the next run.
bare=$root root=$PWD/build/roots/by_hand
[ -e "$root.done" ] || { rm -rf "$root" && cp -a "$bare" "$root" && touch "$root.done"; }

# A clone, without anything that was built here; what earlier runs left is gone.
place=$root/root/trivium
rm -rf "$place" && mkdir -p "$place"
git ls-files | tar -c -T - | tar -x -C "$place"
judge="$PWD/samples/annotator/simulated.pl --lexicon $PWD/data/vader.txt"

# in_root COMMAND...: in the clone, with a /proc of its own that is gone with the command.
in_root() {
    # shellcheck disable=SC2016 # expanded by the inner shells
    unshare --mount bash -c 'mount -t proc proc "$0/proc" 2>/dev/null || true; exec chroot "$0" "$@"' "$root" \
        env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        bash -c 'cd /root/trivium && exec "$@"' bash "$@"
}

# ---- what a person brings: a book, answers, prompts ----

samples/quickstart/answers.pl --text data/austen.txt --out "$place" --examples 316 --prompts 300 --tests 200 >"$work/answers.log"
mv "$place/train.txt" "$place/book.txt"
mv "$place/sft.jsonl" "$place/answers.jsonl"
tests/by_hand/short_examples.pl --text data/austen.txt --out "$place" >>"$work/answers.log"

# ---- the block ----

awk '/^By hand/ { here = 1 } here && /^```/ { if (++fences == 2) exit; next } fences == 1' README.md >"$place/by-hand"
[ "$(grep -c '^build/bin/trivium' "$place/by-hand")" -ge 9 ] || fail_rung "README.md has no block of commands behind 'By hand'"
echo "She had no" >"$place/said" # to `chat`, the last command
rm -f "$work/block.log" "$work/person.log"
tests/by_hand/person.pl --log "$work/block.log" --judge "$judge --noise 1" --root "$root" >"$work/person.log" 2>&1 &
person=$!
status=0
# Every line must succeed, which a person would see.
in_root bash -e by-hand <"$place/said" >"$work/block.log" 2>&1 || status=$?
if [ $status != 0 ]; then
    kill $person 2>/dev/null || true
    ! out_of_reach "$work/block.log" || skip_rung "tools/setup.sh could not fetch what it installs: $(grep -m 1 '^E:' "$work/block.log")"
    tail -n 20 "$work/block.log" "$work/person.log"
    fail_rung "the block ended with $status (all of it in $work/block.log)"
fi
wait $person || fail_rung "the person at the page: $(tail -n 1 "$work/person.log")"
say "the block took $SECONDS s; $(tail -n 1 "$work/person.log")"
passed=$((passed + 1))

# ---- what came of it ----

trivium() { in_root build/bin/trivium "$@" >"$work/$1.log" 2>&1 || fail_rung "trivium $*: $(tail -n 1 "$work/$1.log")"; }
figure() { sed -n "s/.*\"$1\": *\([-+0-9.eE]*\).*/\1/p"; } # KEY: its number
form_of() { # RUN: the share of its answers that follow the form
    trivium sample --model "runs/$1" --prompts test_prompts.jsonl -k 1 --max-tokens 64 --seed 7 --out "form-$1.jsonl"
    samples/quickstart/measure.pl form "$place/form-$1.jsonl" | figure share
}
ranked() { # CANDIDATES RANKINGS: by the judge without noise
    build/bin/trivium rank --candidates "$place/$1" --out "$place/$2" --judge "$judge --noise 0" --annotator simulated --quiet
}
build release trivium_command
holds "the base model follows the form" "$(form_of base)" '<=' 0.3
holds "the fine-tuned model follows the form" "$(form_of sft)" '>=' 0.9
trivium sample --model runs/sft --prompts test_prompts.jsonl -k 4 --max-tokens 64 --seed 9 --out held.jsonl
ranked held.jsonl held_rankings.jsonl
trivium prefs --rankings held_rankings.jsonl --out held_prefs.jsonl
trivium score --model runs/reward --data held_prefs.jsonl --json
holds "the reward model orders pairs that it never saw" "$(figure accuracy <"$work/score.log")" '>=' 0.58
first=$(head -n 3 "$place/runs/ppo/metrics.jsonl" | figure 'objective\/score' | awk '{ sum += $1 } END { print sum / NR }')
last=$(tail -n 3 "$place/runs/ppo/metrics.jsonl" | figure 'objective\/score' | awk '{ sum += $1 } END { print sum / NR }')
holds "PPO's reward goes up, from $first" "$last" '>=' "$(awk -v first="$first" 'BEGIN { print first + 0.5 }')"
holds "KL per answer" "$(tail -n 1 "$place/runs/ppo/metrics.jsonl" | figure 'objective\/kl')" '<=' 20
holds "the aligned model follows the form" "$(form_of ppo)" '>=' 0.85
samples/quickstart/measure.pl pair "$place/form-sft.jsonl" "$place/form-ppo.jsonl" >"$place/both.jsonl"
ranked both.jsonl both_rankings.jsonl
holds "the aligned model wins against the fine-tuned one" \
    "$(samples/quickstart/measure.pl wins "$place/both_rankings.jsonl" | figure share)" '>=' 0.6

# ---- 500 short examples and no setting ----

# One step at learning rate 0: the held-out loss of the model as it is.
trivium sft --model runs/base --data short_val.jsonl --val short_val.jsonl --out runs/before --set train.lr=0 --set train.min_lr=0 \
    --set train.steps=1
before=$(figure val_loss <"$place/runs/before/metrics.jsonl")
trivium sft --model runs/base --data short.jsonl --val short_val.jsonl --out runs/short
holds "held-out loss after 500 short examples, from $before" "$(tail -n 1 "$place/runs/short/metrics.jsonl" | figure val_loss)" '<=' \
    "$(awk -v before="$before" 'BEGIN { print 0.85 * before }')"
trivium sample --model runs/short --prompts short_prompts.jsonl -k 4 --out short_answers.jsonl --json
holds "answers end by themselves" "$(tail -n 1 "$work/sample.log" |
    awk -v FS='[:,}]' '{ for (i = 1; i < NF; i++) { if ($i ~ /"responses"/) all = $(i + 1); if ($i ~ /"ended"/) ended = $(i + 1) } print ended / all }')" '>=' 0.95
say "all of it took $SECONDS s"
finish
