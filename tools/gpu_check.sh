#!/usr/bin/env bash
# Everything that wants a real GPU, in one command: tests, the fallbacks of newer device features, benchmarks, and
# the same models in PyTorch where it is there. Part by part: one that fails or hangs does not stop the rest.
#
# usage: tools/gpu_check.sh run [OUT] [--seconds N] [--small]
#            uses build/bin; OUT (default: build/gpu_check) gets results.json, summary.txt, tests.log, bench.log.
#            No new part begins after N seconds (default: 440), and the rest is reported as not run.
#            --small: few and small parts, to try the script itself on a CPU device.
#        tools/gpu_check.sh pack DIR [FILE.deb...]
#            fills DIR with all that the first form needs, to be carried to a machine that can build nothing:
#            there, DIR/run.sh [OUT] [--seconds N] [--small]. Libraries out of the named packages go along.
#
# Needs: pack: a finished build. run: bash and GNU coreutils, a Vulkan driver, glibc no older than the build's;
# what the machine lacks of libraries comes from DIR/lib, the Vulkan loader included. python3 with torch and CUDA
# for the comparison.
set -uo pipefail
self=$(readlink -f "$0")

usage() {
    sed -n '/^# usage:/,/^#$/s/^# \{0,1\}//p' "$self"
    exit "$1"
}

# ---- pack ----

