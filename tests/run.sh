#!/usr/bin/env bash
# Installs what is missing, builds, runs every test. Safe to run again; only what changed is built.
#
# usage: tests/run.sh [--preset NAME] [--filter REGEX]
#   --preset NAME   a preset of CMakePresets.json (default: release)
#   --filter REGEX  only the tests whose names match
#
# Closes with "N passed, N failed, N skipped"; exit code 0 only where tests ran and none failed.
# shellcheck source=rungs/lib.sh
. "$(dirname "$0")/rungs/lib.sh"

preset=release filter=.
while [ $# -gt 0 ]; do
    case $1 in
    --preset) preset=${2:?--preset wants a name} && shift 2 ;;
    --filter) filter=${2:?--filter wants a regular expression} && shift 2 ;;
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) echo "run.sh: unknown option '$1' (try --help)" >&2 && exit 2 ;;
    esac
done

tools/setup.sh --test
say "building (preset $preset)"
build "$preset"
run_ctest "$(build_folder "$preset")" -R "$filter"
finish
