#!/usr/bin/env bash
# The tree builds without a warning with GCC at full optimisation, which sees more than the build that the tests
# run, and with Clang. Builds only. Needs: clang 14 for the second (tools/setup.sh --lint installs it).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

build_with() { # NAME COMPILER BUILD-TYPE
    local folder=$work/$1
    say "$1: $2, $3"
    if cmake -S . -B "$folder" -G Ninja -DCMAKE_C_COMPILER="$2" -DCMAKE_BUILD_TYPE="$3" \
        -DTRIVIUM_WERROR=ON >"$work/$1.log" 2>&1 &&
        cmake --build "$folder" -j "$jobs" -- -k 0 >>"$work/$1.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        grep -v '^\[[0-9]*/[0-9]*\] ' "$work/$1.log" | tail -n 60
        echo "FAILED $1: see $work/$1.log"
    fi
}

tools/setup.sh --lint
build_with gcc gcc Release
clang=$(command -v clang-14 || command -v clang || true)
if [ -n "$clang" ]; then
    build_with clang "$clang" RelWithDebInfo
else
    skipped=$((skipped + 1))
    echo "SKIPPED clang: it is not installed"
fi
finish
