#!/usr/bin/env bash
# The tree builds without a warning with GCC at full optimisation, which sees more than the build that the tests
# run. Builds only; the rung fuzz does the same with Clang.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh
if cmake -S . -B "$work/gcc" -G Ninja -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Release -DTRIVIUM_WERROR=ON >"$work/gcc.log" 2>&1 &&
    cmake --build "$work/gcc" -j "$jobs" -- -k 0 >>"$work/gcc.log" 2>&1; then
    passed=1
else
    grep -v '^\[[0-9]*/[0-9]*\] ' "$work/gcc.log" | tail -n 60
    fail_rung "see $work/gcc.log"
fi
finish
