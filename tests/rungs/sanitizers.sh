#!/usr/bin/env bash
# AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer over all tests but those of single kernels, whose
# host code the tests of models and training go through as well. Needs: the asan-ubsan preset. The driver's own leaks are named in lsan.supp.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh
build asan-ubsan
# The slow unwinder is no choice: it deadlocks with the registration of unwind tables by lavapipe's compiler.
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1
export LSAN_OPTIONS=suppressions=$PWD/tests/rungs/lsan.supp:print_suppressions=0
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TRIVIUM_TEST_ONCE=1 TRIVIUM_KILLS=1
# What is learned, the numbers of updates and the growth of memory are not judged here; stages/ppo and stages/grpo go the same way.
run_ctest build-asan-ubsan -LE 'slow|kernels' -E '^(stages/(planted|(ppo|grpo)_numbers)|faults/growth)$' "$@"
finish
