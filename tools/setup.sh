#!/usr/bin/env bash
# Installs what the build, the tests and the samples need; quiet and quick when everything is there.
#
# Promises: after exit 0 the build, a Vulkan loader and at least one Vulkan driver are on this machine.
# Needs:    Debian 12 with root or sudo to install. Elsewhere it prints the package list under that
#           distribution's names and succeeds only where the needed programs and headers are there already.
set -euo pipefail

usage() {
    cat <<'END'
usage: tools/setup.sh [--samples] [--test] [--lint] [--browser] [--roots] [--mpi]
  (nothing)   compiler, libraries, shader tools, a Vulkan driver
  --samples   also npm, with which the samples fetch what no Debian package brings
  --test      also the Khronos validation layer and RenderDoc's command
  --lint      also Clang, clang-format, clang-tidy, shellcheck
  --browser   also Chromium, its driver and Python, for the rung that uses the ranking page
  --mpi       also Open MPI and MPICH, with which a run has several devices (docs/clusters.md)
  --roots     also debootstrap, for the rungs that run the newest Mesa and drivers of GPUs in a root of their own
END
}

want_samples=0 want_test=0 want_lint=0 want_browser=0 want_roots=0 want_mpi=0
for arg in "$@"; do
    case $arg in
    --samples) want_samples=1 ;;
    --test) want_test=1 ;;
    --lint) want_lint=1 ;;
    --browser) want_browser=1 ;;
    --roots) want_roots=1 ;;
    --mpi) want_mpi=1 ;;
    -h | --help) usage && exit 0 ;;
    *) echo "setup: unknown option '$arg'" >&2 && usage >&2 && exit 2 ;;
    esac
done

cd "$(dirname "$0")/.."
say() { echo "setup: $*"; }
die() { echo "setup: $*" >&2 && exit 1; }

# Debian's names. renderdoc_app.h (librenderdoc-dev) is the header of the in-application capture interface.
debian_packages=(gcc g++ libc6-dev cmake ninja-build make pkg-config git xz-utils perl ca-certificates
    libvulkan1 libvulkan-dev libvulkan-volk-dev librenderdoc-dev spirv-headers spirv-tools glslang-tools
    libcjson-dev libpcre2-dev libutf8proc-dev zlib1g-dev libzstd-dev libxxhash-dev libmicrohttpd-dev libcmark-gfm-dev libcmark-gfm-extensions-dev
    libedit-dev libcurl4-openssl-dev nettle-dev libcmocka-dev)
# One that came from elsewhere does as well.
[ $want_samples = 0 ] || command -v npm >/dev/null || debian_packages+=(npm)
[ $want_test = 0 ] || debian_packages+=(vulkan-validationlayers renderdoccmd)
[ $want_lint = 0 ] || debian_packages+=(clang-14 libclang-rt-14-dev clang-format-14 clang-tidy-14 shellcheck)
[ $want_browser = 0 ] || debian_packages+=(chromium chromium-driver python3 fonts-dejavu-core)
[ $want_roots = 0 ] || debian_packages+=(debootstrap)
[ $want_mpi = 0 ] || debian_packages+=(openmpi-bin libopenmpi-dev mpich libmpich-dev)

# True where a device node belongs to a real GPU. Virtual display adapters have render nodes and no Vulkan.
has_gpu() {
    local node driver
    [ ! -e /dev/nvidia0 ] || return 0
    for node in /dev/dri/renderD*; do
        [ -e "$node" ] || continue
        driver=$(basename "$(readlink -f "/sys/class/drm/$(basename "$node")/device/driver")")
        case $driver in
        vgem | vkms | virtio* | bochs* | cirrus* | ast | mgag200 | simple-framebuffer | hyperv* | vmwgfx | vboxvideo) ;;
        *) return 0 ;;
        esac
    done
    return 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

updated=0
apt_update() { # once in a run, and only where something is to be installed
    [ $updated = 0 ] || return 0
    updated=1
    as_root apt-get update -qq >"$log" 2>&1 || say "apt-get update failed; going on with the package lists at hand"
}

