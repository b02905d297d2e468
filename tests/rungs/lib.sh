# Shared by tests/run.sh, .ci/run and the rungs; sourced, never run.
#
# Promises: the working directory is the repository root; passed, failed and skipped are counted in one place.
# A rung ends with `finish`, which prints "N passed, N failed, N skipped" and exits 0, 1 (a failure, or nothing
# at all was run) or 77 (skipped). Its presets and build folders are those of CMakePresets.json.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

rung=$(basename "$0" .sh)
passed=0 failed=0 skipped=0
jobs=$(nproc)
work=build/rungs/$rung # everything that a rung leaves behind
ctest_root=            # where set, tests run inside this root, which holds a copy of the tree at the same path
mkdir -p "$work"

say() { echo "$rung: $*"; }

skip_rung() { # the whole rung cannot run here: say why, count it
    echo "SKIPPED $rung: $*"
    echo "0 passed, 0 failed, 1 skipped"
    exit 77
}

fail_rung() {
    echo "FAILED $rung: $*" >&2
    failed=$((failed + 1))
    finish
}

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ] || exit 1
    [ "$passed" -gt 0 ] || exit 1
    exit 0
}

# One bound that holds, counted as passed. As numbers; anything that is no number holds nothing.
holds() { # WHAT A RELATION B
    awk -v a="$2" -v relation="$3" -v b="$4" 'BEGIN {
        number = "^-?[0-9.]+([eE][-+]?[0-9]+)?$"
        exit !(a ~ number && b ~ number && (relation == ">=" ? a + 0 >= b + 0 : a + 0 <= b + 0))
    }' || fail_rung "$1: found '$2', expected $3 $4"
    say "$1: $2 ($3 $4)"
    passed=$((passed + 1))
}

need_node() { # VERSION: that or a newer one, and npm; without them the rung is skipped
    local program have
    for program in node npm; do
        command -v $program >/dev/null || skip_rung "$program is not installed"
    done
    have=$(node --version)
    [ "$(printf '%s\n' "$1" "${have#v}" | sort -V | head -n 1)" = "$1" ] || skip_rung "node $have is older than $1"
}

# patiently COMMAND...: what needs the network, at most three times; the rung says what it means where none did.
pauses=(10 30) # seconds between them
patiently() {
    local pause
    for pause in "${pauses[@]}" ''; do
        ! "$@" || return 0
        [ -z "$pause" ] || { echo "$rung: in $pause s once more: $*" && sleep "$pause"; }
    done
    return 1
}

# True where apt, whose output LOG is, could not reach its mirror.
out_of_reach() { # LOG
    grep -qE '^E: (Failed to fetch|Unable to fetch)|Temporary failure resolving|Could not (resolve|connect)' "$1"
}

build_folder() { # of a preset
    if [ "$1" = release ]; then echo build; else echo "build-$1"; fi
}

# Shaders are compiled once, in the release build; other build folders take them with $same_shaders.
same_shaders=-DTRIVIUM_SPIRV_OF=$PWD/build

# The objects of every source in FOLDER, which Ninja builds: for compilers' warnings nothing need be linked.
objects_of() { ninja -C "$1" -t targets all | sed -n 's/^\(.*\.c\.o\): .*/\1/p'; }

# Two rungs side by side may want the same build folder: one configures and builds in it at a time.
in_turn() { # FOLDER COMMAND...
    local folder=$1 status=0
    shift
    mkdir -p "$folder"
    exec {turn}>"$folder/.turn"
    flock "$turn"
    "$@" || status=$?
    exec {turn}>&-
    return $status
}

build() { # PRESET [CMAKE-TARGET...]
    local shaders=()
    mkdir -p "$work"
    case $1 in
    release | shader-debug) ;;
    *) build release trivium_spirv && shaders=("$same_shaders") ;;
    esac
    in_turn "$(build_folder "$1")" configure_and_build "$@"
}

configure_and_build() {
    local preset=$1 folder
    folder=$(build_folder "$1")
    shift
    cmake --preset "$preset" "${shaders[@]}" >"$work/configure.log" 2>&1 || {
        tail -n 30 "$work/configure.log"
        fail_rung "cmake --preset $preset"
    }
    cmake --build "$folder" -j "$jobs" ${1:+--target "$@"} >"$work/build.log" 2>&1 || {
        grep -v '^\[[0-9]*/[0-9]*\] ' "$work/build.log" | tail -n 60
        fail_rung "cmake --build $folder"
    }
}

