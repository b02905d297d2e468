#!/usr/bin/env bash
# The device tests up to training on the newest Mesa (Debian sid's lavapipe, which has cooperative matrices), with
# subgroups of 8, 4 and 16 lanes, and products in the tier cm-f16, in a root of its own. Arguments go to ctest: newest_mesa.sh -R heads
# Needs: root, debootstrap (tools/setup.sh --roots installs it), about 800 MB under build/roots, which the rung drivers shares,
# and a minute to fill it. The programs built here run there as they are: a newer glibc runs what an older one linked.
# Nothing is mounted; what the tests need is copied to the same path inside.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

newest_mesa_root

build release
rm -rf "${root:?}$PWD" && mkdir -p "$root$PWD/$work"
{
    git ls-files --cached --others --exclude-standard
    find build/bin -type f
    find build -path build/roots -prune -o -name CTestTestfile.cmake -print
} | tar -c --ignore-failed-read -T - | tar -x -C "$root$PWD"
mapfile -t programs < <(find build/bin -type f -executable)
host_libraries "${programs[@]}"

ctest_root=$root
export LD_LIBRARY_PATH=/opt/host HOME=/root VK_DRIVER_FILES=/usr/share/vulkan/icd.d/lvp_icd.json
for width in 256 128 512; do
    say "LP_NATIVE_VECTOR_WIDTH=$width: subgroups of $((width / 32))"
    # A shader cache for each: Mesa 25.0's knows no widths.
    [ $width = 256 ] || export TRIVIUM_TEST_ONCE=1
    LP_NATIVE_VECTOR_WIDTH=$width MESA_SHADER_CACHE_DIR=/tmp/shaders-$width TRIVIUM_CACHE_DIR=/tmp/trivium-$width \
        run_ctest build -L '^(vk|kernels|model|train)$' "$@"
done

# Products, training, PPO and GRPO in the tier of matrices, which a CPU device takes where it is asked to (tests of its own kernels did
# above, at 8 lanes, and train/mixed followed its curves). PPO's and GRPO's first ratios are exactly 1 there too.
say "tier cm-f16"
TRIVIUM_CAPS_MAX=tier=cm-f16 MESA_SHADER_CACHE_DIR=/tmp/shaders-256 TRIVIUM_CACHE_DIR=/tmp/trivium-256 \
    run_ctest build -R '^(kernels/matmul|train/(golden|overfit)|stages/(grpo|ppo))$'
finish
