#!/usr/bin/env bash
# Within a room of runtime/ no files need each other in a circle. A file needs another where its object asks for a symbol
# that the other's defines: what the linker sees, so a shared header of types is no circle, a call back is one.
#
# usage: tests/check_circles.sh BUILD     names the files of each circle; exit 0 where there is none
# First it checks itself on three files in a circle.
set -euo pipefail

circles() { # reads "OBJECT NAME KIND ..." lines of nm; prints the files of each circle
    awk '
        $3 ~ /^[TDBRCW]$/ { maker[$2] = $1 }
        $3 == "U" { asks[++count] = $1; name[count] = $2 }
        function room(path) { sub(/^.*runtime\//, "", path); return substr(path, 1, index(path, "/") - 1) }
        END {
            for (i = 1; i <= count; i++) {
                other = maker[name[i]]
                if (other != "" && other != asks[i] && room(other) == room(asks[i]))
                    print asks[i], other
            }
        }' | sort -u | { tsort 2>&1 >/dev/null || true; } | sed -n 's/^tsort: *//p' | sed '/input contains a loop/d'
}

planted=$(printf '%s\n' 'x/runtime/a/one.c.o f T' 'x/runtime/a/one.c.o g U' 'x/runtime/a/two.c.o g T' \
    'x/runtime/a/two.c.o h U' 'x/runtime/a/three.c.o h T' 'x/runtime/a/three.c.o f U' \
    'x/runtime/b/four.c.o f U' 'x/runtime/b/four.c.o k T' 'x/runtime/a/one.c.o k U' | circles | wc -l)
[ "$planted" = 3 ] || {
    echo "check_circles: finds $planted of the 3 files in a planted circle" >&2
    exit 1
}

objects=$(find "$1"/CMakeFiles/trivium.dir/runtime -name '*.o')
[ -n "$objects" ] || {
    echo "check_circles: no objects under $1/CMakeFiles/trivium.dir/runtime" >&2
    exit 1
}
# shellcheck disable=SC2086 # one word per object; a build folder with blanks in its path would show as missing files
found=$(nm -A -P $objects | sed 's/: / /' | circles)
[ -z "$found" ] || {
    echo "these files need each other in a circle:"
    echo "$found"
    exit 1
}
