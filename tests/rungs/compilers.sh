#!/usr/bin/env bash
# The tree compiles without a warning with GCC at full optimisation, which sees more than the build that the tests
# run. Of its programs only the command is linked; the rung fuzz does the same with Clang.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh
build release trivium_spirv
if cmake -S . -B "$work/gcc" -G Ninja -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Release -DTRIVIUM_WERROR=ON "$same_shaders" \
    >"$work/gcc.log" 2>&1 && mapfile -t objects < <(objects_of "$work/gcc") && [ ${#objects[@]} -gt 0 ] &&
    ninja -C "$work/gcc" -j "$jobs" -k 0 trivium_command "${objects[@]}" >>"$work/gcc.log" 2>&1; then
    say "compiled ${#objects[@]} files"
    passed=1
else
    grep -v '^\[[0-9]*/[0-9]*\] ' "$work/gcc.log" | tail -n 60
    fail_rung "see $work/gcc.log"
fi
finish
