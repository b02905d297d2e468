#!/usr/bin/env bash
# The low rooms of runtime/ state facts; what a person is to do about them is said by the caller that knows keys, commands and
# options (tv_fail_advice). So no string literal of these rooms holds a key of run/settings.def ("data.seq_len"), one of its
# names that is nothing else's ("batch_size"), an option of the command line ("--resume") or a command ("trivium prefs").
#
# usage: tests/check_facts.sh [ROOT]     names each literal that does; exit 0 where none does
# First it checks itself on a small tree with such literals. Files that still have some stand in `allowed` with how many; the
# list may only shrink, and a file with fewer than it may have is named too.
set -euo pipefail

allowed=""

check() { # ROOT ALLOWED: prints "FILE:LINE: word: literal" for each
    (
        cd "$1"
        keys=$(sed -nE 's/^TV_SETTING\(([a-z0-9]+), ([a-z0-9_]+),.*/\1.\2/p' runtime/run/settings.def | paste -sd' ')
        commands=$(sed -nE 's/^ *\{"([a-z]+)", .*cmd_.*/\1/p' tools/main.c | paste -sd' ')
        # shellcheck disable=SC2016 # awk's own $
        find runtime/{base,vk,kernels,text,model,formats,train,human} -name '*.[ch]' | sort | xargs awk -v keys="$keys" \
            -v commands="$commands" -v allowed="$2" '
            BEGIN {
                split(keys, key, " "); split(commands, command, " "); split(allowed, list, " ")
                for (i = 1; i in list; i += 2) may[list[i]] = list[i + 1]
                words = "--[a-z]|(^|[^a-z_])(seq_len|batch_size|grad_accum|warmup_steps|max_new_tokens)([^a-z_]|$)"
                for (i = 1; i in key; i++) { sub(/\./, "[.]", key[i]); words = words "|(^|[^a-z_])" key[i] "([^a-z_]|$)" }
                for (i = 1; i in command; i++) words = words "|trivium " command[i] "([^a-z]|$)"
            }
            /^[ \t]*#[ \t]*include/ { next }
            {
                line = $0; gsub(/\\"/, "\047", line)
                if (in_comment && !sub(/^.*\*\//, "", line)) next
                in_comment = 0
                gsub(/\/\*[^*]*\*\//, "", line)
                in_comment = sub(/\/\*.*/, "", line)
                while (match(line, /"[^"]*"/)) {
                    literal = substr(line, RSTART + 1, RLENGTH - 2); line = substr(line, RSTART + RLENGTH)
                    if (match(literal, words)) {
                        if (++seen[FILENAME] > may[FILENAME])
                            print FILENAME ":" FNR ": \"" substr(literal, RSTART, RLENGTH) "\" in \"" literal "\": state the " \
                                  "fact and let the caller advise (tv_fail_advice)"
                    }
                }
            }
            END {
                for (file in may)
                    if (seen[file] < may[file])
                        print file ": has " seen[file] + 0 " such literals: lower its number in tests/check_facts.sh"
            }'
    )
}

self_check() {
    local tree found
    tree=$(mktemp -d)
    trap 'rm -rf "$tree"' RETURN
    mkdir -p "$tree"/runtime/{base,vk,kernels,text,model,formats,train,human,run} "$tree"/tools
    printf 'TV_SETTING(data, seq_len, d, U, 1, 2)\nTV_SETTING(train, lr, t, N, 0, 1)\n' >"$tree/runtime/run/settings.def"
    printf '    {"prefs", "pairs", cmd_prefs},\n' >"$tree/tools/main.c"
    # Six breaches in five files, among what is right.
    printf 'f("raise data.seq_len"); /* data.seq_len */\n' >"$tree/runtime/text/a.c"        # 1: a key
    printf 'f("too long; "\n  "lower train.lr");\n' >"$tree/runtime/model/a.c"              # 2: one on a later line
    printf 'f("\\"seq_len\\" is 3"); f("a", "use --resume");\n' >"$tree/runtime/vk/a.c"     # 3, 4: a name; an option
    # shellcheck disable=SC2016 # a command in backticks, as sentences have it
    printf 'f("%%s: `trivium prefs` writes it");\n' >"$tree/runtime/human/a.h"              # 5: a command
    printf 'f("trivium prefs");\n' >"$tree/runtime/formats/a.c"                             # allowed
    printf '#include "data.seq_len.h"\nf("trivium preferences, metadata.seq_lens - - a_seq_len");\n' >"$tree/runtime/base/a.c"
    printf '/* "data.seq_len" and\n * "--resume" */ f("fine");\n' >"$tree/runtime/train/a.c"                                        # 6: allowed and not there
    printf 'f("use --resume and data.seq_len");\n' >"$tree/runtime/run/a.c"                 # its words
    found=$(check "$tree" "runtime/formats/a.c 1 runtime/train/a.c 2" | wc -l)
    [ "$found" = 6 ] || {
        echo "check_facts: finds $found of the 6 breaches planted in its own test:" >&2
        check "$tree" "runtime/formats/a.c 1 runtime/train/a.c 2" >&2
        return 1
    }
}

self_check
breaches=$(check "${1:-$(dirname "$0")/..}" "$allowed")
[ -z "$breaches" ] || {
    echo "$breaches"
    exit 1
}
