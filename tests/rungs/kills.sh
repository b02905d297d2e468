#!/usr/bin/env bash
# 100 times kill -9 of a running pretraining, and 34 times of a running PPO, half of them inside the writing of a checkpoint, and the same bits in
# the end. ctest does it a dozen times (tests/faults/test_kill.c).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh
build release test_faults_kill trivium_command
export TRIVIUM_KILLS=${TRIVIUM_KILLS:-100}
run_ctest build -R '^faults/kill$' "$@"
finish
