#!/usr/bin/env bash
# What the rungs share (tests/rungs/lib.sh), on made-up commands: what needs the network is tried three times and no more, and a
# mirror that did not answer is told from a package that does not exist; an older Node and a bound that does not hold are seen.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=rungs/lib.sh
. tests/rungs/lib.sh

tries=$(mktemp)
trap 'rm -rf "$tries" "$work"' EXIT
pauses=(0 0)
fail() {
    echo "check_rungs: $*" >&2
    exit 1
}
# shellcheck disable=SC2317 # called by patiently
works_at() { # N: the Nth time, and never where N is 0
    echo . >>"$tries"
    [ "$(wc -l <"$tries")" = "$1" ]
}
expect() { # STATUS TRIES N
    local status=0 counted
    : >"$tries"
    patiently works_at "$3" >/dev/null || status=$?
    counted=$(wc -l <"$tries")
    [ "$status $counted" = "$1 $2" ] || fail "a command that works at try $3: expected status $1 after $2 tries, found $status after $counted"
}
expect 0 1 1
expect 0 2 2
expect 0 3 3
expect 1 3 4
expect 1 3 0

for line in 'E: Failed to fetch http://mirror.example/dists/sid/InRelease  Connection timed out' \
    'E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?' \
    "W: Temporary failure resolving 'mirror.example'" '  Could not connect to mirror.example:80 (192.0.2.1). - connect (111: Connection refused)'; do
    echo "$line" >"$tries"
    out_of_reach "$tries" || fail "a mirror that does not answer was not known by: $line"
done
for line in 'E: Unable to locate package libnothing-dev' 'E: Sub-process /usr/bin/dpkg returned an error code (1)'; do
    echo "$line" >"$tries"
    ! out_of_reach "$tries" || fail "a mirror that answers was taken for one that does not: $line"
done

npm() { :; }
node() { echo "v$node"; }
for node in 20.11.0 20.11.1 20.12.3 22.0.0 100.1.0; do
    (need_node 20.11) >/dev/null || fail "node $node was not taken where 20.11 is asked for"
done
for node in 20.10.9 20.9.0 18.20.1 9.11.2; do
    ! (need_node 20.11) >/dev/null || fail "node $node was taken where 20.11 is asked for"
done

for bound in '0.5 >= 0.5' '1e-3 <= 0.5' '-2 <= 0'; do
    read -r a relation b <<<"$bound"
    (holds bound "$a" "$relation" "$b") >/dev/null || fail "$bound does not hold"
done
for bound in '0.4 >= 0.5' 'nan >= 0.5' '- <= 3' '0.6 <= 0.5'; do
    read -r a relation b <<<"$bound"
    ! (holds bound "$a" "$relation" "$b") >/dev/null 2>&1 || fail "$bound holds"
done