pack() { # DIR [DEB...]
    [ $# -gt 0 ] || usage 2 >&2
    set -e
    local root into deb unpacked name
    root=$(dirname "$(dirname "$self")")
    into=$1
    shift
    [ -x "$root/build/bin/trivium" ] || {
        echo "gpu_check: $root/build/bin/trivium is missing; build it first" >&2
        exit 1
    }
    [ ! -e "$into" ] || [ -e "$into/run.sh" ] || {
        echo "gpu_check: $into is there and no folder of an earlier pack; name a new one" >&2
        exit 1
    }
    rm -rf "$into"
    mkdir -p "$into"/{build/bin,lib,tools,tests,samples}
    cat >"$into/run.sh" <<'END'
#!/usr/bin/env bash
exec "$(dirname "$(readlink -f "$0")")/tools/gpu_check.sh" run "$@"
END
    chmod +x "$into/run.sh"
    for name in trivium $(cd "$root/build/bin" && echo test_{vk,kernels,model,train,run,reward,stages}_*); do
        strip -o "$into/build/bin/$name" "$root/build/bin/$name"
    done
    # All but libc's own libraries, which go with the machine's loader.
    ldd "$into"/build/bin/* | awk '$3 ~ /^\// { print $3 }' | sort -u |
        grep -vE '/(libc|libm|libdl|librt|libpthread)\.so' | xargs cp -L -t "$into/lib"
    name=$(/sbin/ldconfig -p | awk '$1 == "libvulkan.so.1" && !n++ { print $NF }')
    [ -z "$name" ] || cp -L "$name" "$into/lib/libvulkan.so.1"
    for deb in "$@"; do
        unpacked=$(mktemp -d)
        dpkg-deb -x "$deb" "$unpacked"
        find "$unpacked" -name '*.so*' -exec cp -P -t "$into/lib" {} +
        rm -rf "$unpacked"
    done
    cp -r "$root/tests/golden" "$into/tests/golden"
    mkdir -p "$into/tests/text"
    cp -r "$root/tests/text/data" "$into/tests/text/data"
    cp -r "$root/samples/bench" "$into/samples/bench"
    cp "$self" "$into/tools/gpu_check.sh"
    echo "gpu_check: $into is ready, $(du -sh "$into" | cut -f 1)"
}

# ---- run: the parts ----

# Runs a command of ours with the libraries that this machine lacks.
ours() {
    LD_LIBRARY_PATH=$work/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$@"
}

# Called by xargs in a process of its own: one test program, one line "RUN TEST STATUS SECONDS".
one_test() { # RUN PROGRAM
    local run=$1 name status=0 begin=$EPOCHREALTIME word log
    name=$(basename "$2")
    name=${name#test_}
    log=$work/tests/$run.$name.log
    ours timeout --kill-after=5 120 "$2" </dev/null >"$log" 2>&1 || status=$?
    case $status in
    0) word=ok ;;
    77) word=skipped ;;
    124 | 137) word=timeout ;;
    *) word=failed:$status ;;
    esac
    echo "$run ${name/_//} $word $(seconds_since "$begin")" >>"$work/tests.txt"
}

seconds_since() { # EPOCHREALTIME
    awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'
}

left() { # seconds until the deadline, at least 0
    local now=$SECONDS
    echo $((now < limit ? limit - now : 0))
}

# Runs a command for at most SECONDS; its output goes to $work/NAME.out, what it came to into $work/parts.txt.
part() { # NAME SECONDS COMMAND...
    local name=$1 most=$2 status=0 begin=$EPOCHREALTIME
    shift 2
    if [ "$(left)" -lt 5 ]; then
        echo "$name not_run 0" >>"$work/parts.txt"
        echo "gpu_check: $name: not run, the time is spent"
        return 1
    fi
    [ "$most" -le "$(left)" ] || most=$(left)
    timeout --kill-after=5 "$most" "$@" </dev/null >"$work/$name.out" 2>"$work/$name.err" || status=$?
    echo "$name $status $(seconds_since "$begin")" >>"$work/parts.txt"
    {
        echo "==== $name: status $status, $*"
        cat "$work/$name.out" "$work/$name.err"
    } >>"$out/bench.log"
    echo "gpu_check: $name: $([ $status = 0 ] && echo ok || echo "FAILED with $status: $(tail -n 1 "$work/$name.err")")"
    return $status
}

trivium_part() { # NAME SECONDS ARGUMENT...
    local name=$1 most=$2
    shift 2
    ours part "$name" "$most" "$bin/trivium" "$@"
}

run_tests() { # RUN [CAPS]
    local run=$1 programs=("$bin"/test_{vk,kernels,model,train,run,reward,stages}_*) most
    [ "$small" = 0 ] || programs=("$bin"/test_{vk_recorder,kernels_activation,kernels_matmul,train_golden})
    most=$(left)
    [ "$most" -le 120 ] || most=120 # what hangs here must not cost the benchmarks their time
    [ "$most" -ge 5 ] || most=0
    # A few at once: most of their time is the reference on the host.
    [ "$most" = 0 ] || printf '%s\n' "${programs[@]}" |
        TRIVIUM_CAPS_MAX=${2:-} timeout --kill-after=5 "$most" xargs -P "$jobs" -n 1 "$self" one-test "$run"
    local program name
    for program in "${programs[@]}"; do
        name=$(basename "$program")
        name=${name#test_}
        grep -q "^$run ${name/_//} " "$work/tests.txt" || echo "$run ${name/_//} not_run 0" >>"$work/tests.txt"
    done
    echo "gpu_check: tests, $run: $(count_tests "$run")"
}

count_tests() { # RUN
    awk -v run="$1" '$1 == run { n[$3 ~ /^(ok|skipped|not_run)$/ ? $3 : "failed"]++ }
        END { printf "%d ok, %d failed, %d skipped, %d not run", n["ok"], n["failed"], n["skipped"], n["not_run"] }' \
        "$work/tests.txt"
}

has_gpu() {
    grep -o '"type":"[^"]*"' "$work/devices.out" | grep -qv CPU
}

# A usable device, a GPU if there is one: some machines mount its driver where the Vulkan loader does not look.
find_device() {
    local file
    trivium_part devices 60 devices --json && has_gpu && return 0
    for file in /usr/local/*/share/vulkan/icd.d/*.json /opt/*/share/vulkan/icd.d/*.json; do
        [ -e "$file" ] || continue
        export VK_DRIVER_FILES=$file VK_ICD_FILENAMES=$file
        : >"$work/parts.txt"
        trivium_part devices 60 devices --json && has_gpu && return 0
        unset VK_DRIVER_FILES VK_ICD_FILENAMES
        : >"$work/parts.txt"
        trivium_part devices 60 devices --json
    done
    [ "$(last_json "$work/devices.out")" != null ] && grep -q '"default":true' "$work/devices.out"
}

# fp32, and the higher tiers of the device that is taken by default.
tiers_of_device() {
    local best
    best=$(field tier "$(grep -o '"default":true.*' "$work/devices.out" | head -n 1)")
    case $best in
    cm-bf16) echo fp32 cm-f16 cm-bf16 ;;
    cm-*) echo "fp32 $best" ;;
    *) echo fp32 ;;
    esac
}

bench() {
    local batch kernel rows config tier
    # What is compared with PyTorch first: the rest is what the clock may cut off.
    for config in $configs; do
        for tier in $tiers; do
            for batch in $(batches_of "$config"); do
                trivium_part "train_${tier}_${config}_$batch" 90 bench train --tier "$tier" \
                    --config "samples/bench/$config.json" --set "train.batch_size=$batch" --json "${steps[@]}"
            done
        done
    done
    for tier in $tiers; do
        for kernel in $(kernels_of "$tier"); do
            trivium_part "kernels_${tier}_$kernel" 60 bench kernels --tier "$tier" --filter "$kernel" --json "${repeats[@]}"
        done
        [ "$small" = 1 ] || trivium_part "kernels_${tier}_matmul_8192" 30 bench kernels --tier "$tier" --filter matmul \
            --shape 8192x8192x8192 --json
    done
    for rows in $decode_rows; do
        trivium_part "decode_${best}_${decoder}_$rows" 60 bench decode --tier "$best" \
            --config "samples/bench/$decoder.json" --rows "$rows" --json
    done
    [ "$small" = 1 ] || trivium_part "decode_${best}_llama_1b_1" 60 bench decode --tier "$best" \
        --config samples/bench/llama_1b.json --set model.weights=bf16 --tokens 256 --rows 1 --json
    # Once more for the table of its kernels, which --json leaves out.
    for config in $configs; do
        trivium_part "profile_$config" 90 bench train --tier "$best" --config "samples/bench/$config.json" "${steps[@]}"
    done
}

kernels_of() { # TIER: all once, and again what runs on matrix units
    case $1 in
    fp32) echo "$kernels" ;;
    *) echo "matmul attention" ;;
    esac
}

batches_of() { # CONFIG: 4 to 16 for the model that fills a GPU, its own for the others
    case $1 in
    gpt2_124m) echo 4 16 ;;
    *) sed -n 's/.*"batch_size": *\([0-9]*\).*/\1/p' "samples/bench/$1.json" ;;
    esac
}

torch() {
    local config models=() shapes
    python3 -c 'import torch; raise SystemExit(not torch.cuda.is_available())' >/dev/null 2>&1 || {
        echo "torch not_run 0" >>"$work/parts.txt"
        echo "gpu_check: torch: not run, python3 has no torch with CUDA here"
        return
    }
    for config in $configs; do
        models+=(--model "$config=$(batches_of "$config" | tr ' ' ,)")
    done
    shapes=$(objects kernel "$work"/kernels_fp32_matmul*.out | while read -r row; do field shape "$row"; done | paste -sd ,)
    part torch 120 python3 tests/golden/torch_throughput.py --cuda "${models[@]}" --matmul "${shapes:-4096x4096x4096}"
    part torch_compiled 120 python3 tests/golden/torch_throughput.py --cuda --compile --model gpt2_124m=16 --model smollm2_135m
}

# ---- run: results ----

objects() { # KEY FILE...: the innermost JSON objects with that key, one a line
    cat "${@:2}" 2>/dev/null | grep -o '{[^{}]*}' | grep "\"$1\":" || true
}

field() { # KEY OBJECT
    sed -nE "s/.*\"$1\": ?(\"([^\"]*)\"|([^,}]*)).*/\2\3/p" <<<"$2"
}

last_json() { # FILE
    local line
    line=$(tail -n 1 "$1" 2>/dev/null)
    case $line in
    '{'*'}') echo "$line" ;;
    *) echo null ;;
    esac
}

