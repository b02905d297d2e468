#!/usr/bin/env bash
# Every C file is as clang-format leaves it. Needs: clang-format 14 (tools/setup.sh --lint installs it); other
# versions lay some lines out differently.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh --lint
tool=$(command -v clang-format-14 || true)
[ -n "$tool" ] || skip_rung "clang-format-14 is not installed"
mapfile -t files < <(git ls-files '*.c' '*.h')
printf '%s\0' "${files[@]}" | xargs -0 -n 64 -P "$jobs" "$tool" --dry-run -Werror 2>"$work/out" || {
    mapfile -t wrong < <(sed -n 's/^\([^ :]*\):[0-9]*:[0-9]*: error: .*/\1/p' "$work/out" | sort -u)
    head -n 40 "$work/out"
    echo "FAILED: run clang-format-14 -i ${wrong[*]}"
    failed=$((${#wrong[@]} > 0 ? ${#wrong[@]} : 1))
}
[ $failed != 0 ] || passed=1
say "looked at ${#files[@]} files"
finish
