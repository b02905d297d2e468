#!/usr/bin/env bash
# The quickstart as a newcomer runs it: within ten minutes, its model beats xz -9 on bytes that it never saw, and it
# leaves a report and a sample of text. Needs: what samples/texts.sh needs to fetch a text.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

samples/texts.sh >"$work/text.log" 2>&1 || skip_rung "no text can be fetched here: $(tail -n 1 "$work/text.log")"
run=runs/quickstart-rung
rm -rf $run
status=0
samples/quickstart.sh --out $run "$@" 2>&1 | tee "$work/out" || status=$?
[ $status = 0 ] || fail_rung "samples/quickstart.sh ended with $status"
[ $SECONDS -le 600 ] || fail_rung "it took $SECONDS s; 600 are promised"

figures=$(sed -n 's/.*held-out bytes: model \([0-9.]*\), xz -9 \([0-9.]*\)$/\1 \2/p' "$work/out")
read -r model xz <<<"${figures:-0 0}"
awk -v model="$model" -v xz="$xz" 'BEGIN { exit !(model > 0.5 && model < xz) }' ||
    fail_rung "bits per byte: model '$model', xz '$xz'; the model should be the smaller"
passed=$((passed + 1))
grep -q '<svg' $run/report.html || fail_rung "$run/report.html holds no curve"
passed=$((passed + 1))
begin=$SECONDS
samples/quickstart.sh --out $run "$@" >"$work/again" 2>&1 || fail_rung "a second run ended with $? (see $work/again)"
[ $((SECONDS - begin)) -le 60 ] || fail_rung "a second run, with everything there, took $((SECONDS - begin)) s"
passed=$((passed + 1))
finish