apt_install() { # where a mirror did not answer, or has newer packages than the lists name, twice more with new lists
    local pause
    for pause in 10 30 ''; do
        ! as_root apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
            -o Acquire::Retries=2 "$@" >"$log" 2>&1 || return 0
        if [ -z "$pause" ] || ! grep -qE '^E: (Failed to fetch|Unable to (fetch|locate))' "$log"; then break; fi
        say "some packages could not be fetched; once more in $pause s"
        sleep $pause
        updated=0
        apt_update
    done
    tail -n 20 "$log" >&2
    die "apt-get install failed for: $* (see above; 'apt-get update' and a free disk are the usual cures)"
}

may_install() {
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        die "missing: $*. Installing needs root or sudo; as root: apt-get install --no-install-recommends $*"
}

missing_of() { # the packages among "$@" that are not installed
    local installed package
    installed=" $(dpkg-query -W -f '${db:Status-Status}=${Package} ' "$@" 2>/dev/null || true)"
    for package in "$@"; do
        [[ $installed == *" installed=$package "* ]] || echo "$package"
    done
}

# Puts bookworm-backports within reach of 'apt-get -t': from this machine's own mirror, in a file of our own.
# Packages from there are taken only where -t names the suite, so nothing else on the machine changes.
enable_backports() {
    local file=/etc/apt/sources.list.d/trivium-backports.list mirror keyring signed=
    # shellcheck disable=SC2016 # $(CODENAME) is apt's own format, not the shell's
    local targets='$(CODENAME) $(COMPONENT) $(REPO_URI)'
    targets=$(apt-get indextargets --format "$targets" 'Created-By: Packages' 2>/dev/null || true)
    ! grep -q '^bookworm-backports main ' <<<"$targets" || return 0
    mirror=$(awk '$1 == "bookworm" && $2 == "main" { print $3; exit }' <<<"$targets")
    [ -n "$mirror" ] || return 1
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ ! -e $keyring ] || signed="[signed-by=$keyring] "
    echo "deb ${signed}${mirror} bookworm-backports main" | as_root tee $file >/dev/null
    # Only our file: a mirror without backports must not disturb the lists that are there.
    if ! as_root apt-get update -qq -o Dir::Etc::sourcelist=$file -o Dir::Etc::sourceparts=- \
        -o APT::Get::List-Cleanup=0 >"$log" 2>&1; then
        as_root rm -f $file
        return 1
    fi
}

# lavapipe 25 from backports is 2 to 4 times as fast as Debian 12's own 22.3 and has fp16 storage.
setup_lavapipe() {
    local have stock_note=build/setup/stock-lavapipe
    have=$(dpkg-query -W -f '${db:Status-Status} ${Version}' mesa-vulkan-drivers 2>/dev/null || true)
    case $have in
    "installed 22."*) [ ! -e $stock_note ] || return 0 ;;
    installed*) return 0 ;;
    esac
    may_install mesa-vulkan-drivers
    apt_update
    if enable_backports && [[ $(apt-cache policy mesa-vulkan-drivers) == *bookworm-backports* ]]; then
        apt_install -t bookworm-backports mesa-vulkan-drivers
        say "no GPU found: installed lavapipe $(dpkg-query -W -f '${Version}' mesa-vulkan-drivers) (bookworm-backports)"
    else
        apt_install mesa-vulkan-drivers
        mkdir -p build/setup && touch $stock_note
        say "no GPU found and bookworm-backports is out of reach: installed the stock lavapipe" \
            "$(dpkg-query -W -f '${Version}' mesa-vulkan-drivers), which is 2 to 4 times slower" \
            "(remove $stock_note to try backports again)"
    fi
}

# glslang and spirv-val of the newest Debian, for the shaders of the matrix tiers: Debian 12's know no cooperative matrices. They run
# through that suite's own loader and libraries, unpacked to the user's cache, where cmake finds them; nothing is installed.
shader_tools=${XDG_CACHE_HOME:-$HOME/.cache}/trivium/shader-tools

knows_matrices() { # GLSLANG SPIRV-VAL
    local type spirv
    spirv=$(mktemp)
    for type in f16 bf16; do
        if ! "$1" --quiet -V --target-env vulkan1.2 -DTV_GLSL=1 -Ishaders/include -o "$spirv" shaders/probe/cm_$type.comp >/dev/null 2>&1 ||
            ! "$2" --target-env vulkan1.2 "$spirv" >/dev/null 2>&1; then
            rm -f "$spirv"
            return 1
        fi
    done
    rm -f "$spirv"
}

