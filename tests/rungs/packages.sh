#!/usr/bin/env bash
# The Debian package and the archive that cpack makes, each in a bare Debian 12 with nothing but the packages that
# docs/packages.md names: the command runs and trains, and both samples of the C API build, shared and static.
# Needs: root, debootstrap (tools/setup.sh --roots installs it), a Debian mirror, and 2 GB under build/.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

debian_root bookworm bookworm
bare=$root

build release
out=$PWD/$work/out
rm -rf "$out" && mkdir -p "$out"
# shellcheck disable=SC2317 # called by in_turn
pack() (cd build && cpack -B "$out")
in_turn build pack >"$work/cpack.log" 2>&1 || {
    tail -n 20 "$work/cpack.log"
    fail_rung "cpack"
}
package=$(find "$out" -maxdepth 1 -name '*.deb') archive=$(find "$out" -maxdepth 1 -name '*.tar.gz')
[ -f "$package" ] || fail_rung "cpack made no Debian package"
[ -f "$archive" ] || fail_rung "cpack made no archive"

# The words behind 'apt-get install' on the Nth such line of the page.
documented() { sed -n 's/^apt-get install //p' docs/packages.md | sed -n "$1p"; }

fresh_root() { # NAME: a copy of the bare one, at $root
    root=$PWD/$work/$1
    rm -rf "$root"
    cp -a "$bare" "$root"
    patiently chroot "$root" apt-get -o APT::Update::Error-Mode=any update >"$work/$1.update.log" 2>&1 || skip_rung "the package lists cannot be fetched"
}

inside() { # COMMAND...: in the root, with nothing of this machine's environment
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C "$@"
}

install() { # PACKAGE...: those downloaded are kept for the next run
    patiently inside DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o APT::Keep-Downloaded-Packages=true "$@" \
        >"$work/install.log" 2>&1 || {
        ! out_of_reach "$work/install.log" || skip_rung "$(grep -m 1 '^E:' "$work/install.log")"
        tail -n 20 "$work/install.log"
        fail_rung "apt-get install $*"
    }
    cp -n "$root"/var/cache/apt/archives/*.deb "$bare/var/cache/apt/archives/"
}

expect() { # WHAT COMMAND...: its output must hold WHAT, which may be empty
    local what=$1
    shift
    inside "$@" >"$work/output" 2>&1 || {
        tail -n 20 "$work/output"
        fail_rung "$* ended badly"
    }
    [ -z "$what" ] || grep -q -e "$what" "$work/output" || fail_rung "$* said nothing of '$what': $(tail -n 5 "$work/output")"
    passed=$((passed + 1))
}

use_the_command() { # PREFIX
    local trivium=$1/bin/trivium text=/usr/share/common-licenses/GPL-3
    ! inside ldd "$trivium" | grep 'not found' || fail_rung "$trivium lacks libraries"
    expect "trivium $(sed -n 's/^project(trivium VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)" "$trivium" --version
    expect llvmpipe "$trivium" devices
    expect tokenizer.json "$trivium" tokenizer train --input $text --vocab-size 512 --out /tmp/tok
    expect . "$trivium" data pack --tokenizer /tmp/tok --input $text --out /tmp/gpl --val-fraction 0.1
    expect 'step' "$trivium" pretrain --config "$1/share/doc/trivium/samples/pretrain/config.json" --out /tmp/run \
        --set 'data.train=["/tmp/gpl_train.bin"]' --set 'data.val=["/tmp/gpl_val.bin"]' --set data.tokenizer=/tmp/tok \
        --set model.vocab_size=512 --set model.n_layer=1 --set data.seq_len=32 --set train.batch_size=2 \
        --set train.steps=4 --set train.warmup_steps=1
    expect 'TH TRIVIUM' head -n 1 "$1/share/man/man1/trivium.1"
    expect 'complete .*trivium' cat "$1/share/bash-completion/completions/trivium"
    expect . "$trivium" generate --model /tmp/run --prompt The --max-tokens 4
}

use_the_library() { # PREFIX KIND
    cp tests/check_installed.sh "$root/tmp/check_installed.sh"
    expect '' /tmp/check_installed.sh --prefix "$1" "$1/share/doc/trivium" "$2"
}

fresh_root package
say "the package, in $root"
cp "$package" "$root/tmp/"
install "/tmp/$(basename "$package")"
use_the_command /usr
# shellcheck disable=SC2046 # words
install $(documented 3)
use_the_library /usr shared
# shellcheck disable=SC2046
install $(documented 4)
use_the_library /usr static
rm -rf "$root"

fresh_root archive
say "the archive, in $root"
mkdir "$root/opt/trivium"
tar -xzf "$archive" --strip-components=1 -C "$root/opt/trivium"
# shellcheck disable=SC2046
install $(documented 2)
use_the_command /opt/trivium
# shellcheck disable=SC2046
install $(documented 3) $(documented 4)
use_the_library /opt/trivium 'shared static'
rm -rf "$root"
finish
