#!/usr/bin/env bash
# The judge of the rung drivers (tests/drivers/statistics.pl) on two kernels of a made-up device: what is worse by more
# than a tenth fails, what is better passes and is said, and so on, each rule broken once.
#
# usage: tests/check_statistics.sh
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/results" "$folder/reference"
cat >"$folder/document.md" <<'END'
Before.
<!-- drivers: written by tests/rungs/drivers.sh --write, not by hand -->
<!-- drivers: end -->
After.
END

results() { # SED-EXPRESSION, over what a run printed
    sed "$1" <<'END' | tr -d '\n' >"$folder/results/toy.all.json"
{"device": "Toy", "driver": "toy 1", "pipelines": [
{"kernel": "matmul.nn", "constants": [], "chosen": false, "registers": 40, "spills": 0, "scratch_bytes": 0, "subgroups": 16, "instructions": 800, "cycles": 1000},
{"kernel": "norm.rms", "constants": [256, 1], "chosen": true, "registers": 20, "spills": 0, "instructions": 300},
{"kernel": "norm.rms", "constants": [64, 1], "chosen": false, "spills": 9}],
"recorded": [{"step": "decoding", "dispatches": 20, "command_buffers": 1, "barriers": 10}]}
END
}
statistics() { # MODE [REASON]
    tests/drivers/statistics.pl "$1" "$folder/results" "$folder/reference" "$folder/document.md" "${@:2}" >"$folder/said" 2>&1
}
expect() { # WHAT STATUS "TEXT THAT IS SAID" MODE [REASON]
    local status=0
    statistics "${@:4}" || status=$?
    if [ "$status" != "$2" ] || ! grep -qF "$3" "$folder/said"; then
        echo "check_statistics: $1: expected exit $2 and \"$3\", found exit $status and:" >&2
        cat "$folder/said" >&2
        exit 1
    fi
}

results ''
expect 'without a reference' 1 'not in the reference' check
expect 'without a reason' 2 'a reason is missing' write
expect 'writing' 0 '1 devices, 2 pipelines, 0 findings' write 'the first figures'
grep -qF '| toy | toy 1 | 2 | 40 | 0 | 16 |' "$folder/document.md"
grep -q 'the first figures' "$folder/document.md"
[ "$(head -n 1 "$folder/document.md") $(tail -n 1 "$folder/document.md")" = 'Before. After.' ]
expect 'the same again' 0 '0 findings' check

results 's/"cycles": 1000/"cycles": 1100/'
expect 'a tenth' 0 '0 findings' check
results 's/"cycles": 1000/"cycles": 1101/'
expect 'more than a tenth' 1 'matmul.nn: cycles 1000 -> 1101 (+10 %)' check
results 's/"instructions": 300/"instructions": 340/'
expect 'instructions where cycles are not told' 1 'norm.rms 256,1: instructions 300 -> 340' check
results 's/"subgroups": 16/"subgroups": 14/'
expect 'fewer subgroups' 1 'matmul.nn: subgroups 16 -> 14' check
results 's/"registers": 20/"registers": 24/'
expect 'registers where subgroups are not told' 1 'norm.rms 256,1: registers 20 -> 24' check
results 's/"registers": 40/"registers": 80/; s/"instructions": 800/"instructions": 1600/'
expect 'registers and instructions where the better measures are told' 0 '0 findings' check
results 's/"dispatches": 20/"dispatches": 23/'
expect 'more dispatches' 1 'all, decoding: dispatches 20 -> 23' check
results 's/"cycles": 1000/"cycles": 500/'
expect 'better' 0 'better by more than a tenth:' check
results 's/"scratch_bytes": 0/"scratch_bytes": 4/'
expect 'scratch' 1 'matmul.nn: scratch_bytes 4' check
expect 'scratch when writing' 1 'matmul.nn: scratch_bytes 4' write 'it spills'
results 's/"spills": 0, "instructions"/"spills": 2, "instructions"/'
expect 'spills' 1 'norm.rms 256,1: spills 2' check
printf 'to*\tnorm.*\tspills\tthe toy spills whatever one does\n' >"$folder/reference/known.tsv"
expect 'a known spill' 0 '1 known: the toy spills whatever one does' check
results 's/"toy 1"/"toy 2"/; s/"cycles": 1000/"cycles": 2000/'
expect 'worse by another driver' 0 'matmul.nn: cycles 1000 -> 2000' check
results 's/norm.rms/norm.layer/'
expect 'a new one' 1 'not in the reference:' check
expect 'one that is gone' 1 'in the reference and not made any more:' check
results ''
expect 'writing again' 0 '0 findings' write 'nothing is new'
grep -q 'the first figures' "$folder/document.md"
sed -i 's/| 40 |/| 30 |/' "$folder/document.md"
expect 'a table that was edited' 1 'the table is not the reference' check
echo '[]' >"$folder/results/toy.all.json"
expect 'no result' 2 'found no such object' check
rm "$folder/results/toy.all.json"
expect 'no results' 2 'found none' check
echo 'check_statistics: every rule holds'
