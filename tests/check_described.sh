#!/usr/bin/env bash
# The manual page and the completion for bash know every command and every option that --help shows; the page is
# silent in groff where that is installed; words complete as a person expects.
#
# usage: tests/check_described.sh TRIVIUM
set -euo pipefail

trivium=$1
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
fail() { echo "check_described: $*" >&2 && exit 1; }
"$trivium" --man-page >"$work/trivium.1"
"$trivium" --bash-completion >"$work/trivium.bash"

if command -v groff >/dev/null; then
    said=$(groff -man -Tutf8 -ww -z "$work/trivium.1" 2>&1)
    [ -z "$said" ] || fail "groff says: $said"
fi

compopt() { :; } # bash has it only while it completes
# shellcheck source=/dev/null
. "$work/trivium.bash"
completions() { # WORD...: what the last word becomes
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _trivium
    echo "${COMPREPLY[*]}"
}
expect() { # COMPLETIONS WORD...
    local expected=$1 found
    shift
    found=$(completions "$@")
    [ "$found" = "$expected" ] || fail "'$*' completes to '$found', expected '$expected'"
}
expect 'tokenizer' trivium tok
expect 'kernels' trivium bench k
expect '--model --max-tokens' trivium chat --m
expect 'train.lr=' trivium sft --set train.lr
expect 'pretrain ppo' trivium settings p
expect 'dpo' trivium settings --json d
expect '' trivium generate p
expect '' trivium chat --model nothing-such
expect '' trivium nonsense x

[ "$(completions trivium pretrain --set ppo.)" = '' ] || fail "pretraining is offered the settings of ppo"
[ "$(completions trivium ppo --set ppo.)" != '' ] || fail "ppo is not offered its settings"

commands() { # PATH...: those that its --help lists
    "$trivium" "$@" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\)  .*/\1/p'
}
seen=0
check() { # PATH...: one command
    local option
    for option in $("$trivium" "$@" --help | grep -oE '^ +(-., )?--[a-z0-9-]+' | sed 's/.*--/--/'); do
        [[ " $(completions trivium "$@" "$option") " == *" $option "* ]] ||
            fail "trivium $* does not complete $option"
        [ "$option" = --help ] || sed -n "/^\.SS trivium $*$/,/^\.S[SH]/p" "$work/trivium.1" |
            grep -F -e "${option//-/\\-}" >/dev/null || fail "the manual page of trivium $* lacks $option"
        seen=$((seen + 1))
    done
}
for command in $(commands); do
    nested=$(commands "$command")
    [ -n "$nested" ] || check "$command"
    for word in $nested; do check "$command" "$word"; done
done
[ "$seen" -gt 100 ] || fail "saw only $seen options"