fetch_shader_tools() { # into the folder $1
    local into=$1 mirror keyring signed='' options package program loader
    # shellcheck disable=SC2016 # $(CODENAME) is apt's own format, not the shell's
    mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk '$1 ~ /^[a-z]+$/ && $2 == "main" && !found { found = $3 } END { print found }')
    [ -n "$mirror" ] || return 1
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ ! -e $keyring ] || signed="[signed-by=$keyring] "
    mkdir -p "$into/lists/partial" "$into/cache/archives/partial" "$into/root"
    echo "deb ${signed}${mirror} sid main" >"$into/sources.list"
    # Lists of our own: what this machine installs from stays as it is, and no root is needed.
    options=(-o Dir::Etc::sourcelist="$into/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$into/lists"
        -o Dir::Cache="$into/cache" -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Acquire::Retries=2)
    apt-get "${options[@]}" -qq update >"$log" 2>&1 || return 1
    (cd "$into" && apt-get "${options[@]}" -qq download glslang-tools spirv-tools libc6 libstdc++6 libgcc-s1 >"$log" 2>&1) || return 1
    for package in "$into"/*.deb; do dpkg-deb -x "$package" "$into/root" || return 1; done
    mkdir "$into/tools" "$into/tools/lib"
    cp -L "$into"/root/usr/lib/*-linux-gnu*/{ld-linux*.so.*,lib{c,m,gcc_s,stdc++}.so.*} "$into/tools/lib" || return 1
    loader=$(cd "$into/tools/lib" && echo ld-linux*.so.*)
    for program in glslangValidator spirv-val; do
        cp "$into/root/usr/bin/$program" "$into/tools/lib" || return 1
        cat >"$into/tools/$program" <<END
#!/bin/sh
here=\$(dirname "\$0")/lib
exec "\$here/$loader" --library-path "\$here" "\$here/$program" "\$@"
END
        chmod +x "$into/tools/$program"
    done
}

setup_shader_tools() {
    local folder
    ! knows_matrices glslangValidator spirv-val || return 0
    ! knows_matrices "$shader_tools/glslangValidator" "$shader_tools/spirv-val" || return 0
    folder=$(mktemp -d)
    if fetch_shader_tools "$folder" && knows_matrices "$folder/tools/glslangValidator" "$folder/tools/spirv-val" &&
        mkdir -p "$(dirname "$shader_tools")" && rm -rf "$shader_tools" && mv "$folder/tools" "$shader_tools"; then
        say "fetched a newer glslang for the matrix tiers into $shader_tools"
    else
        say "a newer glslang, for the matrix tiers cm-f16 and cm-bf16, could not be fetched; everything else will be built." \
            "With a glslang of version 15 and a spirv-val of its time in $shader_tools, or on a newer Debian, they are built too"
    fi
    rm -rf "$folder"
}

