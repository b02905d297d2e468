#!/usr/bin/env bash
# Every shell script of the tree passes shellcheck. Needs: shellcheck (tools/setup.sh --lint installs it).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh --lint
command -v shellcheck >/dev/null || skip_rung "shellcheck is not installed"
while read -r script; do
    if shellcheck "$script"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done < <(git ls-files '*.sh' .ci/run)
finish
