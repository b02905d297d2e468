#!/usr/bin/env bash
# Every parser of outside bytes takes a short libFuzzer run from its corpus without a crash, a leak or undefined
# behaviour, one on each processor at a time; the whole tree compiles with Clang without a warning on the way.
# Needs: clang 14 (tools/setup.sh --lint installs it).
#
# usage: tests/rungs/fuzz.sh [SECONDS-PER-TARGET]     (default: 6)
# What breaks a parser is left in build/rungs/fuzz/crashes; add it to tests/fuzz/corpus with the fix.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

seconds=${1:-6}
tools/setup.sh --lint
clang=$(command -v clang-14 || command -v clang || true)
[ -n "$clang" ] || skip_rung "clang is not installed"
build release trivium_spirv
cmake -S . -B build-fuzz -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER="$clang" -DTRIVIUM_FUZZ=ON -DTRIVIUM_WERROR=ON \
    -DTRIVIUM_SANITIZE=address,undefined,fuzzer-no-link "$same_shaders" >"$work/configure.log" 2>&1 || {
    tail -n 30 "$work/configure.log"
    fail_rung "configuring with $clang"
}
names=()
for source in tests/fuzz/fuzz_*.c; do
    name=${source##*/fuzz_} && names+=("${name%.c}")
done
mapfile -t objects < <(objects_of build-fuzz)
[ ${#objects[@]} -gt 0 ] || fail_rung "build-fuzz knows no objects"
ninja -C build-fuzz -j "$jobs" "${objects[@]}" "${names[@]/#/fuzz_}" >"$work/build.log" 2>&1 || {
    grep -v '^\[[0-9]*/[0-9]*\] ' "$work/build.log" | tail -n 60
    fail_rung "building with $clang"
}
mkdir -p "$work/crashes"
fuzz() { # NAME
    mkdir -p "$work/found/$1"
    "build-fuzz/bin/fuzz_$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="$work/crashes/$1-" "$work/found/$1" "tests/fuzz/corpus/$1" >"$work/$1.log" 2>&1
    echo $? >"$work/$1.status"
}
for name in "${names[@]}"; do
    rm -f "$work/$name.status"
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
    fuzz "$name" &
done
wait
for name in "${names[@]}"; do
    if [ "$(cat "$work/$name.status" 2>/dev/null)" = 0 ]; then
        passed=$((passed + 1))
        say "$name: $(awk '/stat::number_of_executed_units/ { print $2 }' "$work/$name.log") inputs in $seconds s"
    else
        failed=$((failed + 1))
        grep -E 'ERROR|SUMMARY|runtime error|Test unit written' "$work/$name.log" | head -n 8
        echo "FAILED $name: see $work/$name.log"
    fi
done
finish
