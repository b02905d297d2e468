#!/usr/bin/env bash
# Every C file is as clang-format leaves it. Needs: clang-format 14 (tools/setup.sh --lint installs it); other
# versions lay some lines out differently.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh --lint
tool=$(command -v clang-format-14 || true)
[ -n "$tool" ] || skip_rung "clang-format-14 is not installed"
mapfile -t files < <(git ls-files '*.c' '*.h')
for file in "${files[@]}"; do
    "$tool" --dry-run -Werror "$file" 2>"$work/out" || {
        failed=$((failed + 1))
        head -n 4 "$work/out"
        echo "FAILED $file: run clang-format-14 -i $file"
    }
done
[ $failed != 0 ] || passed=1
say "looked at ${#files[@]} files"
finish