# Runs ctest in FOLDER with the further arguments and adds to the counts. A test that could not be started
# counts as failed; one that exited 77, or a case that a test program skipped, counts as skipped and is named.
run_ctest() { # FOLDER [CTEST-ARGUMENT...]
    local folder=$1 junit total ran skips off cases status=0
    shift
    junit=$PWD/$work/ctest.xml
    rm -f "$ctest_root$junit"
    ${ctest_root:+chroot "$ctest_root"} ctest --test-dir "$PWD/$folder" --output-on-failure --no-tests=error \
        --test-output-size-passed 4000000 --output-junit "$junit" -j "$jobs" "$@" || status=$?
    junit=$ctest_root$junit
    if [ ! -s "$junit" ]; then
        echo "FAILED $rung: ctest ran no test in $folder ($*)" >&2
        failed=$((failed + 1))
        return 0
    fi
    total=$(grep -c '<testcase ' "$junit" || true)
    ran=$(grep -c '<testcase .* status="run"' "$junit" || true)
    off=$(grep -c '<testcase .* status="disabled"' "$junit" || true)
    skips=$(grep -c '<skipped message="SKIP_' "$junit" || true)
    cases=$(awk '/^\[  SKIPPED \] .*[0-9]+ test\(s\)/ { match($0, /[0-9]+ test/); n += substr($0, RSTART) }
        END { print n + 0 }' "$junit") # cmocka's closing line
    passed=$((passed + ran))
    skipped=$((skipped + skips + off + cases))
    failed=$((failed + total - ran - skips - off))
    if [ "$status" != 0 ] && [ "$total" = $((ran + skips + off)) ]; then
        echo "FAILED $rung: ctest ended with $status" >&2
        failed=$((failed + 1))
    fi
    awk -v rung="$rung" '
        /<testcase /                     { name = $0; sub(/.*<testcase name="/, "", name); sub(/".*/, "", name) }
        /<testcase .* status="disabled"/ { print "SKIPPED " name ": disabled" }
        /<skipped message="SKIP_/        { skip = 1 }
        skip && /<system-out>/           { sub(/.*<system-out>/, ""); print "SKIPPED " name ": " $0; skip = 0 }
        /^\[  SKIPPED \] [^ ]+$/         { if (!seen[name, $NF]++) print "SKIPPED " name ": case " $NF }' "$junit"
}

fill_root() { # SUITE MIRROR [DEBOOTSTRAP-OPTION...]: $root, from nothing
    local suite=$1 mirror=$2
    shift 2
    rm -rf "$root" "$root.done" && mkdir -p "$root"
    debootstrap --variant=minbase --components=main "$@" "$suite" "$root" "$mirror"
}

# Fills build/roots/NAME with a Debian of its own and sets $root to it; skips the rung where that is not possible. One
# that was filled with the same options before is taken as it is.
debian_root() { # NAME SUITE [DEBOOTSTRAP-OPTION...]
    local name=$1 suite=$2 mirror
    shift 2
    [ "$(id -u)" = 0 ] || skip_rung "chroot needs root"
    tools/setup.sh --roots
    command -v debootstrap >/dev/null || skip_rung "debootstrap is not installed"
    root=$PWD/build/roots/$name
    [ "$(cat "$root.done" 2>/dev/null)" != "$suite $*" ] || return 0
    # shellcheck disable=SC2016 # $(CODENAME) is apt's own format
    mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk '$1 ~ /^[a-z]+$/ && $2 == "main" && !found { found = $3 } END { print found }' || true)
    [ -n "$mirror" ] || skip_rung "this machine has no Debian mirror among its package sources"
    say "filling $root"
    patiently fill_root "$suite" "$mirror" "$@" >"$work/debootstrap.log" 2>&1 ||
        skip_rung "debootstrap of $suite failed: $(tail -n 1 "$work/debootstrap.log") (all of it in $work/debootstrap.log)"
    echo "$suite $*" >"$root.done"
}

# The root that the rungs with the newest Mesa share: Debian sid's lavapipe, its drivers of GPUs with libraries that stand
# in for the kernel (mesa-drm-shim), and the validation layer. Sets $root and $mesa, its version.
newest_mesa_root() {
    debian_root sid sid --include=mesa-vulkan-drivers,libvulkan1,mesa-drm-shim,vulkan-validationlayers,cmake
    # shellcheck disable=SC2016 # ${Version} is dpkg-query's own format
    mesa=$(chroot "$root" dpkg-query -W -f '${Version}' mesa-vulkan-drivers)
    say "Mesa $mesa"
}

# Copies to /opt/host of $root the libraries of these programs that the root does not have under the same name; its own
# come first, its drivers are linked with them.
host_libraries() { # PROGRAM...
    mkdir -p "$root/opt/host"
    ldd "$@" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }' | sort -u | while read -r name path; do
        [ -e "$root/usr/lib/$(gcc -print-multiarch)/$name" ] || cp -L "$path" "$root/opt/host/$name"
    done
}
