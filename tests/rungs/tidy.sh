#!/usr/bin/env bash
# clang-tidy (.clang-tidy says which checks) finds nothing in our C files.
# Needs: clang-tidy 14 (tools/setup.sh --lint installs it) and the release build's compile_commands.json.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh --lint
tool=$(command -v run-clang-tidy-14 || true)
[ -n "$tool" ] || skip_rung "clang-tidy-14 is not installed"
build release # generated headers too
[ -f build/compile_commands.json ] || fail_rung "build/compile_commands.json is missing (CMAKE_EXPORT_COMPILE_COMMANDS)"

# In tests the path analyzer stays off: it does not know that cmocka's assertions do not return.
{
    "$tool" -p build -j "$jobs" -quiet "^$PWD/(runtime|tools|samples)/.*\.c$" || true
    "$tool" -p build -j "$jobs" -quiet -checks='-clang-analyzer-*' "^$PWD/tests/.*\.c$" || true
} 2>&1 | sed 's/\x1b\[[0-9;]*m//g' >"$work/out"
# One line per file, then its findings; gcc's own warning options are unknown to clang and harmless.
units=$(grep -cE '^(/usr/[^ ]*)?clang-tidy(-14)? ' "$work/out" || true)
findings=$(grep -cE '(warning|error): ' "$work/out" || true)
[ "$units" -gt 0 ] || fail_rung "clang-tidy looked at no file; see $work/out"
grep -E -A 4 '(warning|error): ' "$work/out" | head -n 120 || true
failed=$findings
[ "$failed" != 0 ] || passed=1
say "looked at $units files"
finish
