#!/usr/bin/env bash
# The web ranker in a real browser: keyboard, dragging, undo, reload, people at once, a killed server, Markdown, hostile
# texts; afterwards the file holds each judgment once. tests/browser/test_rank_page.py is the test.
# Needs: chromium, chromedriver and python3 (tools/setup.sh --browser installs them).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh --browser
for program in chromium chromedriver python3; do
    command -v $program >/dev/null || skip_rung "$program is not installed"
done
build release
status=0
python3 tests/browser/test_rank_page.py build/bin/trivium "$work" >"$work/test.log" 2>&1 || status=$?
grep -vE '^[0-9]+ passed' "$work/test.log" || true
read -r passed _ failed _ < <(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$work/test.log" | tail -n 1) || true
[ "$status" = 0 ] || [ "${failed:-0}" != 0 ] || fail_rung "tests/browser/test_rank_page.py ended with $status; see $work/test.log"
finish
