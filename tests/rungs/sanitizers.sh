#!/usr/bin/env bash
# AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer over the tests that need no device and over the
# small ones that do. Needs: the asan-ubsan preset. The driver's own leaks are named in lsan.supp.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh
build asan-ubsan
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:fast_unwind_on_malloc=0
export LSAN_OPTIONS=suppressions=$PWD/tests/rungs/lsan.supp:print_suppressions=0
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
run_ctest build-asan-ubsan -LE slow "$@"
finish