comma() { paste -sd ,; }

write_json() {
    local file name
    echo "{\"date\": \"$(date -u +%FT%TZ)\", \"small\": $small, \"driver_files\": \"${VK_DRIVER_FILES:-}\","
    echo "\"devices\": $(last_json "$work/devices.out"),"
    echo "\"parts\": [$(awk '{ printf "{\"part\": \"%s\", \"status\": \"%s\", \"seconds\": %s}\n", $1, $2, $3 }' "$work/parts.txt" | comma)],"
    echo "\"tests\": [$(awk '{ printf "{\"run\": \"%s\", \"test\": \"%s\", \"status\": \"%s\", \"seconds\": %s}\n", $1, $2, $3, $4 }' "$work/tests.txt" | comma)],"
    echo "\"kernels\": [$(objects kernel "$work"/kernels_*.out | comma)],"
    for name in train decode; do
        echo "\"$name\": [$(for file in "$work/$name"_*.out; do
            [ ! -e "$file" ] || echo "{\"name\": \"$(basename "$file" .out)\", \"result\": $(last_json "$file")}"
        done | comma)],"
    done
    echo "\"torch\": $(last_json "$work/torch.out"), \"torch_compiled\": $(last_json "$work/torch_compiled.out")}"
}

rounded() { # NUMBER DIGITS: "-" for none
    [ -n "$1" ] && [ "$1" != null ] && printf '%.*f' "$2" "$1" || printf '%s' -
}