setup_debian_12() {
    local missing
    log=$(mktemp) && trap 'rm -f "$log"' EXIT
    mapfile -t missing < <(missing_of "${debian_packages[@]}")
    if [ ${#missing[@]} -gt 0 ]; then
        may_install "${missing[@]}"
        say "installing ${#missing[@]} packages: ${missing[*]}"
        apt_update
        apt_install "${missing[@]}"
    fi
    setup_shader_tools
    if ! has_gpu; then
        setup_lavapipe
    elif [ ! -e /dev/nvidia0 ] && [ -n "$(missing_of mesa-vulkan-drivers)" ]; then
        may_install mesa-vulkan-drivers
        apt_update
        apt_install mesa-vulkan-drivers
        say "GPU found: installed Mesa's Vulkan drivers $(dpkg-query -W -f '${Version}' mesa-vulkan-drivers)"
    elif ! compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null && ! compgen -G '/etc/vulkan/icd.d/*.json' >/dev/null; then
        say "an NVIDIA GPU is here, but no Vulkan driver file (icd.d/*.json): install the vendor's driver with its Vulkan part"
    fi
}

# ---- other distributions: the same list under their names; installing is left to the user ----

other_packages() { # prints the install command for the distribution in $1 (ID and ID_LIKE)
    case " $1 " in
    *' ubuntu '* | *' debian '*)
        echo "apt-get install --no-install-recommends ${debian_packages[*]} mesa-vulkan-drivers" ;;
    *' fedora '* | *' rhel '*)
        echo "dnf install gcc gcc-c++ cmake ninja-build make pkgconf-pkg-config git xz perl vulkan-headers" \
            "vulkan-loader-devel vulkan-volk-devel renderdoc-devel spirv-headers-devel spirv-tools glslang" \
            "cjson-devel pcre2-devel utf8proc-devel zlib-devel libzstd-devel xxhash-devel libmicrohttpd-devel cmark-gfm-devel libedit-devel libcurl-devel nettle-devel libcmocka-devel" \
            "mesa-vulkan-drivers vulkan-validation-layers" ;;
    *' arch '*)
        echo "pacman -S --needed gcc cmake ninja make pkgconf git xz perl vulkan-headers vulkan-icd-loader volk" \
            "renderdoc spirv-headers spirv-tools glslang cjson pcre2 libutf8proc zlib zstd xxhash libmicrohttpd cmark-gfm libedit curl nettle cmocka" \
            "vulkan-swrast vulkan-validation-layers (and vulkan-radeon, vulkan-intel or nvidia-utils for a GPU)" ;;
    *' opensuse '* | *' suse '*)
        echo "zypper install gcc gcc-c++ cmake ninja make pkgconf git xz perl vulkan-headers vulkan-devel" \
            "vulkan-volk-devel renderdoc-devel spirv-headers spirv-tools glslang-devel cJSON-devel pcre2-devel" \
            "utf8proc-devel zlib-devel libzstd-devel xxhash-devel libmicrohttpd-devel cmark-gfm-devel libedit-devel libcurl-devel libnettle-devel libcmocka-devel libvulkan_lvp" \
            "vulkan-validationlayers" ;;
    *' alpine '*)
        echo "apk add build-base cmake samurai pkgconf git xz perl bash vulkan-headers vulkan-loader-dev volk-dev" \
            "spirv-headers spirv-tools glslang cjson-dev pcre2-dev utf8proc-dev zlib-dev zstd-dev xxhash-dev libmicrohttpd-dev cmark-gfm-dev" \
            "libedit-dev curl-dev nettle-dev cmocka-dev mesa-vulkan-swrast vulkan-validation-layers" ;;
    *)
        echo "a C17 compiler, cmake 3.25, ninja, pkg-config, git, xz, perl; Vulkan headers and loader, volk, glslang," \
            "SPIRV-Tools and SPIRV-Headers; development files of cJSON, PCRE2, utf8proc, zlib, zstd, xxHash," \
            "libmicrohttpd, cmark-gfm, libedit, libcurl, Nettle," \
            "cmocka; a Vulkan driver (Mesa's lavapipe where there is no GPU)" ;;
    esac
}

needed_and_absent() { # the programs and headers that the build cannot do without and that are not here
    local program header
    for program in cc cmake pkg-config git spirv-val; do
        command -v $program >/dev/null || echo "program $program"
    done
    command -v ninja >/dev/null || command -v make >/dev/null || echo "program ninja or make"
    command -v glslangValidator >/dev/null || command -v glslang >/dev/null || echo "program glslangValidator"
    command -v cc >/dev/null || return 0
    for header in vulkan/vulkan.h volk.h spirv/unified1/spirv.h cjson/cJSON.h pcre2.h utf8proc.h zlib.h zstd.h xxhash.h \
        microhttpd.h cmark-gfm.h histedit.h curl/curl.h nettle/sha2.h cmocka.h; do
        # Some of these need others first, so ask only whether they exist.
        printf '#if !__has_include(<%s>)\n#error\n#endif\n' $header | cc -E -x c - >/dev/null 2>&1 ||
            echo "header $header"
    done
}

setup_other() {
    local absent
    mapfile -t absent < <(needed_and_absent)
    [ ${#absent[@]} -gt 0 ] || return 0
    say "this is ${PRETTY_NAME:-an unknown system}; only Debian 12 is set up by itself. Please install:"
    echo "    $(other_packages "${ID:-} ${ID_LIKE:-}")"
    die "missing now: $(printf '%s; ' "${absent[@]}")run this again when they are there"
}

ID='' ID_LIKE='' VERSION_ID='' PRETTY_NAME=''
# shellcheck disable=SC1091 # a file of the system
[ ! -r /etc/os-release ] || . /etc/os-release
if [ "$ID" = debian ] && [ "$VERSION_ID" = 12 ]; then
    setup_debian_12
else
    setup_other
fi
