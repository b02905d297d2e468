#!/usr/bin/env bash
# What the compilers of GPU drivers make of the kernels, without a GPU: every pipeline on a dozen AMD, NVIDIA, Apple and
# Qualcomm devices, and whole recorded steps, with the validation layer silent. No pipeline spills or has scratch, and none
# is worse by more than a tenth than tests/drivers says (tests/drivers/statistics.pl judges, tests/check_statistics.sh tests it).
#
# usage: tests/rungs/drivers.sh [--write REASON] [DEVICE...]     only these devices
#   --write  writes the reference in tests/drivers and the table in docs/performance.md anew, with the reason beside them
#
# Needs: root, debootstrap, the root that the rung newest_mesa fills. mesa-drm-shim's libraries stand in for the kernel's
# drivers: what is submitted is dropped, all before it is the production driver.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

mode=check reason=()
if [ "${1:-}" = --write ]; then
    mode=write reason=("${2:-}")
    shift $(($# < 2 ? $# : 2))
fi

# Name, library that stands in for the kernel, its variable, description of the driver. The names are the shim's own, strix1 is gfx1150.
all='
polaris10 amdgpu AMDGPU_GPU_ID=polaris10 radeon
vega10 amdgpu AMDGPU_GPU_ID=vega10 radeon
navi10 amdgpu AMDGPU_GPU_ID=navi10 radeon
navi21 amdgpu AMDGPU_GPU_ID=navi21 radeon
navi31 amdgpu AMDGPU_GPU_ID=navi31 radeon
gfx1150 amdgpu AMDGPU_GPU_ID=strix1 radeon
gfx1201 amdgpu AMDGPU_GPU_ID=gfx1201 radeon
turing nouveau NOUVEAU_CHIPSET=160 nouveau
ampere nouveau NOUVEAU_CHIPSET=170 nouveau
ada nouveau NOUVEAU_CHIPSET=190 nouveau
m1 asahi M1=1 asahi
adreno740 freedreno FD_GPU_ID=740 freedreno
'
if [ $# = 0 ]; then
    mapfile -t names < <(awk 'NF { print $1 }' <<<"$all")
    set -- "${names[@]}"
fi

newest_mesa_root
build release trivium_command
host_libraries build/bin/trivium
inside=/opt/drivers # in the root
rm -rf "$root$inside" "$work/results" && mkdir -p "$root$inside" "$work/results"
cp build/bin/trivium samples/bench/*.json "$root$inside"

# One run of a device: the JSON to results, what is said to the log, what the layer says to a file of its own.
look() { # DEVICE SHIM VARIABLE DRIVER RUN [ARGUMENT...]
    local name=$1.$5 libraries
    libraries=/usr/lib/$(gcc -print-multiarch)
    mkdir -p "$root$inside/$name"
    # 'info' is asked for because of one message: that the layer is active, and with which checks.
    cat >"$root$inside/$name/vk_layer_settings.txt" <<END
khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG
khronos_validation.report_flags = error,warn,perf,info
khronos_validation.log_filename = $inside/$name/messages.txt
khronos_validation.validate_sync = true
khronos_validation.enable_message_limit = false
END
    timeout 170 chroot "$root" /usr/bin/env -i -C "$inside" PATH=/usr/bin:/bin HOME=/root LD_LIBRARY_PATH=/opt/host \
        LD_PRELOAD="$libraries/lib$2_noop_drm_shim.so" "$3" VK_DRIVER_FILES="/usr/share/vulkan/icd.d/$4_icd.json" \
        VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation VK_LAYER_SETTINGS_PATH="$inside/$name" \
        MESA_SHADER_CACHE_DISABLE=true TRIVIUM_CACHE_DIR="$inside/$name" TRIVIUM_SELF_TEST=skip \
        ./trivium bench pipelines --json "${@:6}" >"$work/results/$name.json" 2>"$work/results/$name.log" || {
        echo "exit $?" >>"$work/results/$name.log"
        rm -f "$work/results/$name.json"
    }
    cp "$root$inside/$name/messages.txt" "$work/results/$name.messages" 2>/dev/null || true
}

look_at() { # DEVICE SHIM VARIABLE DRIVER
    local config
    look "$@" all
    for config in gpt2_875k llama_260k; do
        look "$@" $config --config $config.json --record
    done
    # Heads of 64, and an embedding larger than the bindings of some; these libraries hold 4 GiB at most.
    look "$@" gpt2_124m --config gpt2_124m.json --set train.batch_size=1 --record
}

# A step of GPT-2 124M, a micro-batch and its update, is few dispatches where a device binds 4 GiB at once.
few_dispatches() { # DEVICE
    local most=358 found
    found=$(grep -o '"step":"pretraining","dispatches":[0-9]*' "$work/results/$1.gpt2_124m.json" | grep -o '[0-9]*$')
    [ "${found:-0}" -gt 0 ] && [ "$found" -le $most ] && return
    echo "FAILED $1: a step of GPT-2 124M is ${found:-an unknown number of} dispatches and $most are the bound"
    return 1
}

judge() { # DEVICE: its runs were made, and neither driver nor layer complained
    local path name findings bad=0 complaint='^Validation (Error|Warning|Performance Warning): '
    for path in "$work/results/$1".*.log; do
        name=$(basename "$path" .log)
        if [ ! -s "$work/results/$name.json" ]; then
            echo "FAILED $name: $(tail -n 3 "$path" | tr '\n' ' ')"
            bad=1
        elif ! grep -q -- '- Synchronization' "$work/results/$name.messages"; then
            echo "FAILED $name: the validation layer with synchronization validation was not active"
            bad=1
        elif findings=$(grep -cE "$complaint" "$work/results/$name.messages"); then
            grep -E -m 3 -A2 "$complaint" "$work/results/$name.messages" | cut -c 1-400
            echo "FAILED $name: $findings messages of the validation layer; all are in $work/results/$name.messages"
            bad=1
        elif grep -E '^warning: |^MESA: (error|warning)' "$path" | grep -v 'does not deliver its timestamps'; then
            echo "FAILED $name: complaints; all are in $path"
            bad=1
        fi
    done
    [ "$1" != navi31 ] || few_dispatches "$1" || bad=1
    [ $bad = 0 ] && passed=$((passed + 1)) || failed=$((failed + 1))
}

for device in "$@"; do
    read -r -a row < <(awk -v name="$device" '$1 == name' <<<"$all") ||
        fail_rung "expected a device of$(awk 'NF { printf " %s", $1 }' <<<"$all"), found \"$device\""
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    look_at "${row[@]}" &
done
wait
for device in "$@"; do judge "$device"; done

if compgen -G "$work/results/*.json" >/dev/null; then
    if tests/drivers/statistics.pl $mode "$work/results" tests/drivers docs/performance.md "${reason[@]}"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
fi
finish