torch_figure() { # FILE KEY-OF-RESULT PRECISION KEY VALUE [KEY VALUE]
    objects precision "$work/$1.out" | grep -F "\"precision\": \"$3\"" | grep -F "\"$4\": $5" |
        grep -F "\"${6:-$4}\": ${7:-$5}" | while read -r row; do field "$2" "$row"; done | head -n 1 |
        { read -r row && rounded "$row" 0 || printf '%s' -; }
}

device_name() { # of the device that is taken by default
    local name
    name=$(grep -o '"name":"[^"]*"[^{}]*"default":true' "$work/devices.out" 2>/dev/null | head -n 1)
    name=$(field name "$name")
    echo "${name:-no usable device}"
}

write_summary() {
    local row file name model batch shape run tier
    echo "trivium on $(device_name), $(date -u +%F)"
    echo
    awk '!seen[$1]++ { print $1 }' "$work/tests.txt" | while read -r run; do
        echo "tests, $run: $(count_tests "$run")"
        awk -v run="$run" '$1 == run && $3 != "ok" && $3 != "skipped" { print "  " $2 " " $3 }' "$work/tests.txt"
    done
    awk '$2 != 0 { print "part " $1 ": " ($2 == "not_run" ? "not run" : "failed with " $2) }' "$work/parts.txt"
    echo
    printf '%-8s %-14s %4s | %10s %9s %8s | %10s %10s %10s | %10s %10s\n' tier training B tokens/s step_ms gap_ms \
        'torch fp32' tf32 bf16 'c. fp32' 'c. bf16'
    for file in "$work"/train_*.out; do
        [ -e "$file" ] || continue
        name=$(basename "$file" .out)
        name=${name#train_}
        tier=${name%%_*} name=${name#*_}
        model=${name%_*} batch=${name##*_} row=$(last_json "$file")
        printf '%-8s %-14s %4s | %10s %9s %8s' "$tier" "$model" "$batch" \
            "$(rounded "$(field tokens_per_second "$row")" 0)" "$(rounded "$(field step_ms "$row")" 2)" \
            "$(rounded "$(field gap_ms "$row")" 2)"
        set -- model "\"$model\"" batch_size "$batch,"
        printf ' | %10s %10s %10s | %10s %10s\n' "$(torch_figure torch tokens_per_second fp32 "$@")" \
            "$(torch_figure torch tokens_per_second tf32 "$@")" "$(torch_figure torch tokens_per_second bf16 "$@")" \
            "$(torch_figure torch_compiled tokens_per_second fp32 "$@")" \
            "$(torch_figure torch_compiled tokens_per_second bf16 "$@")"
    done
    echo "(c.: through torch.compile; a copy on the device, through PyTorch: $(rounded "$(field copy_gbps "$(last_json "$work/torch.out")")" 0) GB/s)"
    for file in "$work"/decode_*.out; do
        [ -e "$file" ] || continue
        row=$(last_json "$file")
        printf '%-28s %11s tokens/s, prompts read at %11s\n' "$(basename "$file" .out)" \
            "$(rounded "$(field tokens_per_second "$row")" 1)" "$(rounded "$(field prompt_tokens_per_second "$row")" 1)"
    done
    echo
    printf '%-8s %-20s %-22s | %10s %10s %8s %7s | %10s %10s %10s\n' tier kernel shape ms GFLOP/s GB/s 'of peak' 'torch fp32' tf32 bf16
    for file in "$work"/kernels_*.out; do
        tier=$(basename "$file" .out) tier=${tier#kernels_} tier=${tier%%_*}
        objects kernel "$file" | while read -r row; do
            shape=$(field shape "$row") name=$(field kernel "$row")
            printf '%-8s %-20s %-22s | %10.4f %10.1f %8.1f %6.1f%%' "$tier" "$name" "$shape" "$(field ms "$row")" \
                "$(field gflops "$row")" "$(field gbps "$row")" "$(awk -v x="$(field peak_share "$row")" 'BEGIN { print 100 * x }')"
            [ "$name" != matmul ] || printf ' | %10s %10s %10s' "$(torch_figure torch gflops fp32 shape "\"$shape\"")" \
                "$(torch_figure torch gflops tf32 shape "\"$shape\"")" "$(torch_figure torch gflops bf16 shape "\"$shape\"")"
            echo
        done
    done
    echo
    for file in "$work"/profile_*.out; do
        [ ! -e "$file" ] || { echo "--- ${file##*/}" && cat "$file" && echo; }
    done
}

run() { # [OUT] [--seconds N] [--small]
    local library name have
    out='' limit=440 small=0
    while [ $# -gt 0 ]; do
        case $1 in
        --seconds)
            limit=${2:?--seconds wants a number}
            shift
            ;;
        --small) small=1 ;;
        -*) usage 2 >&2 ;;
        *) out=$(readlink -m "$1") ;;
        esac
        shift
    done
    SECONDS=0
    cd "$(dirname "$(dirname "$self")")" || exit 1
    export bin=$PWD/build/bin
    [ -n "$out" ] || out=$PWD/build/gpu_check
    work=$(mktemp -d) && mkdir -p "$out" "$work/tests" "$work/lib" "$work/cache" || exit 1
    export work
    trap 'rm -rf "$work"' EXIT
    # An empty pipeline cache, so that a test never meets what an older build left.
    export TRIVIUM_CACHE_DIR=$work/cache
    : >"$out/bench.log"
    : >"$work/tests.txt"
    : >"$work/parts.txt"
    jobs=$(($(nproc) / 2))
    [ $jobs -ge 1 ] || jobs=1
    [ $jobs -le 4 ] || jobs=4
    kernels='matmul attention layernorm rmsnorm gelu swiglu rotary cross_entropy token_ gae embedding gradient_norm adamw sample'
    configs='gpt2_124m smollm2_135m gpt2_875k llama_260k' repeats=() steps=() decoder=gpt2_124m decode_rows='1 16 64 256'
    if [ $small = 1 ]; then
        kernels='gelu matmul' configs=gpt2_875k decoder=gpt2_875k decode_rows='1 64' repeats=(--repeats 1) steps=(--steps 1 --warmup 1)
        export TRIVIUM_TEST_SMALL=1
    fi
    have=$(/sbin/ldconfig -p)
    for library in lib/*.so*; do
        name=$(basename "$library")
        case $have in
        *[[:space:]]"$name "*) ;;
        *) [ ! -e "$library" ] || ln -s "$PWD/$library" "$work/lib/$name" ;;
        esac
    done

    if find_device; then
        tiers=$(tiers_of_device) best=${tiers##* }
        run_tests default
        [ "$best" = fp32 ] || run_tests fp32 tier=fp32
        bench
        torch
        run_tests no_push_descriptors push_descriptors=0
        run_tests no_subgroup_shuffle subgroup_shuffle=0
    fi
    (cd "$work/tests" && tail -n +1 -- *.log) >"$out/tests.log" 2>/dev/null
    write_json >"$out/results.json"
    write_summary >"$out/summary.txt" 2>>"$out/bench.log"
    cat "$out/summary.txt"
    echo "gpu_check: $SECONDS s; results are in $out"
    awk 'FILENAME ~ /parts.txt$/ ? $2 !~ /^(0|not_run)$/ : $3 ~ /^(failed|timeout)/ { bad = 1 } END { exit bad }' \
        "$work/parts.txt" "$work/tests.txt"
}

case ${1:-} in
pack | run) "$@" ;;
one-test) one_test "${@:2}" ;;
-h | --help) usage 0 ;;
*) usage 2 >&2 ;;
esac
