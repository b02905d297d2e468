#!/usr/bin/env bash
# Every shell script of the tree passes shellcheck. Needs: shellcheck (tools/setup.sh --lint installs it).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh --lint
command -v shellcheck >/dev/null || skip_rung "shellcheck is not installed"
while read -r script; do
    shellcheck "$script" || failed=$((failed + 1))
done < <(git ls-files '*.sh' .ci/run)
[ $failed != 0 ] || passed=1
finish
