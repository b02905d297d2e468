#!/usr/bin/env bash
# A sharded model of 3 GB of random weights goes to the device while the process holds less than 512 MB beside the
# device's bytes. ctest does it with 56 MB (tests/formats/test_load.c). Needs 4 GB under TMPDIR and 8 GB of memory.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh
export TRIVIUM_LOAD_BYTES=${TRIVIUM_LOAD_BYTES:-3000000000}
disk=$(df --output=avail -B1 "${TMPDIR:-/tmp}" | tail -n 1)
memory=$(awk '/^MemAvailable:/ { printf "%.0f", $2 * 1024 }' /proc/meminfo)
[ "$disk" -gt $((TRIVIUM_LOAD_BYTES + 1000000000)) ] || skip_rung "${TMPDIR:-/tmp} has $disk bytes free"
[ "$memory" -gt $((2 * TRIVIUM_LOAD_BYTES + 2000000000)) ] || skip_rung "$memory bytes of memory are free"
build release test_formats_load
run_ctest build -V -R '^formats/load$' "$@"
finish
