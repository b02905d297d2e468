#!/usr/bin/env bash
# An installed copy, as a program of somebody else uses it: the shared library shows the functions of include/trivium/ and
# nothing else; each sample of samples/c_api builds by CMake and by pkg-config, with the shared and with the static library.
#
# usage: tests/check_installed.sh BUILD SOURCE            installs BUILD into a folder of its own first
#        tests/check_installed.sh --prefix PREFIX SOURCE [KINDS]    what is installed there already; KINDS: "shared static"
# Exit code 77 where no device is found that the first sample could run on; what comes before has passed then.
set -euo pipefail

kinds='shared static'
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
if [ "$1" = --prefix ]; then
    prefix=$2 source=$3 kinds=${4:-$kinds}
else
    prefix=$work/prefix source=$2
    cmake --install "$1" --prefix "$prefix" >/dev/null
fi
fail() { echo "check_installed: $*" >&2 && exit 1; }

library=$(find "$prefix" -name libtrivium.so)
[ -n "$library" ] || fail "no libtrivium.so under $prefix"
export PKG_CONFIG_PATH=${library%/*}/pkgconfig LD_LIBRARY_PATH=${library%/*}

# Functions as the headers declare them: a name before a parenthesis, where the compiler has taken the comments out.
declared=$(cat "$prefix"/include/trivium/*.h | cc -fpreprocessed -dD -E -P -x c - |
    grep -oE '\btv_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u)
shown=$(nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u)
[ "$(wc -l <<<"$declared")" -gt 10 ] || fail "found only these functions in the headers: $declared"
echo "$declared" >"$work/declared" # files, for roots without /dev/fd
echo "$shown" >"$work/shown"
difference=$(diff "$work/declared" "$work/shown") ||
    fail "the headers (<) and libtrivium.so (>) differ; put the functions into runtime/api/exports.map: $difference"

# The static library defines nothing that another library of the program could define too.
foreign=$(nm --defined-only "$(find "$prefix" -name libtrivium.a)" 2>/dev/null |
    awk '$2 ~ /^[A-TV-Z]$/ && $3 !~ /^tv_/ { print $3 }' | sort -u | head)
[ -z "$foreign" ] || fail "libtrivium.a defines names that are not its own: $foreign"

# C++ programs include the headers too.
! command -v c++ >/dev/null ||
    echo '#include <trivium/trivium.h>' | c++ -std=c++17 -Wall -Wextra -Werror -fsyntax-only -I"$prefix/include" -x c++ - ||
    fail "the headers are not C++"

linked() { # PROGRAM shared|static: is it so?
    local found=static
    [[ $(readelf -d "$1") != *'[libtrivium.so'* ]] || found=shared
    [ "$found" = "$2" ] || fail "$1 was linked with the $found library, expected the $2 one"
}

for kind in $kinds; do
    option=OFF module=trivium
    [ "$kind" = shared ] || option=ON module=trivium-static
    {
        cmake -S "$source/samples/c_api" -B "$work/$kind" -DTRIVIUM_STATIC=$option -DCMAKE_PREFIX_PATH="$prefix" &&
            cmake --build "$work/$kind"
    } >"$work/log" 2>&1 || fail "CMake, $kind: $(cat "$work/log")"
    for sample in "$source"/samples/c_api/*.c; do
        name=$(basename "$sample" .c)
        [ -x "$work/$kind/$name" ] || fail "samples/c_api/CMakeLists.txt does not build $name"
        linked "$work/$kind/$name" "$kind"
        # shellcheck disable=SC2046 # flags, one word each
        cc -std=c17 -Wall -Wextra -Werror "$sample" $(pkg-config --cflags --libs $module) -o "$work/$name" ||
            fail "pkg-config $module, $name"
        linked "$work/$name" "$kind"
    done
done

status=0
"$work/${kinds%% *}/train" >"$work/out" 2>&1 || status=$?
if [ $status != 0 ]; then
    cat "$work/out"
    ! grep -qE 'no usable Vulkan device|no Vulkan loader|found no device' "$work/out" || exit 77
    fail "the sample ended with $status"
fi
grep -q 'Grammar taught the parts of speech' "$work/out" || fail "the sample learned something else: $(cat "$work/out")"
