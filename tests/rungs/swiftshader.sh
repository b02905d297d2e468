#!/usr/bin/env bash
# The kernel tests on SwiftShader, a second and independent Vulkan implementation: subgroups of 4, groups of at
# most 256, no fp16, no push descriptors. Needs: apt-get, which brings it inside the package chromium-common; only
# the driver is unpacked (build/drivers/swiftshader), nothing is installed.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh
root=$PWD/build/drivers/swiftshader
if [ ! -e "$root/icd.json" ]; then
    command -v apt-get >/dev/null || skip_rung "it comes in a Debian package, and there is no apt-get here"
    mkdir -p "$root"
    # Chromium is updated often, so the lists at hand may name a version that is gone by now.
    # shellcheck disable=SC2317 # called by patiently
    download() (cd "$root" && { apt-get download -qq chromium-common ||
        { apt-get update -qq && apt-get download -qq chromium-common; }; })
    patiently download >"$work/download.log" 2>&1 ||
        skip_rung "apt-get download chromium-common failed: $(grep -m 1 '^E:' "$work/download.log" || true)"
    dpkg-deb --fsys-tarfile "$root"/chromium-common*.deb |
        tar -x -C "$root" --strip-components=4 ./usr/lib/chromium/libvk_swiftshader.so
    rm -f "$root"/*.deb
    cat >"$root/icd.json" <<END
{ "file_format_version": "1.0.0",
  "ICD": { "library_path": "$root/libvk_swiftshader.so", "api_version": "1.3.0" } }
END
fi
build release
export VK_DRIVER_FILES=$root/icd.json VK_ICD_FILENAMES=$root/icd.json
export TRIVIUM_TEST_SMALL=1 # it computes 0.1 to 2 GFLOP/s
run_ctest build -L kernels "$@"
finish
