#!/usr/bin/env bash
# The web ranker and the report that follows runs, in a real browser. Ranking: keyboard, dragging, undo, reload, people at
# once, a killed server, Markdown, hostile texts; afterwards the file holds each judgment once. The report: new steps come
# by themselves, values under the pointer, what was opened stays. tests/browser/test_*_page.py are the tests.
# Needs: chromium, chromedriver and python3 (tools/setup.sh --browser installs them).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh --browser
for program in chromium chromedriver python3; do
    command -v $program >/dev/null || skip_rung "$program is not installed"
done
build release
passed=0 failed=0
for page in rank report; do
    status=0
    python3 "tests/browser/test_${page}_page.py" build/bin/trivium "$work/$page" >"$work/$page.log" 2>&1 || status=$?
    grep -vE '^[0-9]+ passed' "$work/$page.log" || true
    read -r page_passed _ page_failed _ < <(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$work/$page.log" | tail -n 1) || true
    [ "$status" = 0 ] || [ "${page_failed:-0}" != 0 ] ||
        fail_rung "tests/browser/test_${page}_page.py ended with $status; see $work/$page.log"
    passed=$((passed + ${page_passed:-0})) failed=$((failed + ${page_failed:-0}))
done
finish
